"""Which copy of the database may send: one that was restored from a backup must not mail everybody again."""
