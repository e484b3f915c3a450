"""``python -m tests.chaos.crash``."""

import sys

from tests.chaos.crash.command import main

if __name__ == "__main__":
    sys.exit(main())
