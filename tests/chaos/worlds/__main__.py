"""``python -m tests.chaos.worlds --worlds 2000``."""

import sys

from tests.chaos.worlds.command import main
from tests.chaos.worlds.world import live

if __name__ == "__main__":
    sys.exit(main(live, worlds=1000, within=400))
