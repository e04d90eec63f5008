"""The one Redis: the queue, the ledger of progress, uploads, and what each process says of itself."""
