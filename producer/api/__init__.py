"""The HTTP API: thin routes over the producer's functions."""
