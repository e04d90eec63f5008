"""What a finished job writes."""
