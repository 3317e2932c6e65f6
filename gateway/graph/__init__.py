"""Microsoft Graph's mail API as typed calls: tokens, throttling, retries, batches, delta. No mail logic."""
