"""Real mail programs and libraries against `gateway demo`: what they read and sent, in the mailbox's own words."""
