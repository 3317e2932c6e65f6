"""The SMTP submission front end: commands on a socket to one call of `mailbox.api.Account.submit`."""
