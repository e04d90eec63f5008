"""Feeders: processes that fetch, decode and prepare crops for the process that holds the device."""
