"""Simulated runs ("worlds") in one process, in virtual time; a seed determines everything.

`world` creates one from its seed and runs it, `outside` simulates WeChat, the network and the
disks, `promises` has the guarantees to check afterwards, `planted` the faults that must be found.
"""
