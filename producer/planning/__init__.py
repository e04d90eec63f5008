"""From a source to chunks in the queue."""
