"""Uploads: files of a request to the workers, and their lines back."""
