"""What a worker process counts, and what watches it."""
