"""Subscribers: who they are, what they asked for, and who must never be mailed."""
