"""``python -m tests.mutants [ROOM...] [--sample N --seed S]``."""

import sys

from tests.mutants.command import main

sys.exit(main())
