"""The ledger's statements about many deliveries at once."""
