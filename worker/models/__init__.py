"""docTR's models, their runtimes and their memory on a device."""
