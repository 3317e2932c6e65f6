"""Long runs: what must hold after the gateway was killed, again and again."""
