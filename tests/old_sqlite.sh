#!/usr/bin/env bash
# The tests of all that uses SQLite, with the oldest one that is supported.
# Its source comes with a package of npm's; Python loads it in place of the system's own library.
# Needs gcc, npm, and the environment of the tests on PATH.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

(
  cd "$work"
  npm pack --silent sqlite3@4.0.6 >/dev/null
  tar xzf sqlite3-4.0.6.tgz
  tar xzf package/deps/sqlite-autoconf-3260000.tar.gz
  # JSON1 as distributions build it; DESERIALIZE since Python's own module asks for it.
  gcc -O1 -w -shared -fPIC -DSQLITE_ENABLE_JSON1 -DSQLITE_ENABLE_DESERIALIZE \
    -o libsqlite3.so.0 sqlite-autoconf-3260000/sqlite3.c -lpthread -ldl -lm
)
export LD_LIBRARY_PATH=$work${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
loaded=$(python -c 'import sqlite3; print(sqlite3.sqlite_version)')
[ "$loaded" = 3.26.0 ] || { echo "Python has loaded SQLite $loaded" >&2; exit 1; }
python -m pytest -n auto -p no:cacheprovider tests/scenarios/ledgers/test_old_sqlite.py \
  tests/ledger/test_sqlite.py tests/upkeep/test_rebuild.py tests/scenarios/runs/test_budgets.py \
  tests/sinks/sql/test_base.py tests/sinks/test_suite.py \
  tests/chaos/test_damage.py tests/scenarios/ledgers/test_read_only_copies.py
