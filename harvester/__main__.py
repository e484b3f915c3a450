"""``python -m harvester`` is the command."""

from harvester.cli import main

if __name__ == "__main__":
    main()
