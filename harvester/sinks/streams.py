"""What stands in Redis of ours: keys, markers, and the scripts that change them in one step.

Rule: words and values; nothing here reaches a server.

Below a prefix ``P``: ``P:<endpoint>`` is the stream of an interface.  Beside it lies what the sink
must know: ``P:.state`` (who writes, and the number of the last commit), ``P:.streams`` (the
interfaces), ``P:.windows:<endpoint>:<appid>`` (for each window that stands, a marker: where its
records are and what they are), ``P:.undo`` (markers of what the last commit replaced, until its
receipt is stored), ``P:.left`` (markers of what a run that died left behind) and ``P:.kept`` (what
the last commit took over of that).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import date
from hashlib import blake2b
from typing import NamedTuple

from harvester.model import Batch, Tally, Window

_FETCHED_AT = len(b',"_fetched_at":"2024-01-01T00:00:00Z"}')


class Marker(NamedTuple):
    """Where the records of a window stand, and what they are.

    They have the entry ids ``<commit>-<first>`` and so on.
    """

    commit: int
    first: int
    records: int
    checksum: int

    @classmethod
    def parse(cls, text: str) -> Marker:
        commit, first, records, checksum = text.split()
        return cls(int(commit), int(first), int(records), int(checksum))

    def __str__(self) -> str:
        return f"{self.commit} {self.first} {self.records} {self.checksum}"

    @property
    def tally(self) -> Tally:
        return Tally(self.records, self.checksum)

    @property
    def ids(self) -> list[str]:
        return [f"{self.commit}-{self.first + place}" for place in range(self.records)]


class Keys(NamedTuple):
    """The names of everything below a prefix."""

    prefix: str

    @property
    def state(self) -> str:
        return f"{self.prefix}:.state"

    @property
    def streams(self) -> str:
        return f"{self.prefix}:.streams"

    @property
    def undo(self) -> str:
        return f"{self.prefix}:.undo"

    @property
    def left(self) -> str:
        return f"{self.prefix}:.left"

    @property
    def kept(self) -> str:
        return f"{self.prefix}:.kept"

    def stream(self, endpoint: str) -> str:
        return f"{self.prefix}:{endpoint}"

    def windows(self, endpoint: str, appid: str) -> str:
        return f"{self.prefix}:.windows:{endpoint}:{appid}"


def field(window: Window) -> str:
    """A window's days, as the field of its marker."""
    return f"{window.begin} {window.end}"


def whole_field(window: Window) -> str:
    """A window, as a field among those of all accounts and interfaces."""
    return f"{window.endpoint} {window.appid} {field(window)}"


def window_of_field(text: str) -> Window:
    """The window of a whole field."""
    endpoint, appid, begin, end = text.split(" ")
    return Window(appid, endpoint, date.fromisoformat(begin), date.fromisoformat(end))


def literally(text: str) -> str:
    """A text as part of a pattern of keys."""
    return re.sub(r"([*?\[\]^\\])", r"\\\1", text)


def overlap(one: Window, other: Window) -> bool:
    """Whether two windows share a day of one interface of one account."""
    same = one.appid == other.appid and one.endpoint == other.endpoint
    return same and one.begin <= other.end and other.begin <= one.end


class Operation(NamedTuple):
    """One step of a commit, as the script reads it.

    add: put the records of a window; keep: what was left behind is what was to be added; drop: it
    is not; replace: a marker moves to where it is undone, or settled.
    """

    kind: str
    window: Window
    marker: Marker
    batch: Batch | None = None

    def arguments(self) -> Iterator[str | bytes | int]:
        window = self.window
        yield from (self.kind, window.endpoint, window.appid, field(window), str(self.marker))
        yield self.marker.records
        if self.batch is not None:
            yield from entries(self.batch)


def entries(batch: Batch) -> Iterator[bytes]:
    """For each record an id of its own and its line.

    The id is made from interface, account, days and the record itself, without when it was fetched;
    records that are the same have one number more each.  So it is the same however often a window
    comes.
    """
    window = batch.window
    base = blake2b(whole_field(window).encode(), digest_size=16)
    seen: dict[bytes, int] = {}
    for line in batch.body.splitlines():
        own = base.copy()
        own.update(line[:-_FETCHED_AT])
        digest = own.digest()
        again = seen.get(digest, 0)
        seen[digest] = again + 1
        yield (f"{own.hexdigest()}-{again}" if again else own.hexdigest()).encode()
        yield line


def pieces(operations: Sequence[Operation], most: int) -> Iterator[list[Operation]]:
    """The operations in groups of so many records."""
    group: list[Operation] = []
    records = 0
    for operation in operations:
        if group and records + operation.marker.records > most:
            yield group
            group, records = [], 0
        group.append(operation)
        records += operation.marker.records
    if group:
        yield group


