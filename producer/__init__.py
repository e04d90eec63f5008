"""The light side: sources, planning, submission, merge, reconciling, status and the command line."""
