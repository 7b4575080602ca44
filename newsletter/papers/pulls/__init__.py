"""Pulls: what was asked of the sources, what they answered, and whether they are well."""
