"""Items to full batches and back to lines."""
