"""``python -m harvester`` is the command."""

from harvester.cli import command

if __name__ == "__main__":
    command()
