"""The same commands to this gateway and to a real Dovecot: what differs is a fault, or has a reason (`allowed`)."""
