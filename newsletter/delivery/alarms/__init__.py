"""Alarms: what needs the operator, when it was mailed to them, and when it was over. Nothing here names a reader."""
