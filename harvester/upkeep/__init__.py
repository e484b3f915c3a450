"""What is stored: scanned, copied, compared, and a ledger made of it."""
