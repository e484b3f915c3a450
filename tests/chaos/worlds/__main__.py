"""``python -m tests.chaos.worlds``."""

import sys

from tests.chaos.worlds.command import main

if __name__ == "__main__":
    sys.exit(main())
