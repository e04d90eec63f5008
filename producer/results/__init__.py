"""What a job comes to: merged files, status, the index, views."""
