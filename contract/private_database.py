"""Private databases: tables that may be larger than memory, gone when they are closed."""

import sqlite3

CACHE_KIB = 16_384
"""SQLite's page cache in KiB; the rest is in a temporary file, so memory stays constant."""


def private_database(table: str) -> sqlite3.Connection:
    """Return a database with a table, in one open transaction."""
    # An empty name is a private database that SQLite spills to a temporary file. One thread at a time uses
    # it, but another one may continue a plan.
    database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
    database.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    database.execute("PRAGMA journal_mode = OFF")
    database.execute(table)
    database.execute("BEGIN")
    return database
