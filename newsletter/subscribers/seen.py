"""Which addresses a file has named so far, however many: kept in a temporary file, not in memory."""

import sqlite3


class Seen:
    """Remembers texts in a database of SQLite that has no name and is gone with its connection."""

    def __init__(self) -> None:
        self._known = sqlite3.connect("", isolation_level=None)
        self._known.execute("PRAGMA journal_mode=OFF")
        self._known.execute("PRAGMA synchronous=OFF")
        self._known.execute("CREATE TABLE known (text TEXT PRIMARY KEY) WITHOUT ROWID")
        self._known.execute("BEGIN")  # one, so that nothing is written before the cache of 2 MB is full

    def add(self, text: str) -> bool:
        """Remember a text; return whether it is new."""
        added = self._known.execute("INSERT OR IGNORE INTO known VALUES (?)", (text,))
        return added.rowcount == 1
