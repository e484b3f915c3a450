"""`harvester report`: a page from the ledger of a run, also while it is written."""

from __future__ import annotations

import base64
import json
import os
import re
import stat
import threading
import zlib
from datetime import date, timedelta
from operator import itemgetter
from pathlib import Path
from typing import Any

import pytest

from tests.builders import harvested
from tests.postgres_server import PASSWORD
from tests.scenarios.command import asked, begun, succeeded, until
from tests.scenarios.server import Call, Server, rows
from tests.support import A, B, harvest, stored


def run(server: Server, out: Path, *more: str) -> list[str]:
    return asked(server.url, "getusersummary", "2024-01-01", "2024-01-31", "--out", out, *more)


@pytest.fixture
def ran(tmp_path: Path) -> Path:
    """The directory of a run of January."""
    with Server() as server:
        assert harvest(*run(server, tmp_path)).returncode == 0
    return tmp_path


def written(out: Path, *more: str | Path, **env: str) -> tuple[str, str]:
    """What the command says, and the page."""
    done = harvest("report", "--out", out, "--html", out / "page.html", *more, **env)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout, (out / "page.html").read_text(encoding="utf-8")


def unpacked(page: str, name: str) -> Any:
    """The data that a page holds for its script."""
    packed = re.search(rf'id="{name}">([^<]*)<', page)
    assert packed is not None
    return json.loads(zlib.decompress(base64.b64decode(packed[1])))


@pytest.mark.thorough
@pytest.mark.usefixtures("ran")
def test_a_run_becomes_a_page(tmp_path: Path) -> None:
    said, page = written(tmp_path, "--lang", "en")
    headline, place = said.splitlines()
    assert headline == "Jan 31, 2024, is complete"
    assert place == f"{tmp_path}/page.html"
    assert f'<span lang="en">{headline}</span>' in page
    assert '<span lang="zh">2024年1月31日的数据已到齐</span>' in page
    assert '<html lang="en">' in page
    assert '<html lang="zh-CN">' in written(tmp_path, LC_ALL="zh_CN.UTF-8")[1]
    assert '<html lang="en">' in written(tmp_path, LC_ALL="C.UTF-8")[1]
    assert not [*tmp_path.glob(".page*")]
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE((tmp_path / "page.html").stat().st_mode) == 0o666 & ~mask


@pytest.mark.thorough
@pytest.mark.usefixtures("ran")
def test_accounts_have_the_names_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "accounts.toml"
    file.write_text(f'[[account]]\nappid = "{A}"\nname = "南城 & Söhne"\nenabled = false\n')
    assert "南城" not in str(unpacked(written(tmp_path)[1], "data"))
    assert "南城 & Söhne" in str(unpacked(written(tmp_path, "--accounts", file)[1], "data"))


@pytest.mark.thorough
@pytest.mark.usefixtures("ran")
def test_curves_are_drawn_from_what_is_stored(tmp_path: Path) -> None:
    _, plain = written(tmp_path, "--lang", "en", "--no-curves")
    _, page = written(tmp_path, "--lang", "en")
    assert 'id="curves"' not in plain
    content = unpacked(page, "curves")
    assert content["last"] == "2024-01-31"
    gained = content["curves"][0][content["names"].index("gained")]
    assert gained[-32:] == [None, *[1] * 31]
    assert [sum(each["new_user"] for each in stored(tmp_path, "getusersummary"))] == [31]


