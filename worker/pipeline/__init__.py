"""The pipeline: items to full batches, and back to lines."""
