"""What several refusals of one reader's mails mean together."""
