"""`python -m tests.bench`: how fast the gateway is, beside Dovecot and beside what Graph's limits force."""
