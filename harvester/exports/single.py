"""A target that is one file; one export at a time has it, and a draft replaces it at the end."""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from harvester.errors import UsageError
from harvester.exports.base import Target
from harvester.exports.drafts import Claim, Drafts
from harvester.sinks.spec import Spec


class SingleFile(Target):
    """A target that is one file; draft: where its next content is written."""

    aside = ""
    """Where the former content is, if somebody may have changed it."""

    def __init__(self, spec: Spec, shape: str) -> None:
        super().__init__(spec, shape)
        path = Path(spec.place)
        self.path = path.resolve() if path.is_symlink() else path  # the link itself stays
        self._drafts: Drafts | None = None
        self._claim: Claim | None = None
        self._elsewhere: TemporaryDirectory[str] | None = None

    def check(self) -> None:
        if self.path.is_dir():
            form = f"{self.scheme}:FILE.{self.scheme}"
            raise UsageError("{} is a directory; name a file: {}", self.path, form)

    def take(self, *, create: bool) -> None:
        """Take it if it is to be written; else drafts are elsewhere, as an export may go on."""
        self.check()
        if not create:
            self._elsewhere = TemporaryDirectory()
            self._drafts = Drafts(Path(self._elsewhere.name, "drafts"))
            return
        if not self.path.parent.is_dir():
            raise UsageError("there is no directory {}", self.path.parent)
        self._claim = Claim(self.path.with_name(f".{self.path.name}.lock"), self.identity)
        self._drafts = Drafts(self.path.with_name(f".{self.path.name}.new"))

    @property
    def draft(self) -> Path:
        assert self._drafts is not None, "not open"
        return self._drafts.path(self.path.name)

    def show(self) -> None:
        assert self._drafts is not None, "not open"
        self._drafts.show(self.path.name, self.path)

    def keep(self, aside: Path) -> None:
        """Keep the former content in another file, durably and as a whole."""
        assert self._drafts is not None, "not open"
        shutil.copy2(self.path, self._drafts.path(aside.name))
        self._drafts.show(aside.name, aside)
        self.aside = str(aside)

    def release(self) -> None:
        if self._drafts is not None:
            self._drafts.drop()
        elsewhere, self._elsewhere = self._elsewhere, None
        if elsewhere is not None:
            elsewhere.cleanup()
        claim, self._claim = self._claim, None
        if claim is not None:
            claim.release()
