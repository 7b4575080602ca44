"""What strangers ask for: written down as it comes, and looked at by a worker."""
