"""Worlds in one process, in virtual time, in an order drawn from a seed.

`world` draws one from its seed and lives it, `outside` holds what stands in for WeChat, the network
and the disks, `promises` what must hold afterwards, `planted` the faults that must be found.
"""
