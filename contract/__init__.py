"""What producer and worker must agree on: records, settings, paths, storage, broker, ledger, errors, logs."""
