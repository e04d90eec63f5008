"""Planning: from a source to chunks in the queue."""
