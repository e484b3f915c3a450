"""Exports that die and are read meanwhile: `worker` is the process that exports."""
