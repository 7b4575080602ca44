"""Papers: where they come from, how they are kept, what is trending."""
