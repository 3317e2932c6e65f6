"""Submission: from an envelope and its octets to exactly one sent message (`deliver` is the way in)."""
