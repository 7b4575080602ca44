"""Rendering: templates, and the typeset issue from which each reader's message is printed."""
