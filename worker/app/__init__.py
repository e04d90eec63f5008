"""The worker's processes: the launcher, one process per device, its Celery tasks."""
