"""Handlers, one module per family of commands; each registers its rows in `imap.spec.SPECS`."""
