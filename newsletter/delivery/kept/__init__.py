"""What mails that were sent held, as long as that is kept."""
