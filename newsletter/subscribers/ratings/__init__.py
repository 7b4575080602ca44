"""What readers say of papers."""
