"""What changed and who agreed: preferences for undo, addresses, and the log of consent."""
