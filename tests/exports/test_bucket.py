"""Parquet in an S3-compatible store, behind a proxy as strict as Aliyun OSS."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from pyarrow import fs

from harvester.errors import ExportError, UsageError
from harvester.exports import bucket as module
from harvester.exports.base import Exported
from harvester.exports.bucket import Bucket
from harvester.exports.noted import Noted
from harvester.exports.store import Store as StoreOfLibrary
from harvester.exports.targets import open_target
from harvester.sinks.memory import MemorySink
from tests.builders import harvested
from tests.exports.support import (
    FIRST,
    USERS,
    articles,
    do,
    equal,
    few,
    harvest,
    tables,
    users,
)
from tests.object_store import KEYS, REGION, Store, object_store
from tests.support import environment

pytestmark = [pytest.mark.thorough, pytest.mark.timeout(300)]
needs_proc = pytest.mark.skipif(
    not Path("/proc/self/task").is_dir(), reason="processes are found in /proc"
)


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    """A store that runs."""
    with object_store() as made:
        yield made


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)


def opened(store: Store) -> fs.S3FileSystem:
    """The store as a reader opens it, past the door."""
    return fs.S3FileSystem(endpoint_override=store.behind, region=REGION)


def names(store: Store, spec: str) -> list[str]:
    """The objects of a target, below its prefix."""
    root = re.findall(r"s3://([^?]+)", spec)[0]
    found = opened(store).get_file_info(fs.FileSelector(root, recursive=True))
    return sorted(
        each.path.removeprefix(f"{root}/") for each in found if each.type == fs.FileType.File
    )


def in_bucket(store: Store, spec: str) -> dict[str, list[dict[str, Any]]]:
    """The rows of each table, as a reader of all its files finds them."""
    root = re.findall(r"s3://([^?]+)", spec)[0]
    found: dict[str, list[dict[str, Any]]] = {}
    for name in names(store, spec):
        if name.endswith(".parquet"):
            rows = pq.read_table(f"{root}/{name}", filesystem=opened(store)).to_pylist()
            found.setdefault(name.partition("/")[0], []).extend(rows)
    return found


def put(store: Store, spec: str, name: str, data: bytes) -> None:
    """Write an object as another program would."""
    root = re.findall(r"s3://([^?]+)", spec)[0]
    with opened(store).open_output_stream(f"{root}/{name}") as out:
        out.write(data)


async def at_the_same_time(sinks: list[MemorySink], spec: str) -> list[Any]:
    """Export each, whatever becomes of it."""
    each = [asyncio.to_thread(do, sink, spec) for sink in sinks]
    return await asyncio.gather(*each, return_exceptions=True)


@pytest.mark.parametrize("shape", ["nested", "flat"])
def test_a_bucket_is_made_equal_to_the_sink_by_plain_requests(
    store: Store, tmp_path: Path, shape: str
) -> None:
    spec, sink = store.spec(f"plain-{shape}/deep/er") + f"&shape={shape}", few()
    assert do(sink, spec).written == 4
    assert equal(sink, spec)
    assert do(sink, spec) == Exported(kept=4)
    harvest(users(FIRST, 0, 99), users(date(2026, 5, 1)), sink=sink)
    assert not equal(sink, spec)
    assert do(sink, spec).written == 2
    do(sink, local := f"parquet:{tmp_path}/local?shape={shape}")
    assert in_bucket(store, spec) == tables(local)
    assert store.refused == []
    assert not [asked for asked in store.seen if "multipart" in asked]


def test_an_unchanged_export_asks_for_one_object(store: Store) -> None:
    spec, sink = store.spec("unchanged/x"), few()
    do(sink, spec)
    store.asked.clear()
    assert do(sink, spec) == Exported(kept=4)
    assert {each.partition("?")[0].split()[1] for each in store.asked} == {
        "/unchanged/x/.harvester.json"
    }
    assert {each[:4] for each in store.asked} <= {"HEAD", "GET "}


def test_the_note_is_put_last_and_a_file_by_one_request(store: Store) -> None:
    spec, sink = store.spec("last/x"), few()
    store.asked.clear()
    do(sink, spec, USERS)
    put = [each.split()[1].removeprefix("/last/x/") for each in store.asked if each[:3] == "PUT"]
    note, months = ".harvester.json", [f"{USERS}/2026-01.parquet", f"{USERS}/2026-02.parquet"]
    assert put == [note, *months, note]


def test_months_that_are_gone_are_removed_from_a_bucket(store: Store) -> None:
    spec = store.spec("gone/x")
    do(few(), spec)
    assert do(harvest(users(date(2026, 2, 1))), spec, replace=True).written == 1
    assert names(store, spec) == [".harvester.json", f"{USERS}/2026-02.parquet"]
    assert len(in_bucket(store, spec)[USERS]) == 2


def test_objects_of_others_stay_and_one_in_the_place_of_ours_is_refused(store: Store) -> None:
    spec, sink = store.spec("others/x"), few()
    put(store, spec, f"{USERS}/2026-01.parquet", b"mine")
    with pytest.raises(UsageError, match=r"2026-01\.parquet is not an export of harvester"):
        do(sink, spec)
    opened(store).delete_file(f"others/x/{USERS}/2026-01.parquet")
    mine = [f"{USERS}/2020-01.parquet", "getuserread/2026-01.parquet", "README.md"]
    for name in mine:
        put(store, spec, name, b"mine")
    do(sink, spec)
    do(harvest(articles(FIRST)), spec, replace=True)
    assert {*mine} < {*names(store, spec)}


@pytest.mark.parametrize("damage", ["removed", "changed", "cut"])
def test_a_damaged_object_differs_and_is_replaced(store: Store, damage: str) -> None:
    spec, sink, name = store.spec(f"damaged-{damage}/x"), few(), f"{USERS}/2026-01.parquet"
    do(sink, spec)
    right = in_bucket(store, spec)
    with opened(store).open_input_stream(f"damaged-{damage}/x/{name}") as file:
        data = file.read()
    if damage == "removed":
        opened(store).delete_file(f"damaged-{damage}/x/{name}")
    else:
        put(store, spec, name, data[:-5] if damage == "cut" else data[:50] + b"~" + data[51:])
    assert not equal(sink, spec)
    assert do(sink, spec, replace=True) == Exported(written=1, kept=3, rows=8)
    assert equal(sink, spec)
    assert in_bucket(store, spec) == right


def test_a_large_month_is_several_files_each_put_by_one_request(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Bucket, "most", 40_000)
    spec = store.spec("large/x")
    sink = harvest(*[users(FIRST, account, account * 7919) for account in range(3000)])
    store.seen.clear()
    do(sink, spec)
    files = [name for name in names(store, spec) if name.endswith(".parquet")]
    assert len(files) > 2
    assert (
        files[:2] == [f"{USERS}/2026-01.{number}.parquet" for number in (10, 2)] or len(files) < 10
    )
    assert not [asked for asked in store.seen if "multipart" in asked]
    do(sink, local := f"parquet:{tmp_path}/local")
    key = lambda row: (row["_appid"], row["_row"])  # noqa: E731
    assert sorted(in_bucket(store, spec)[USERS], key=key) == sorted(tables(local)[USERS], key=key)
    assert equal(sink, spec)
    do(few(), spec, replace=True)
    assert [name for name in names(store, spec) if name.startswith(f"{USERS}/2026-01")] == [
        f"{USERS}/2026-01.parquet"
    ]


def test_an_export_that_was_killed_is_finished_by_the_next(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, sink = store.spec("killed/x"), few()
    do(sink, spec)
    harvest(users(FIRST, 0, 99), users(date(2026, 2, 1), 0, 99), sink=sink)
    puts, save = 0, Bucket.save

    def killed(self: Bucket, name: str, data: bytes) -> None:
        nonlocal puts
        puts += 1
        if puts >= 3:
            raise KeyboardInterrupt
        save(self, name, data)

    with monkeypatch.context() as patched:
        patched.setattr(Bucket, "save", killed)
        with pytest.raises(KeyboardInterrupt):
            do(sink, spec)
    assert not equal(sink, spec)
    assert do(sink, spec).written == 2
    assert equal(sink, spec)
    assert {row["new_user"] for row in in_bucket(store, spec)[USERS]} == {1, 31, 99, 129}


def test_the_environment_of_the_program_stays_as_it_is(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_RESPONSE_CHECKSUM_VALIDATION", "when_supported")
    before = dict(os.environ)
    do(few(), store.spec("environment/x"))
    assert dict(os.environ) == before
    assert store.refused == []


def test_keys_are_taken_from_where_the_spec_says(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in KEYS:
        monkeypatch.delenv(name)
    monkeypatch.setenv("MY_ID", KEYS["AWS_ACCESS_KEY_ID"])
    secret = tmp_path / "secret"
    secret.write_text(KEYS["AWS_SECRET_ACCESS_KEY"])
    secret.chmod(0o600)
    spec = f"{store.spec('keys/x')}&access_key=env:MY_ID&secret_key=file:{secret}"
    assert do(few(), spec).written == 4
    assert equal(few(), spec)
    target = open_target(spec)
    assert isinstance(target, Noted)
    shown = f"{target!r} {target.identity} {target._place!r}"
    assert not [key for key in KEYS.values() if key in shown]


def test_an_endpoint_is_taken_from_the_environment(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = re.sub("endpoint=[^&]+&", "", store.spec("from-environment/x"))
    monkeypatch.setenv("AWS_ENDPOINT_URL", store.endpoint)
    assert do(few(), spec).written == 4
    assert USERS in in_bucket(store, spec)


@pytest.fixture
def refusing() -> Iterator[str]:
    """The spec of a bucket in a store that refuses each request, and says why if it may."""
    words = "<Error><Code>RequestTimeTooSkewed</Code><Message>Your clock is late.</Message></Error>"

    class Refusing(BaseHTTPRequestHandler):
        def _refuse(self) -> None:
            self.send_response(403)
            self.send_header("Content-Type", "application/xml")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(words.encode())

        do_GET = do_HEAD = do_PUT = do_DELETE = _refuse  # noqa: N815

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"parquet:s3://b/x?endpoint=http://127.0.0.1:{server.server_port}&region={REGION}"
        server.shutdown()


@pytest.mark.parametrize("call", [do, equal])
def test_a_refusal_is_shown_in_the_words_of_the_store(refusing: str, call: Any) -> None:
    with pytest.raises(ExportError, match="Your clock is late") as raised:
        call(few(), refusing)
    assert "No response body" not in str(raised.value)


@pytest.mark.parametrize(
    ("endpoint", "virtual"),
    [
        ("https://oss-cn-hangzhou.aliyuncs.com", True),
        ("https://cos.ap-guangzhou.myqcloud.com", True),
        ("https://minio.example.org:9000", False),
        ("", False),
    ],
)
def test_stores_that_name_the_bucket_in_the_host_are_addressed_so(
    endpoint: str, virtual: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, Any] = {}
    options = {"endpoint": endpoint} if endpoint else {}
    bucket = Bucket("s3://b/x", options, lambda: None)

    def made(**options: Any) -> None:
        given.update(options)

    monkeypatch.setattr(fs, "S3FileSystem", made)
    StoreOfLibrary(bucket._options)
    assert given["force_virtual_addressing"] is virtual
    assert given["endpoint_override"] == (endpoint or None)
    assert given["allow_delayed_open"] is True
    assert given["background_writes"] is False


@pytest.mark.parametrize(
    ("bucket", "why"),
    [("nowhere", "there is no bucket nowhere"), ("ABC_", "could not be written")],
)
def test_a_bucket_that_is_not_there_is_reported(bucket: str, why: str, store: Store) -> None:
    spec = f"parquet:s3://{bucket}/x?endpoint={store.endpoint}&region={REGION}"
    with pytest.raises(ExportError, match=why):
        do(few(), spec)


def test_a_store_that_does_not_answer_is_reported(store: Store) -> None:
    spec = re.sub(r"endpoint=[^&]+", "endpoint=http://127.0.0.1:9", store.spec("closed/x"))
    with pytest.raises(ExportError, match="could not be written"):
        do(few(), spec)


@pytest.fixture
def silent() -> Iterator[str]:
    """The spec of a bucket in a store that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        yield f"parquet:s3://b/x?endpoint=http://127.0.0.1:{port}&region={REGION}"


