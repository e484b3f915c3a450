"""Processes that die: at every durable step, at random moments, without power.

`job` is what they do, `sinks` where to (a row a sink), `driver` the process that dies.
"""
