"""One run: what is requested, when, and what becomes of it."""
