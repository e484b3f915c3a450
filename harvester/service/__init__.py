"""Long-running services over a ledger: the daily harvest and its pages."""
