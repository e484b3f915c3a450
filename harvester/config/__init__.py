"""What files and the environment say of a run: options, accounts, interfaces of a user's own.

Rule: reads and checks, prints nothing; every error names the file and the place in it.

``options`` reads ``harvester.toml`` and the variables ``HARVESTER_…``, ``accounts`` the file of the
accounts, ``interfaces`` the ``[[interface]]`` tables.
"""
