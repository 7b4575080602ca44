"""Issues: the dated mail-out, when readers are due, and what each of them gets."""
