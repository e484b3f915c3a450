"""The destinations of records: ``base`` is the interface, then one file for each sink.

Rule: a sink knows its own driver and nothing of the engine.
"""
