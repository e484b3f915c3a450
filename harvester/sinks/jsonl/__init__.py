"""The sink of JSON lines."""
