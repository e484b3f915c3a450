"""The sinks in SQL databases."""
