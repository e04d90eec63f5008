"""The command line: thin commands over the producer's functions."""
