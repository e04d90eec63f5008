"""A worker process's metrics and its watchdog."""
