"""The web port: health, readiness, metrics, and Graph's notifications."""
