"""IMAP's grammar: octets to commands and values to octets. Values and functions only, no I/O."""
