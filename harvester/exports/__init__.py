"""Exports: tables for readers, derived from a sink.

``equal`` makes a target equal to the sink: ``source`` reads the sink, ``shapes`` makes tables of
its records, ``joined`` the tables that join interfaces; ``files`` (Parquet and CSV), ``duckdb`` and
``xlsx`` are the targets.  Nothing is imported here, since ``source`` does not need pyarrow.
"""
