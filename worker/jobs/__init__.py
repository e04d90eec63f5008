"""Chunks and uploads: from the message to durable lines."""
