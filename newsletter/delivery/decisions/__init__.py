"""What is decided about deliveries by somebody other than a relay: the operator, a policy, evidence."""
