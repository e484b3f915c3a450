"""Reads the configuration of a run from files and the environment: options, accounts, interfaces.

Rule: reads and checks, prints nothing; every error names the file and the place in it.
"""
