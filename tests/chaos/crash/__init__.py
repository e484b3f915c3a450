"""Processes that die: at every durable step, at random moments, without power.

`job` is their work, `sinks` the destinations (a row for each sink), `driver` the process that dies.
"""
