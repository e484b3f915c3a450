"""Where records go: ``base`` holds the promise, then one file a sink.

Rule: a sink knows its own driver and nothing of the engine.
"""
