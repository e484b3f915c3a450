"""What an object store holds of ours: objects with telling names, and the list of those that count.

Rule: values and decisions; nothing here reaches a store.

A manifest is the whole list, folded, so the newest one is enough to read by, and its size follows
the number of objects.  Small objects are merged in tiers: whenever `FAN` of an interface are of
about the same size, they become one; from `SENSIBLE` on there may be `MANY` of them, until they
become `FULL` ones.  So an interface has two hundred or so that are not full, a byte is written
twice or so, and ten years of a thousand accounts (about 10 GB an interface) are some 400 objects
and 50 kB of manifest.
"""

from __future__ import annotations

import re
from array import array
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from hashlib import blake2b
from typing import NamedTuple

from harvester.codec import encode, parse
from harvester.errors import SinkError
from harvester.model import Batch, Window

VERSION = 1
FULL = 32 * 1024 * 1024
"""Bytes of an object that is merged no more."""
FAN = 32
SENSIBLE = 512 * 1024
MANY = 128
FOLDER = "_harvester/"
MANIFESTS = FOLDER + "manifest/"

OBJECT = re.compile(r"[\w-]+/\d{4}-\d\d-\d\d_\d{4}-\d\d-\d\d_[0-9a-f]{32}\.[a-z.]+")
_MANIFEST = re.compile(re.escape(MANIFESTS) + r"(\d{12})\.json")


class Entry(NamedTuple):
    """One object: its name, its size in bytes, how many records it holds."""

    name: str
    size: int
    records: int

    @property
    def endpoint(self) -> str:
        return self.name.partition("/")[0]

    @property
    def days(self) -> tuple[str, str]:
        """The first and the last day of the windows in it, as its name says."""
        first, last = self.name.partition("/")[2].split("_")[:2]
        return first, last


class Manifest(NamedTuple):
    """The objects that count.

    target: of the place, for as long as it is not emptied; owner: the ledger that wrote it.
    commit: its number; base: the number of the one before it, on which it rests.
    """

    target: str
    owner: str
    commit: int
    base: int
    objects: tuple[Entry, ...] = ()

    @property
    def name(self) -> str:
        return manifest_name(self.commit)

    def encoded(self) -> bytes:
        """As bytes; a person can read them."""
        head = encode({"version": VERSION, **self._asdict(), "objects": []})
        rows = b",\n".join([encode(entry._asdict()) for entry in self.objects])
        return head[:-2] + b"\n" + rows + b"\n]}\n"


def read_manifest(name: str, data: bytes) -> Manifest:
    """The manifest that bytes hold; raises `SinkError`."""
    try:
        found = parse(data)
        version = int(found["version"])
        if version <= VERSION:
            entries = tuple(
                Entry(str(one["name"]), int(one["size"]), int(one["records"]))
                for one in found["objects"]
            )
            return Manifest(
                str(found["target"]), str(found["owner"]), int(found["commit"]),
                int(found["base"]), entries,
            )  # fmt: skip
    except (ValueError, KeyError, TypeError):
        raise SinkError(f"{name} is damaged: it is no manifest of harvester") from None
    raise SinkError(
        f"{name} is of version {version}, this harvester knows {VERSION}; use a newer harvester"
    )


def manifest_name(commit: int) -> str:
    """Where the manifest of that number lies."""
    return f"{MANIFESTS}{commit:012}.json"


def manifest_numbers(names: Iterable[str]) -> list[int]:
    """The numbers of the manifests among these names, in order."""
    return sorted(int(match[1]) for name in names if (match := _MANIFEST.fullmatch(name)))


def object_name(windows: Collection[Window], content: Sequence[bytes], suffix: str) -> str:
    """Named after the work: interface, first and last day, digest of what tells the content."""
    first, last = min([each.begin for each in windows]), max([each.end for each in windows])
    return _name(next(iter(windows)).endpoint, str(first), str(last), content, suffix)


def told_by(batches: Sequence[Batch]) -> list[bytes]:
    """What tells the lines of batches from all others: the sums over them, and when they came.

    The sums hold the windows' names, too; to go through all lines once more would cost as much as
    to put them.
    """
    sums = array("Q", [batch.checksum for batch in batches])
    return [sums.tobytes(), "".join([batch.fetched_at for batch in batches]).encode()]


def merged_name(entries: Sequence[Entry], suffix: str) -> str:
    """The name of what several objects become; their names hold the digests of their content."""
    first, last = min(each.days[0] for each in entries), max(each.days[1] for each in entries)
    names = [each.name.encode() for each in entries]
    return _name(entries[0].endpoint, first, last, names, suffix)


def _name(endpoint: str, first: str, last: str, content: Sequence[bytes], suffix: str) -> str:
    digest = blake2b(digest_size=16)
    for part in content:
        digest.update(part)
    return f"{endpoint}/{first}_{last}_{digest.hexdigest()}{suffix}"


def to_merge(entries: Iterable[Entry]) -> list[Entry]:
    """Objects of one interface and one format that should become one; none if all is well."""
    tiers: defaultdict[int, list[Entry]] = defaultdict(list)
    for entry in entries:
        if entry.size < FULL:
            tiers[(entry.size // 16).bit_length() // 5].append(entry)
    for tier in sorted(tiers):
        most = MANY if tiers[tier][0].size >= SENSIBLE else FAN
        if len(tiers[tier]) >= most:
            return _until_full(tiers[tier])
    return []


def _until_full(entries: Iterable[Entry]) -> list[Entry]:
    taken: list[Entry] = []
    size = 0
    for entry in entries:
        taken.append(entry)
        size += entry.size
        if size >= FULL:
            break
    return taken
