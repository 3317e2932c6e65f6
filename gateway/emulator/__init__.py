"""A local, strict stand-in for the mail part of Microsoft Graph; it shares no code with the gateway."""
