"""The exit statuses of the command, as its help and docs/operations.md list them.

Rule: imports nothing; it is imported before anything else of the command.
"""

COMPLETE = 0
FAILED_WINDOWS = 1
UNUSABLE = 2
"""Wrong arguments or configuration: nothing was sent."""
MUST_WAIT = 3
STOPPED = 4
INTERRUPTED = 130
