"""Write the repository's address into the README's links, for a release.

    python .github/absolute_links.py https://host/owner/name TAG

A package index does not know where a relative link leads.  The address is that of the repository in
which a release is built; it must be the one that the project names as its source.
"""

import re
import sys
import tomllib
from pathlib import Path

LINK = re.compile(r"\]\((?!https?:|#)([^)\s]+)\)")


def absolute(text: str, repository: str, tag: str) -> str:
    """The text with links to files of the repository as they are at a tag."""
    return LINK.sub(rf"]({repository}/blob/{tag}/\1)", text)


def main(repository: str, tag: str) -> None:
    """Rewrite the file in the current directory."""
    named = tomllib.loads(Path("pyproject.toml").read_text("utf-8"))["project"]["urls"]["Source"]
    if named != repository:
        sys.exit(f"pyproject.toml names {named}, and this is {repository}; change [project.urls]")
    readme = Path("README.md")
    readme.write_text(absolute(readme.read_text("utf-8"), repository, tag), "utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
