"""From an item's file to its pixels."""
