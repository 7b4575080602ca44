"""Tracking: what came back, kept as little as it needs to be."""
