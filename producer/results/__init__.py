"""The results of a job: merged files, status, the index, views."""
