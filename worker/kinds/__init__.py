"""The device half of each kind of job."""
