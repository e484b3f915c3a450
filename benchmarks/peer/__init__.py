"""The same harvest as others write it, a file a peer, and `turn.py`, which times one of them.

Rule: what lies here is run by a peer's own Python, where neither harvester nor these benchmarks are
installed; it imports its peer and what that brings.
"""
