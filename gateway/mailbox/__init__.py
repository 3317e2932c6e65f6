"""A mailbox as IMAP and SMTP see it, kept in step with Graph and the store."""
