"""The worker: decode, batch, model, part, and the processes that run them."""
