"""The web port: health, readiness and metrics."""
