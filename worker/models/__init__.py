"""docTR's models on a device."""
