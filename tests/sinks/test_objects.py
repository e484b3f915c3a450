from __future__ import annotations

import asyncio
import gzip
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import obstore
import pytest
from obstore.store import S3Store

from harvester import plugins
from harvester.errors import SinkError, UsageError
from harvester.model import Tally
from harvester.sinks import manifest, objects, writer
from harvester.sinks.base import Readable
from harvester.sinks.manifest import Entry, manifest_numbers, to_merge
from harvester.sinks.objects import LocalObjects, ObjectStore
from tests.s3_server import CREDENTIALS, S3Server, door
from tests.sinks.kept import (
    ODD,
    Died,
    Kept,
    batch,
    done,
    dying,
    job,
    killed_again_and_again,
    standing,
    truth,
    window,
)
from tests.support import KILLS, A, Wechat, harvest

OPERATIONS = 48


def at(place: Path | str, **how: Any) -> Kept:
    """A ledger whose sink lies in a directory, or at a URL."""
    if isinstance(place, Path):
        return Kept(lambda: LocalObjects(f"file://{place}", **how))
    return Kept(lambda: ObjectStore(place, **how))


def names(folder: Path) -> list[str]:
    """The data objects that lie there."""
    found = (str(path.relative_to(folder)) for path in folder.rglob("*.jsonl*"))
    return sorted(found)


def listed(folder: Path) -> list[str]:
    """The data objects that the newest manifest lists."""
    newest = max((folder / "_harvester" / "manifest").iterdir())
    return sorted(one["name"] for one in json.loads(newest.read_text())["objects"])


def lines_in(folder: Path) -> int:
    return sum(len((folder / name).read_bytes().splitlines()) for name in names(folder))


# what is written


@pytest.mark.parametrize("compress", ["", "gzip"])
def test_what_is_written_can_be_read_back_from_s3(bucket: str, compress: str) -> None:
    async def main() -> None:
        ledger = at(f"s3://{bucket}/some/prefix", compress=compress)
        sink = await ledger.open()
        other = window(4, endpoint="f")
        await ledger.commit(sink, batch(1, ODD, {"n": 1}), batch(2), batch(3, 3), batch(other, 4))
        await sink.close()
        await sink.close()
        assert [record.get("n") for record in ledger.records()] == [None, 1, 3, 4]
        assert {**ledger.records()[0], **ODD} == ledger.records()[0]
        assert isinstance(sink, Readable)

    asyncio.run(main())
    store = S3Store(bucket, client_options={"allow_http": True})
    found = {str(one["path"]) for one in obstore.list(store).collect()}
    suffix = "jsonl.gz" if compress else "jsonl"
    data = [name for name in found if "_harvester" not in name]
    assert sorted(name[: name.rindex("_")] for name in data) == [
        "some/prefix/e/2024-01-01_2024-01-03",
        "some/prefix/f/2024-01-04_2024-01-04",
    ]
    assert all(name.endswith(suffix) for name in data)


def test_an_object_is_named_after_the_work(tmp_path: Path) -> None:
    async def main(folder: Path) -> list[str]:
        ledger = at(folder)
        sink = await ledger.open()
        await ledger.commit(sink, batch(5, 5), batch(window(1, 2), 1))
        await sink.close()
        return names(folder)

    one, other = asyncio.run(main(tmp_path / "a")), asyncio.run(main(tmp_path / "b"))
    assert one == other
    assert one[0].startswith("e/2024-01-01_2024-01-05_")


def test_windows_give_way_to_themselves_and_to_longer_ones(tmp_path: Path) -> None:
    async def main() -> None:
        ledger = at(tmp_path)
        sink = await ledger.open()
        days = [batch(day, day, day) for day in range(1, 9)]
        for one in days:
            await ledger.commit(sink, one)
        await ledger.commit(sink, batch(window(3, appid="wx2"), 33))
        assert await ledger.commit(sink, batch(3, 3, replaces=True), batch(20, 20)) == {
            window(3): Tally(2, days[2].checksum)
        }
        replaced = await ledger.commit(sink, batch(window(2, 6), 100, replaces=True))
        assert replaced[window(2, 6)].records == 11
        assert ledger.numbers() == [1, 1, 8, 8, 20, 33, 100]
        assert await ledger.commit(sink, batch(8, replaces=True)) == {
            window(8): Tally(2, days[7].checksum)
        }
        assert ledger.numbers() == [1, 1, 20, 33, 100]
        assert await ledger.commit(sink, batch(8, replaces=True)) == {}
        await sink.close()
        assert names(tmp_path) == listed(tmp_path)
        assert lines_in(tmp_path) == 5

    asyncio.run(main())


