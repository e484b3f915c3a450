"""Mutation tests of the modules without I/O: mutmut changes one expression at a time.

Rule: a module's own tests must kill its mutants.  Survivors are listed in ``survivors.toml`` with
the reason; a survivor that is not listed, or a listed mutant that does not survive, fails the
command.
"""
