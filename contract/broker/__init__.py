"""What lives in Redis: the queue, the progress ledger, uploads, and process reports."""
