"""API keys, access control, and limits of requests."""
