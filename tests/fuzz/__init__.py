"""Random and mutated input for the parsers. Each module runs alone: `python -m tests.fuzz.NAME`."""
