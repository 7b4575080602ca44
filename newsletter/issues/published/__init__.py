"""What anybody may read of issues."""
