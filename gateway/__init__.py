"""IMAP and SMTP for Exchange Online mailboxes, through Microsoft Graph alone."""

__version__ = "0.1.0"
