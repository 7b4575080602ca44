"""Archiving: what is dropped of mails that are long over, and what stays."""
