"""Workers of a shared ledger that are killed, frozen and cut off: is anything lost, doubled, stale?

``python -m tests.chaos.shared --kills 100 --freezes 50 --restarts 3``.
"""
