"""The IMAP front end: connections, sessions, the command table, and one module per family of commands."""
