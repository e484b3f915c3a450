"""Samples of every store, made with state 98574d5 and never made again (README.md)."""
