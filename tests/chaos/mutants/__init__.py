"""Whether the tests notice: faults put into the pure rooms one at a time, by mutmut.

Rule: a room's own tests must kill its mutants; what lives on stands in ``survivors.toml`` with the
reason, and a survivor that is not there, or a line there of one that died, fails the command.
"""
