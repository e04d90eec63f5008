"""Who may call what, and how large a request may be."""
