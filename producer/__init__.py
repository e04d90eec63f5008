"""The producer, without torch: sources, planning, submission, merge, reconciling, status, API, commands."""
