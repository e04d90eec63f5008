"""Exit statuses of a worker process that its launcher tells apart."""

STALLED_STATUS = 75
"""Of a process that its watchdog ended; EX_TEMPFAIL of sysexits.h: try again."""
