"""How each peer is driven: one file a peer, each with ``harvest(job)``.

Rule: a driver imports its peer and `benchmarks.peer.lines`, nothing else of this project.
"""
