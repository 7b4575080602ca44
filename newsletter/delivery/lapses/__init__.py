"""What becomes of deliveries whose time is over: leases, whole mails, and issues that were called off."""