_TOOLS = """
local prefix = ARGV[1]
local state = prefix .. ':.state'
local function parts(text)
  local found = {}
  for word in string.gmatch(text, '%S+') do found[#found + 1] = word end
  return found
end
local function take_away(endpoint, marker)
  local at = parts(marker)
  local first, last = tonumber(at[2]), tonumber(at[2]) + tonumber(at[3]) - 1
  for from = first, last, 500 do
    local ids = {}
    for number = from, math.min(from + 499, last) do ids[#ids + 1] = at[1] .. '-' .. number end
    redis.call('XDEL', prefix .. ':' .. endpoint, unpack(ids))
  end
end
local function windows(endpoint, appid)
  return prefix .. ':.windows:' .. endpoint .. ':' .. appid
end
"""

CLAIM = """
local held = redis.call('HGET', ARGV[1] .. ':.state', 'client')
if (held or '') ~= ARGV[2] then return 0 end
redis.call('HSET', ARGV[1] .. ':.state', 'client', ARGV[3])
return 1
"""
"""prefix, the name that held it, the new one: 1, or 0 if somebody else was quicker."""

COMMIT = (
    _TOOLS
    + """
local held = redis.call('HMGET', state, 'client', 'commit')
if held[1] ~= ARGV[2] then return 0 end
if held[2] == ARGV[4] then return 1 end
if held[2] ~= ARGV[3] then return 0 end
local at = 5
while ARGV[at] do
  local kind, endpoint, appid, days, marker = unpack(ARGV, at, at + 4)
  local records = tonumber(ARGV[at + 5])
  local whole = endpoint .. ' ' .. appid .. ' ' .. days
  at = at + 6
  if kind == 'add' then
    local stream, from = prefix .. ':' .. endpoint, tonumber(parts(marker)[2])
    for number = from, from + records - 1 do
      redis.call('XADD', stream, ARGV[4] .. '-' .. number, 'id', ARGV[at], 'record', ARGV[at + 1])
      at = at + 2
    end
    redis.call('HSET', windows(endpoint, appid), days, marker)
    redis.call('SADD', prefix .. ':.streams', endpoint)
  elseif kind == 'replace' then
    redis.call('HDEL', windows(endpoint, appid), days)
    redis.call('HSET', prefix .. ':.undo', whole, marker)
  else
    redis.call('HDEL', prefix .. ':.left', whole)
    if kind == 'keep' then
      redis.call('HSET', windows(endpoint, appid), days, marker)
      redis.call('HSET', prefix .. ':.kept', whole, marker)
    else
      take_away(endpoint, marker)
    end
  end
end
redis.call('HSET', state, 'commit', ARGV[4])
return 1
"""
)
"""prefix, client, the last commit, this one, operations: 1, or 0 if somebody else writes here.

A commit that is there already is not done again: the answer was lost on the way."""

SETTLE = (
    _TOOLS
    + """
if redis.call('HGET', state, 'client') ~= ARGV[2] then return 0 end
local kept = prefix .. ARGV[3]
local found = redis.call('HGETALL', kept)
for place = 1, #found, 2 do take_away(parts(found[place])[1], found[place + 1]) end
redis.call('DEL', kept)
if ARGV[3] == ':.undo' then redis.call('DEL', prefix .. ':.kept') end
return 1
"""
)
"""prefix, client, ``:.undo`` or ``:.left``: the entries of its markers go."""

ROLL_BACK = (
    _TOOLS
    + """
if redis.call('HGET', state, 'client') ~= ARGV[2] then return 0 end
for at = 3, #ARGV, 5 do
  local kind, endpoint, appid, days, marker = unpack(ARGV, at, at + 4)
  redis.call('HDEL', windows(endpoint, appid), days)
  if kind == 'drop' then
    take_away(endpoint, marker)
  else
    redis.call('HSET', prefix .. ':.left', endpoint .. ' ' .. appid .. ' ' .. days, marker)
  end
end
local found = redis.call('HGETALL', prefix .. ':.undo')
for place = 1, #found, 2 do
  local whole = parts(found[place])
  redis.call('HSET', windows(whole[1], whole[2]), whole[3] .. ' ' .. whole[4], found[place + 1])
end
local kept = redis.call('HGETALL', prefix .. ':.kept')
for place = 1, #kept, 2 do
  local whole = parts(kept[place])
  redis.call('HDEL', windows(whole[1], whole[2]), whole[3] .. ' ' .. whole[4])
  redis.call('HSET', prefix .. ':.left', kept[place], kept[place + 1])
end
redis.call('DEL', prefix .. ':.undo', prefix .. ':.kept')
return 1
"""
)
"""prefix, client, then for each window of a lost commit ``drop`` or ``leave`` and its marker."""