@pytest.mark.thorough
def test_articles_and_months_are_those_that_are_stored(tmp_path: Path) -> None:
    """Of each article the latest total, of each month the sums of its days and its last figure."""
    names = ("getusersummary", "getusercumulate", "getarticletotaldetail")
    for appid in (A, B):
        days = ("2025-12-20", "2026-01-25")
        harvested(f"jsonl:{tmp_path}", appid, endpoints=names, days=days).raise_for_state()
    _, page = written(tmp_path, "--lang", "en")
    for year, month in (("2025", "Dec"), ("2026", "Jan")):
        panel = page.split(f'<label for="y{year}">')[1].split("<input")[0].split("</section>")[0]
        cells = [int(text.replace(",", "")) for text in re.findall(r'"num">([\d,]+)<', panel)]
        gained, lost, last = cells[:3]
        days = [one for one in stored(tmp_path, "getusersummary") if one["ref_date"][:4] == year]
        assert gained == sum(one["new_user"] for one in days)
        assert lost == sum(one["cancel_user"] for one in days)
        totals = [one for one in stored(tmp_path, "getusercumulate") if one["ref_date"][:4] == year]
        end = max(one["ref_date"] for one in totals)
        assert last == sum(one["cumulate_user"] for one in totals if one["ref_date"] == end)
        assert f'<span lang="en">{month}</span>' in panel
        lists = [
            one["detail_list"]
            for one in stored(tmp_path, "getarticletotaldetail")
            if one["ref_date"][:4] == year
        ]
        readers = [max(found, key=itemgetter("stat_date"))["read_user"] for found in lists]
        most = sorted(readers, reverse=True)[:20]
        assert cells[-2 * len(most) + 1 :: 2] == most


@pytest.mark.thorough
def test_how_many_articles_have_a_title_is_said_with_what_names_the_others(tmp_path: Path) -> None:
    def articles_of(name: str) -> set[str]:
        days = ("2025-11-01", "2025-11-05")
        harvested(f"jsonl:{tmp_path}", A, endpoints=(name,), days=days).raise_for_state()
        return {one["msgid"] for one in stored(tmp_path, name)}

    read, titled = articles_of("getarticleread"), set[str]()
    for _ in range(2):  # before and after the harvest that it names
        every = read | titled
        sentence = f"{len(titled)} of {len(every)} articles with reader figures have a title. "
        said, page = written(tmp_path, "--lang", "en")
        assert said.splitlines()[1].startswith(f"{sentence}A harvest of getarticletotaldetail")
        assert sentence in page
        titled = articles_of("getarticletotaldetail")
    assert 0 < len(titled) < len(read)


@pytest.mark.thorough
def test_a_range_that_ended_weeks_ago_is_judged_by_its_end(tmp_path: Path) -> None:
    """It said that there was no run for 17 days, minutes after a run."""
    end = date.today() - timedelta(days=17)
    with Server() as server:
        given = asked(server.url, "getusersummary", end - timedelta(days=9), end, "--out", tmp_path)
        succeeded(*given)
    said, page = written(tmp_path, "--lang", "en")
    assert re.match(rf"{end:%b} {end.day}(, {end.year},)? is complete$", said.splitlines()[0])
    assert "was asked for" not in re.sub(r"no later day was requested", "", page)


