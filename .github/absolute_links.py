"""Write the repository's address into the README's links and the project's URLs, for a release.

    python .github/absolute_links.py https://host/owner/name TAG

A package index does not know where a relative link leads.  The address is that of the repository in
which a release is built, so the sources need not name it.
"""

import re
import sys
from pathlib import Path

LINK = re.compile(r"\]\((?!https?:|#)([^)\s]+)\)")


def absolute(text: str, repository: str, tag: str) -> str:
    """The text with links to files of the repository as they are at a tag."""
    return LINK.sub(rf"]({repository}/blob/{tag}/\1)", text)


def with_urls(project: str, repository: str) -> str:
    """The text of ``pyproject.toml`` with the project's URLs."""
    urls = {
        "Repository": repository,
        "Issues": f"{repository}/issues",
        "Documentation": f"{repository}#readme",
        "Changelog": f"{repository}/blob/HEAD/CHANGELOG.md",
    }
    table = "".join(f'{name} = "{url}"\n' for name, url in urls.items())
    return project.replace("[project.scripts]", f"[project.urls]\n{table}\n[project.scripts]")


def main(repository: str, tag: str) -> None:
    """Rewrite the files in the current directory."""
    readme, project = Path("README.md"), Path("pyproject.toml")
    readme.write_text(absolute(readme.read_text("utf-8"), repository, tag), "utf-8")
    project.write_text(with_urls(project.read_text("utf-8"), repository), "utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
