"""Fetching and decoding: from an item's file to its pixels."""
