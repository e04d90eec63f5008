"""Chunks and uploads from their message to their durable lines."""