def test_empty_windows_put_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        ledger = at(tmp_path)
        sink = await ledger.open()
        before = sorted(tmp_path.rglob("*.json"))
        await ledger.commit(sink, batch(1), batch(2))
        assert sorted(tmp_path.rglob("*.json")) == before
        await sink.close()

    asyncio.run(main())


def test_ten_thousand_windows_and_their_replacement(tmp_path: Path) -> None:
    async def main() -> None:
        ledger = at(tmp_path)
        sink = await ledger.open()
        await ledger.commit(sink, *[batch(day, day) for day in range(1, 10_001)])
        await ledger.commit(sink, *[batch(day, -day, replaces=True) for day in range(1, 10_001)])
        assert ledger.numbers() == list(range(-10_000, 0))
        await sink.close()
        assert lines_in(tmp_path) == 10_000

    asyncio.run(main())


def test_compression_may_change_from_run_to_run(tmp_path: Path) -> None:
    async def main() -> None:
        ledger = at(tmp_path)
        for turn, compress in enumerate(("", "gzip", "")):
            ledger.make = at(tmp_path, compress=compress).make
            sink = await ledger.open()
            for day in range(1, 4):
                await ledger.commit(sink, batch(10 * turn + day, day), batch(40, 0, replaces=True))
            await sink.close()
        assert ledger.numbers() == [0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
        (packed, *_) = [name for name in names(tmp_path) if name.endswith(".gz")]
        assert b'"n":' in gzip.decompress((tmp_path / packed).read_bytes())

    asyncio.run(main())


# few objects, and a manifest that stays small


def test_many_small_writes_leave_few_objects(tmp_path: Path) -> None:
    async def main() -> None:
        ledger = at(tmp_path)
        sink = await ledger.open()
        for day in range(1, 1_001):
            await ledger.commit(sink, batch(day, day))
        await sink.close()
        assert ledger.numbers() == list(range(1, 1_001))

    asyncio.run(main())
    assert names(tmp_path) == listed(tmp_path)
    assert len(names(tmp_path)) < 2 * manifest.FAN
    newest = max((tmp_path / "_harvester" / "manifest").iterdir())
    assert newest.stat().st_size < 20_000
    assert len(list((tmp_path / "_harvester" / "manifest").iterdir())) <= objects.MANIFESTS_KEPT + 1


def test_what_is_merged_stays_below_what_a_process_can_hold() -> None:
    small = [Entry(f"e/2024-01-01_2024-01-01_{n}", 1_000_000, 1) for n in range(manifest.FAN)]
    assert to_merge(small[1:]) == []
    assert sum(entry.size for entry in to_merge(small)) <= manifest.FULL + 1_000_000
    assert to_merge([entry._replace(size=manifest.FULL) for entry in small]) == []


def test_ten_years_of_a_thousand_accounts_are_a_few_hundred_objects() -> None:
    entries: list[Entry] = []
    written, commits = 0, 4_000 * 1_000 // 512
    for number in range(commits):  # 512 windows of 2.3 kB
        entries.append(Entry(f"e/2024-01-01_2024-01-01_{number}", 512 * 2_300, 512 * 8))
        written += entries[-1].size
        while some := to_merge(entries):
            size = sum(entry.size for entry in some)
            entries = [entry for entry in entries if entry not in some]
            entries.append(Entry(f"e/2024-01-01_2024-01-01_m{number}", size, 1))
            written += size
    assert len(entries) < 400
    assert written < 2.2 * commits * 512 * 2_300


# runs that die


def test_a_run_that_dies_before_its_receipt_is_stored_leaves_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        ledger = at(tmp_path)
        sink = await ledger.open()
        await ledger.commit(sink, batch(1, 1), batch(2, 2))
        await sink.write([batch(1, 11, replaces=True), batch(3, 3)])
        assert ledger.numbers() == [1, 2]
        await sink.close()
        sink = await ledger.open()
        assert ledger.numbers() == [1, 2]
        assert names(tmp_path) == listed(tmp_path)
        await ledger.commit(sink, batch(1, 11, replaces=True), batch(3, 3))
        await sink.close()
        assert ledger.numbers() == [2, 3, 11]
        assert lines_in(tmp_path) == 3

    asyncio.run(main())


def test_a_run_that_dies_after_its_receipt_is_stored_has_written(tmp_path: Path) -> None:
    async def main() -> None:
        ledger = at(tmp_path)
        sink = await ledger.open()
        await ledger.commit(sink, batch(1, 1), batch(2, 2))
        ledger.store((await sink.write([batch(1, 11, replaces=True)])).receipt)
        await sink.close()
        assert ledger.numbers() == [2, 11]
        sink = await ledger.open()
        await sink.close()
        assert ledger.numbers() == [2, 11]
        assert names(tmp_path) == listed(tmp_path)

    asyncio.run(main())


@pytest.mark.parametrize("part", range(4))
@pytest.mark.thorough
def test_a_job_that_dies_at_any_moment_ends_with_the_truth(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: int
) -> None:
    monkeypatch.setattr(manifest, "FAN", 4)
    with dying(0) as moments:
        asyncio.run(job(at(tmp_path / "whole").make(), tmp_path / "l", operations=OPERATIONS))
    assert {"after put object", "after put manifest", "after remove replaced objects"} < {*moments}
    for moment in range(1 + part, len(moments) + 1, 4):
        folder, path = tmp_path / str(moment), tmp_path / f"ledger{moment}"
        sink = at(folder).make()
        with dying(moment), pytest.raises(Died):
            asyncio.run(job(sink, path, operations=OPERATIONS))
        if sink._thread is not None:
            sink._thread.close()
        if path.exists():
            assert standing(at(folder).make(), path) == truth(done(path)), moments[moment - 1]
        else:  # the ledger knows nothing: that its writer is no more is told by its process alone
            (folder / writer.WRITER).unlink(missing_ok=True)
        asyncio.run(job(at(folder).make(), path, operations=OPERATIONS))
        assert standing(at(folder).make(), path) == truth(OPERATIONS), moments[moment - 1]
        assert names(folder) == listed(folder), moments[moment - 1]
        assert lines_in(folder) == sum(truth(OPERATIONS).values())


@pytest.mark.timeout(600)
@pytest.mark.thorough
def test_kills_at_random_moments_lose_and_double_nothing(bucket: str, tmp_path: Path) -> None:
    spec, path = f"s3://{bucket}/killed", tmp_path / "ledger"
    reached = []

    def each() -> None:
        reached.append(done(path))
        assert standing(plugins.sink(spec), path) == truth(reached[-1])

    killed_again_and_again(spec, path, each, 0.03)
    assert len({*reached}) > min(5, KILLS // 3)
    assert standing(plugins.sink(spec), path) == truth()


def test_a_killed_writer_without_a_ledger_holds_up_nobody(tmp_path: Path) -> None:
    program = (
        "import asyncio, os, sys\nfrom harvester.sinks.objects import LocalObjects\n"
        "asyncio.run(LocalObjects(sys.argv[1]).open(None)); os._exit(9)"
    )
    url = f"file://{tmp_path}"
    assert subprocess.run([sys.executable, "-c", program, url], check=False).returncode == 9
    assert (tmp_path / writer.WRITER).exists()

    async def main() -> None:
        sink = LocalObjects(url)
        await sink.open({})
        await sink.close()

    asyncio.run(main())


# two writers, and other ledgers


def test_a_second_writer_is_refused_until_the_first_has_closed(tmp_path: Path) -> None:
    async def main() -> None:
        one, two = at(tmp_path), at(tmp_path)
        sink = await one.open()
        await one.commit(sink, batch(1, 1))
        for receipt in (None, {}):
            other = two.make()
            with pytest.raises(UsageError, match="in use by another harvester, which was at work"):
                await other.open(receipt)
            await other.close()
        await one.commit(sink, batch(2, 2))
        await sink.close()
        sink = await two.open()
        await two.commit(sink, batch(2, 22), batch(3, 3))
        await sink.close()
        assert two.numbers() == [1, 3, 22]
        sink = await one.open()
        await one.commit(sink, batch(3, 33))
        await sink.close()
        assert one.numbers() == [1, 22, 33]
        assert lines_in(tmp_path) == 3

    asyncio.run(main())


def test_of_two_at_work_one_is_stopped_by_the_conditional_put(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        one, two = at(f"s3://{bucket}/x"), at(f"s3://{bucket}/x")
        former = await one.open()
        await one.commit(former, batch(1, 1))
        monkeypatch.setattr(writer, "LEASE", 0.0)  # as if the first had been silent for long
        sink = await two.open()
        with pytest.raises(SinkError, match="another harvester has begun to write to s3://"):
            await former.write([batch(2, 2)])
        await former.close()
        await two.commit(sink, batch(3, 3))
        await sink.close()
        assert two.numbers() == [1, 3]
        sink = await one.open()
        await one.commit(sink, batch(2, 2))
        await sink.close()
        assert one.numbers() == [1, 2, 3]

    asyncio.run(main())


def test_a_ledger_that_was_restored_from_a_copy_doubles_nothing(tmp_path: Path) -> None:
    async def main(writes: int, folder: Path) -> None:
        ledger = at(folder)
        sink = await ledger.open()
        await ledger.commit(sink, batch(1, 1), batch(2, 2))
        copy = dict(ledger.receipt)
        for number in range(writes):
            await ledger.commit(sink, batch(1, 10 + number, replaces=True), batch(3 + number, 3))
        await sink.close()
        ledger.receipt = copy
        sink = await ledger.open()
        for number in range(writes):
            await ledger.commit(sink, batch(3 + number, 1000 + number))
        await sink.close()
        assert ledger.numbers()[-writes:] == [1000 + number for number in range(writes)]
        assert len(ledger.numbers()) == 2 + writes

    for writes in (1, 2, 5, 50):
        asyncio.run(main(writes, tmp_path / str(writes)))


def test_without_a_ledger_a_window_that_comes_again_replaces_itself(tmp_path: Path) -> None:
    async def main() -> None:
        for number in range(3):
            sink = at(tmp_path).make()
            await sink.open(None)
            await sink.write([batch(1, number), batch(2 + number, 2 + number)])
            await sink.settle()
            await sink.close()
        assert lines_in(tmp_path) == 4

    asyncio.run(main())


# what is not there


def test_what_was_deleted_is_never_called_harvested(tmp_path: Path) -> None:
    async def main() -> None:
        ledger = at(tmp_path)
        sink = await ledger.open()
        await ledger.commit(sink, batch(1, 1), batch(2, 2))
        await sink.close()
        (name,) = names(tmp_path)
        whole = (tmp_path / name).read_bytes()
        for change in (lambda: (tmp_path / name).write_bytes(whole[:-1]), (tmp_path / name).unlink):
            change()
            await _refused(ledger)
        for path in sorted(tmp_path.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        await _refused(ledger)
        other = at(tmp_path)
        sink = await other.open()
        await other.commit(sink, batch(9, 9))
        await sink.close()
        await _refused(ledger)
        assert other.numbers() == [9]

    asyncio.run(main())


async def _refused(ledger: Kept) -> None:
    sink = ledger.make()
    with pytest.raises(SinkError, match=r"is gone .* though the ledger says that it was harvested"):
        await sink.open(dict(ledger.receipt))
    await sink.close()
    with pytest.raises(SinkError, match="is gone"):
        ledger.records()


def test_a_bucket_that_was_deleted_between_two_runs_is_told(bucket: str, s3: S3Server) -> None:
    async def main() -> None:
        ledger = at(f"s3://{bucket}/x")
        sink = await ledger.open()
        await ledger.commit(sink, batch(1, 1))
        await sink.close()
        store = S3Store(bucket, client_options={"allow_http": True})
        obstore.delete(store, [one["path"] for one in obstore.list(store).collect()])
        s3.remove_bucket(bucket)
        with pytest.raises(SinkError, match=r"is gone .there is no such bucket any more"):
            await ledger.make().open(ledger.receipt)

    asyncio.run(main())


# what can never be written is told before anything is sent


def opened(sink: ObjectStore) -> Exception:
    async def main() -> Exception:
        with pytest.raises((UsageError, SinkError)) as caught:
            await sink.open({})
        await sink.close()
        return caught.value

    found = asyncio.run(main())
    assert CREDENTIALS["AWS_SECRET_ACCESS_KEY"] not in repr(found)
    assert CREDENTIALS["AWS_ACCESS_KEY_ID"] not in repr(found)
    assert "\n" not in str(found)
    return found


@pytest.mark.usefixtures("bucket")
def test_a_bucket_that_is_not_there_is_unusable() -> None:
    found = opened(ObjectStore("s3://another/x"))
    assert isinstance(found, UsageError)
    assert str(found) == "sink: s3://another/x cannot be used: there is no such bucket"


def test_missing_credentials_are_told(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:9")
    found = opened(ObjectStore(f"s3://{bucket}/x"))
    assert isinstance(found, UsageError)
    assert "there are no credentials; set AWS_ACCESS_KEY_ID" in str(found)


@contextmanager
def refusing(status: int, code: str, methods: tuple[str, ...]) -> Iterator[str]:
    """A store that is empty, and refuses some methods."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            refused = self.command in methods
            body = f"<Error><Code>{code}</Code></Error>" if refused else "<ListBucketResult/>"
            self.send_response(status if refused else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            pass

    for method in ("GET", "PUT", "POST", "DELETE", "HEAD"):
        setattr(Handler, f"do_{method}", Handler.answer)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("status", "code", "methods", "said"),
    [
        (403, "AccessDenied", ("PUT",), "it refuses these credentials (AccessDenied)"),
        (403, "InvalidAccessKeyId", ("GET", "PUT"), "these credentials (InvalidAccessKeyId)"),
        (401, "Unauthorized", ("GET", "PUT"), "it refuses these credentials (Unauthorized)"),
        (400, "InvalidBucketName", ("GET", "PUT"), "it answers 400 (InvalidBucketName)"),
    ],
)
@pytest.mark.usefixtures("bucket")
def test_a_store_that_refuses_is_unusable(
    status: int, code: str, methods: tuple[str, ...], said: str
) -> None:
    with refusing(status, code, methods) as url:
        found = opened(ObjectStore("s3://b/x", endpoint=url))
    assert isinstance(found, UsageError)
    assert said in str(found)


@pytest.mark.usefixtures("bucket")
def test_a_store_that_is_down_is_asked_again_for_a_bounded_time() -> None:
    started = time.monotonic()
    found = opened(ObjectStore("s3://b/x", endpoint="http://127.0.0.1:9", patience=1.0))
    assert type(found) is not UsageError
    assert "it does not answer for 1 s; nothing that was committed is lost" in str(found)
    assert 0.3 < time.monotonic() - started < 5


def test_a_store_that_is_gone_and_back_again_is_waited_for(bucket: str, s3: S3Server) -> None:
    async def main() -> None:
        with door(s3) as way:
            ledger = at(f"s3://{bucket}/x", endpoint=way.url, patience=20.0)
            sink = await ledger.open()
            await ledger.commit(sink, batch(1, 1))
            way.shut()
            task = asyncio.ensure_future(ledger.commit(sink, batch(2, 2)))
            await asyncio.sleep(0.5)
            assert not task.done()
            way.open()
            await task
            await sink.close()
            assert ledger.numbers() == [1, 2]

    asyncio.run(main())


def test_a_store_that_stays_away_loses_nothing(bucket: str, s3: S3Server) -> None:
    async def main() -> None:
        with door(s3) as way:
            ledger = at(f"s3://{bucket}/x", endpoint=way.url, patience=0.5)
            sink = await ledger.open()
            await ledger.commit(sink, batch(1, 1))
            way.shut()
            with pytest.raises(SinkError, match="could not be written: it does not answer"):
                await ledger.commit(sink, batch(2, 2))
            await sink.close()
            way.open()
            sink = await ledger.open()
            await ledger.commit(sink, batch(2, 2))
            await sink.close()
            assert ledger.numbers() == [1, 2]

    asyncio.run(main())


def test_a_write_can_be_cancelled_in_its_midst(bucket: str, s3: S3Server) -> None:
    async def main() -> None:
        with door(s3) as way:
            ledger = at(f"s3://{bucket}/x", endpoint=way.url)
            sink = await ledger.open()
            await ledger.commit(sink, batch(1, 1))
            for wait in (0.0, 0.001, 0.003, 0.01):
                task = asyncio.ensure_future(sink.write([batch(2, 2)]))
                await asyncio.sleep(wait)
                task.cancel()
                await asyncio.wait([task])
                await sink.close()
                sink = await ledger.open()
            assert ledger.numbers() == [1]
            way.hold = True  # what is sent lies in the way
            task = asyncio.ensure_future(sink.write([batch(2, 2)]))
            await asyncio.sleep(0.2)
            started = time.monotonic()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert time.monotonic() - started < 1
            way.hold = False
            await sink.close()
            sink = await ledger.open()
            await ledger.commit(sink, batch(2, 2))
            await sink.close()
            assert ledger.numbers() == [1, 2]

    asyncio.run(main())


# specs


def test_the_built_in_schemes_are_made_from_their_specs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account")
    for spec, identity in (
        ("s3://b/p/q/?compress=gzip", "s3://b/p/q"),
        ("s3://b?endpoint=http://127.0.0.1:9", "s3://b?endpoint=http://127.0.0.1:9"),
        ("gs://b/p", "gs://b/p"),
        ("az://c/p", "az://c/p"),
        ("abfs://c@a.dfs.core.windows.net/p", "abfs://c@a.dfs.core.windows.net/p"),
    ):
        sink = plugins.sink(spec)
        assert sink.identity == identity
        assert plugins.sink(identity).identity == identity


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("s3:", "write it as s3://BUCKET/PREFIX"),
        ("s3:bucket/prefix", "write it as s3://BUCKET/PREFIX"),
        ("s3:///prefix", "write it as s3://BUCKET/PREFIX"),
        ("s3://b/p?compress=zip", "compress is gzip"),
        ("s3://b/p?sharding=4", "s3 has no option 'sharding'"),
        ("gs://b/p?endpoint=http://x", "gs has no option 'endpoint'"),
        ("s3://key:sesame@b/p", "a URL of s3 holds no credentials; they come from the environment"),
        ("s3://b/p?endpoint=http://u:sesame@h", "holds no credentials"),
    ],
)
def test_a_spec_that_is_none_is_told_in_one_sentence(spec: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        plugins.sink(spec)
    assert said in str(caught.value)
    assert "sesame" not in str(caught.value)


def test_a_missing_library_is_named_with_the_line_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(UsageError, match=r"pip install 'wechat-harvester\[s3\]'"):
        plugins.sink("s3://b/p")


def test_the_library_is_not_imported_before_it_is_used() -> None:
    program = (
        "import sys, harvester; from harvester import plugins\nplugins.sink('memory:')\n"
        "assert 'obstore' not in sys.modules\nplugins.sink('s3://b/p')\n"
        "assert 'obstore' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize(
    "said", ["", "{}", "x", '{"version": 9, "objects": []}', '{"version": 1, "objects": [1]}']
)
def test_a_manifest_that_is_none_is_told(said: str) -> None:
    with pytest.raises(SinkError, match=r"is damaged|use a newer harvester"):
        manifest.read_manifest("m", said.encode())


def test_manifests_are_told_from_other_files() -> None:
    assert manifest_numbers(["_harvester/manifest/000000000012.json", "x", "_harvester/w"]) == [12]


# the command


def test_the_command_harvests_refreshes_and_verifies(
    bucket: str, tmp_path: Path, wechat: Callable[..., Wechat]
) -> None:
    server = wechat()
    arguments = (
        "run", "getarticlesummary", "--appid", A, "--start", "2024-01-01", "--end", "2024-03-31",
        "--base-url", server.url, "--rate", "5000/s", "--out", tmp_path,
        "--sink", f"s3://{bucket}/p?compress=gzip",
    )  # fmt: skip
    for more in ([], [], ["--refresh"]):
        result = harvest(*arguments, *more)
        assert result.returncode == 0, result.stderr
        verified = harvest("verify", "--out", tmp_path)
        assert verified.returncode == 0, verified.stdout
        assert "exactly what was fetched" in verified.stdout
    store = S3Store(bucket, client_options={"allow_http": True})
    data = [one["path"] for one in obstore.list(store).collect() if ".jsonl" in one["path"]]
    obstore.delete(store, data[:1])
    again = harvest(*arguments)
    assert again.returncode == 4
    assert "though the ledger says that it was harvested" in again.stderr
    assert harvest("verify", "--out", tmp_path).returncode == 1


def test_the_command_ends_with_two_for_a_bucket_that_is_not_there(
    bucket: str, tmp_path: Path, wechat: Callable[..., Wechat]
) -> None:
    server = wechat()
    result = harvest(
        "run", "getarticlesummary", "--appid", A, "--start", "2024-01-01", "--end", "2024-01-31",
        "--base-url", server.url, "--out", tmp_path, "--sink", f"s3://not-{bucket}/p",
    )  # fmt: skip
    assert (result.returncode, server.simulator.counts.total()) == (2, 0)
    assert "there is no such bucket" in result.stderr
    assert CREDENTIALS["AWS_SECRET_ACCESS_KEY"] not in result.stderr