def test_a_call_that_takes_too_long_ends(silent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LIMIT", 0.5)
    began = time.monotonic()
    with pytest.raises(ExportError, match=r"has not answered for 0\.5 s"):
        do(few(), silent)
    assert time.monotonic() - began < 5


def test_a_call_ends_when_the_export_is_interrupted(silent: str) -> None:
    stop = threading.Event()

    def stopped() -> None:
        if stop.is_set():
            raise ExportError("interrupted")

    threading.Timer(0.5, stop.set).start()
    began = time.monotonic()
    with pytest.raises(ExportError, match="interrupted"):
        do(few(), silent, stopped=stopped)
    assert time.monotonic() - began < 5


def _children(pid: int) -> list[int]:
    """The processes that a process has started, whichever of its threads it was."""
    found = [each.read_text().split() for each in Path(f"/proc/{pid}/task").glob("*/children")]
    return [int(child) for each in found for child in each]


def _is_alive(pid: int) -> bool:
    with suppress(FileNotFoundError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


@pytest.mark.sampled
@needs_proc
@pytest.mark.usefixtures("_interruptible")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("arguments", [[], ["--check"]])
def test_a_signal_ends_the_command_while_a_store_does_not_answer(
    silent: str, tmp_path: Path, arguments: list[str], number: signal.Signals
) -> None:
    harvested(f"jsonl:{tmp_path}/out")
    command = [sys.executable, "-m", "harvester", "export", silent, "--out", f"{tmp_path}/out"]
    process = subprocess.Popen(
        [*command, *arguments], env=environment() | KEYS, stderr=subprocess.PIPE, text=True
    )
    ends = time.monotonic() + 60
    while not _children(process.pid):  # it sends the requests
        assert process.poll() is None
        assert time.monotonic() < ends
        time.sleep(0.1)
    time.sleep(1)
    assert process.poll() is None
    began = time.monotonic()
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert time.monotonic() - began < 10
    assert process.returncode == 130
    assert "Traceback" not in said


@needs_proc
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_an_export_that_is_killed_puts_nothing_any_more_and_leaves_no_draft(
    store: Store, tmp_path: Path, number: signal.Signals
) -> None:
    harvested(f"jsonl:{tmp_path}/out")
    spec, drafts = store.spec(f"killed-by-{int(number)}/x"), tmp_path / "drafts"
    drafts.mkdir()
    command = [sys.executable, "-m", "harvester", "export", spec, "--out", f"{tmp_path}/out"]
    store.held.add(f"killed-by-{int(number)}/x/get")
    store.asked.clear()
    try:
        process = subprocess.Popen(command, env=environment() | KEYS | {"TMPDIR": str(drafts)})
        while not any(each.startswith("PUT") and "parquet" in each for each in store.asked):
            assert process.poll() is None
            time.sleep(0.05)
        children = _children(process.pid)
        process.send_signal(number)
        assert process.wait(30) == (130 if number == signal.SIGTERM else -number)
        ends = time.monotonic() + 10
        while any(map(_is_alive, children)):
            assert time.monotonic() < ends
            time.sleep(0.05)
        assert children
        assert [*drafts.iterdir()] == []
    finally:
        store.held.clear()
    asked = len(store.asked)
    time.sleep(1)
    assert len(store.asked) == asked
    assert subprocess.run(command, env=environment() | KEYS, check=False).returncode == 0
    assert (
        subprocess.run([*command, "--check"], env=environment() | KEYS, check=False).returncode == 0
    )


def test_two_exports_at_the_same_time_do_not_mix(store: Store) -> None:
    spec, sinks = store.spec("two/x"), [few(), harvest(users(FIRST, 0, 55), sink=few())]
    do(sinks[0], spec)
    for turn in range(4):
        for number, sink in enumerate(sinks):
            harvest(users(FIRST, 1, 70 + 10 * turn + number), sink=sink)
        found = asyncio.run(at_the_same_time(sinks, spec))
        assert all(isinstance(each, Exported | ExportError) for each in found), found
        do(sinks[1], spec)
        assert equal(sinks[1], spec)
        rows = in_bucket(store, spec)[USERS]
        key = [(row["_appid"], row["_begin_date"], row["_row"]) for row in rows]
        assert len(key) == len({*key}) == 16
        assert 71 + 10 * turn in [row["new_user"] for row in rows]


def test_another_export_that_has_written_meanwhile_is_noticed(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, sink, other = store.spec("meanwhile/x"), few(), few()
    harvest(users(FIRST, 0, 55), sink=other)
    put = Bucket.put

    def beside(self: Bucket, name: str) -> None:
        monkeypatch.undo()
        for key, value in KEYS.items():
            monkeypatch.setenv(key, value)
        do(other, spec)
        put(self, name)

    monkeypatch.setattr(Bucket, "put", beside)
    with pytest.raises(ExportError, match="another export wrote there at the same time"):
        do(sink, spec)
    assert not equal(other, spec)  # it is not known whose file is there
    assert do(other, spec).written > 0
    assert equal(other, spec)
    do(sink, spec)
    assert equal(sink, spec)
    assert {row["new_user"] for row in in_bucket(store, spec)[USERS]} == {1, 31}


def test_of_two_first_exports_none_is_told_to_remove_the_files_of_the_other(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, sink, existing = store.spec("first/x"), few(), Bucket.existing

    def beside(self: Bucket, names: Any) -> list[str]:
        with monkeypatch.context() as patched:
            patched.setattr(Bucket, "existing", existing)
            do(sink, spec)
        return existing(self, names)

    with monkeypatch.context() as patched:
        patched.setattr(Bucket, "existing", beside)
        with pytest.raises(ExportError, match="another export wrote there at the same time"):
            do(few(), spec)
    assert equal(sink, spec)  # whose export had ended: its note is as it was
    assert do(few(), spec) == Exported(kept=4)


@pytest.mark.sampled
@pytest.mark.parametrize("torn", [{1}, {1, 2}, {2}, {2, 3}, {3}, {3, 4}])
def test_a_note_of_which_a_store_gives_a_part_is_read_again(
    torn: set[int], store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The length comes with one request and the content with the next: a new one is cut."""
    spec, sink = store.spec(f"torn-{'-'.join(map(str, torn))}/x"), few()
    do(sink, spec)
    harvest(users(FIRST, 0, 55), sink=sink)
    read, count = Bucket.read, 0

    def part(self: Bucket, name: str) -> bytes:
        nonlocal count
        count += 1
        return read(self, name)[: -10 * count if count in torn else None]

    monkeypatch.setattr(Bucket, "read", part)
    if 1 in torn:
        assert do(sink, spec).written == 1
    else:  # it is not the note that this export has written
        with pytest.raises(ExportError, match="another export wrote there at the same time"):
            do(sink, spec)
    assert count > max(torn)
    do(sink, spec)
    assert equal(sink, spec)
