"""``python -m tests.chaos.mutants [MODULE...] [--sample N --seed S]``."""

import sys

from tests.chaos.mutants.command import main

sys.exit(main())
