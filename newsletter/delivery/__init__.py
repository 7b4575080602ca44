"""Delivery: the ledger of every mail, the message's bytes, and the transports that hand it over."""