@pytest.mark.thorough
def test_the_date_of_completion_follows_the_quota_as_in_a_plan(tmp_path: Path) -> None:
    with Server() as server:
        given = asked(server.url, "getupstreammsghour", "2024-01-01", "2024-12-31")
        done = harvest(*given, "--daily-quota", "50", "--out", tmp_path)
        assert done.returncode == 3
    (tmp_path / "harvester.toml").write_text("daily-quota = 50\n")
    done = harvest("report", "--out", ".", "--lang", "en", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    plan = ("plan", "getupstreammsghour", "--start", "2024-01-01", "--end", "2024-12-31")
    planned = succeeded(*plan, "--daily-quota", "50", "--out", tmp_path).stdout
    day = date.fromisoformat(re.findall(r"harvested on (\S+)", planned)[0])
    assert f"{day:%b} {day.day}<" in page


@pytest.mark.thorough
def test_the_page_of_a_run_that_is_under_way(tmp_path: Path) -> None:
    go = threading.Event()

    def slow(call: Call) -> object:
        assert len(server.data) < 3 or go.wait(60)
        return rows(call)

    with Server(slow) as server:
        arguments = run(server, tmp_path, "--concurrency", "1", "--order", "oldest")
        with begun(*arguments) as worker:
            try:
                until(lambda: len(server.data) >= 3)
                said, _ = written(tmp_path, "--lang", "en")
            finally:
                go.set()
                _, err = worker.communicate(timeout=60)
    incomplete = ("Jan 31, 2024, is incomplete", "No day was harvested yet")
    assert said.splitlines()[0] in incomplete
    assert worker.returncode == 0, err
    assert written(tmp_path, "--lang", "en")[0].startswith("Jan 31, 2024, is complete\n")


def test_the_page_of_a_shared_ledger(database: str, tmp_path: Path) -> None:
    shared = ("--ledger", database)
    with Server() as server:
        done = harvest(*run(server, tmp_path, *shared, "--sink", database), PGPASSWORD=PASSWORD)
    assert done.returncode == 0, done.stderr
    more = ("--lang", "en")
    said, page = written(tmp_path, *shared, *more, PGPASSWORD=PASSWORD)
    assert said.startswith("Jan 31, 2024, is complete\n")
    assert PASSWORD not in page
    assert 'id="curves"' in page


@pytest.mark.thorough
@pytest.mark.usefixtures("ran")
def test_a_file_that_is_no_page_is_not_replaced(tmp_path: Path) -> None:
    ledger, page = tmp_path / "ledger.sqlite", tmp_path / "page.html"
    before = ledger.read_bytes()
    for given, said in (
        (("--html", ledger), f"{ledger} exists and is not a report page; choose another file"),
        (("--html", "."), ". is a directory; name a file: report.html"),
        (("--html", ".."), ".. is a directory; name a file: report.html"),
        (("--html", "-"), "the page must be a file; give its name"),
    ):
        done = harvest("report", "--out", tmp_path, *given, cwd=tmp_path)
        assert (done.returncode, done.stdout) == (2, "")
        assert said in done.stderr
    assert ledger.read_bytes() == before
    for _ in range(2):
        assert harvest("report", "--out", tmp_path, "--html", page).returncode == 0


@pytest.mark.thorough
@pytest.mark.usefixtures("ran")
def test_the_page_says_why_it_has_no_curves(tmp_path: Path) -> None:
    (segment,) = tmp_path.glob("*/2024.jsonl")
    content = bytearray(segment.read_bytes())
    content[content.index(b"_appid")] ^= 1
    segment.write_bytes(content)
    done = harvest("report", "--out", tmp_path, "--html", tmp_path / "page.html")
    assert done.returncode == 0
    assert f"the page has no curves: {segment}: a line that ends with" in done.stderr
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "No figures are shown:" in page
    assert "is not a record of harvester; restore the file from a backup" in page


@pytest.mark.thorough
def test_what_cannot_be_done_is_said_in_one_sentence(tmp_path: Path) -> None:
    def refused(*given: str | Path) -> str:
        done = harvest("report", "--out", tmp_path, *given)
        assert (done.returncode, done.stdout) == (2, "")
        return done.stderr

    said = (
        f"harvester: there is no ledger at {tmp_path}/ledger.sqlite; harvest first (harvester run)"
    )
    assert refused().startswith(said)
    with Server() as server:
        harvest(*run(server, tmp_path, "--sink", "-"))
    page = tmp_path / "page.html"
    done = harvest("report", "--out", tmp_path, "--html", page)
    assert done.returncode == 0
    assert done.stderr == "harvester: the page has no curves: no sink can be read back\n"
    written_page = page.read_text(encoding="utf-8")
    assert 'id="curves"' not in written_page
    assert "No figures are shown:" in written_page
    assert "<bdi>no sink can be read back</bdi>" in written_page
    assert re.search("does not list jsonl:.*other", refused("--sink", f"jsonl:{tmp_path}/other"))
    page = tmp_path / "nowhere" / "page.html"
    said = f"harvester: {page} cannot be written (No such file or directory)\n"
    assert refused("--html", page, "--no-curves") == said
    assert "'--lang': 'fr' is not one of 'zh', 'en'" in refused("--lang", "fr")


@pytest.mark.thorough
@pytest.mark.usefixtures("ran")
def test_without_its_library_the_page_names_the_extra(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['jinja2'] = None\n")
    page = tmp_path / "page.html"
    done = harvest("report", "--out", tmp_path, "--html", page, PYTHONPATH=str(tmp_path))
    package = "'wechat-harvester[report]'"
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"harvester: the report page needs a library: pip install {package}, or pipx inject"
        f" wechat-harvester {package}\n"
    )
    assert not page.exists()
