"""Reads the configuration of a run from files and the environment: options, accounts, interfaces.

Rule: reads and checks, prints nothing; every error names the file and the place in it.

``options`` reads ``harvester.toml`` and the variables ``HARVESTER_…``, ``accounts`` the file of the
accounts, ``interfaces`` the ``[[interface]]`` tables.
"""
