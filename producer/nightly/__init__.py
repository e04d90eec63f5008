"""Nights: jobs that read what is new or changed in a source since the last complete night."""
