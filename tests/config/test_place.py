"""Where a harvest is; and that each option is converted once on its way there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from harvester.cli.commands import invoke
from harvester.config import settings
from harvester.config.accounts import ListedAccount
from harvester.config.place import Place, ledger_beside, ledger_for
from harvester.config.plugins import endpoint_groups, sink
from harvester.engine.limiter import Rate
from harvester.errors import NoLedgerError, UsageError
from harvester.job import Job
from harvester.ledger import PostgresLedger
from harvester.wechat.endpoint import JsonEndpoint
from harvester.wechat.interfaces import INTERFACES
from tests.support import A, B, Wechat

LISTED = (ListedAccount(A, "one", "", enabled=True), ListedAccount(B, "", "", enabled=False))


# the ledger


def test_the_ledger_is_that_of_the_directory_or_the_file_or_the_spec(tmp_path: Path) -> None:
    file = tmp_path / "users.db"
    file.touch()
    for out, path in (
        (tmp_path / "new", tmp_path / "new/ledger.sqlite"),
        (file, tmp_path / "users.db.ledger.sqlite"),
        (Path(f"sqlite:{file}"), tmp_path / "users.db.ledger.sqlite"),
        (Path(f"jsonl:{tmp_path}?compress=gzip"), tmp_path / "ledger.sqlite"),
    ):
        assert Place(out).ledger().path == path


def test_a_directory_that_looks_like_a_spec_is_a_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("jsonl:here").mkdir()
    place = Place(Path("jsonl:here"))
    assert place.ledger().path == Path("jsonl:here/ledger.sqlite")
    assert place.lines == "jsonl:jsonl:here"


def test_the_ledger_that_is_named_comes_first(tmp_path: Path) -> None:
    assert Place(tmp_path, f"sqlite:{tmp_path}/l").ledger().path == tmp_path / "l"
    assert isinstance(Place(tmp_path, "postgresql://host/db").ledger(), PostgresLedger)
    with pytest.raises(UsageError):
        Place(tmp_path, tmp_path / "nowhere" / "l").ledger(readonly=False)


async def test_a_run_makes_the_directory_and_a_reader_does_not(tmp_path: Path) -> None:
    place = Place(tmp_path / "new")
    with pytest.raises(NoLedgerError):
        async with place.ledger():
            pass
    async with place.ledger(readonly=False):
        pass
    assert (tmp_path / "new/ledger.sqlite").exists()


def test_the_ledger_of_a_sink_is_in_its_directory_or_beside_its_file(tmp_path: Path) -> None:
    lines, file = sink(f"jsonl:{tmp_path}"), sink(f"sqlite:{tmp_path}/users.db")
    own = tmp_path / "users.db.ledger.sqlite"
    assert ledger_for(lines) == ledger_beside(lines) == tmp_path / "ledger.sqlite"
    assert ledger_for(file) == own
    assert ledger_beside(file) == tmp_path / "ledger.sqlite"  # as the command keeps it
    own.touch()
    assert ledger_beside(file) == own
    assert ledger_for(sink("-")) is None is ledger_beside(sink("-"))


@pytest.mark.parametrize("ledger", [{}, {"ledger": "sqlite:l"}])
def test_a_job_and_a_command_look_for_the_ledger_in_one_place(ledger: dict[str, Any]) -> None:
    days = {"start": "2024-01-01", "end": "2024-01-02"}
    job = Job(endpoints="users", appid=A, out="harvest", **days, **ledger)
    place = Place(Path("harvest"), *ledger.values())
    assert job.open_ledger(readonly=True).path == place.ledger().path


# interfaces and accounts


def test_interfaces_are_those_of_the_configuration_and_the_installed_ones(tmp_path: Path) -> None:
    own = JsonEndpoint("mine", "/m", date(2024, 1, 1), group="users")
    shop = JsonEndpoint("sales", "/s", date(2024, 1, 1), group="shop")
    place = Place(tmp_path, own=[own, shop])
    assert place.interfaces(["shop"]) == [shop]  # a group of the configuration alone
    assert place.find("mine") is own
    assert place.find("getusersummary") is INTERFACES["getusersummary"]
    assert place.find("nobody") is None
    users = [*endpoint_groups()["users"], "mine"]
    assert sorted(each.name for each in place.interfaces(["users", "mine"])) == users
    assert place.names_of(["users", "gone"]) == {*users, "gone"}  # the ledger may know it
    with pytest.raises(UsageError, match="there is no interface or group 'gone'"):
        place.interfaces(["gone"])


def test_accounts_are_those_of_the_file(tmp_path: Path) -> None:
    place = Place(tmp_path, listed=LISTED)
    assert (place.names, place.disabled) == ({A: "one"}, [B])
    assert place.enabled == {A: True, B: False}
    assert Place(tmp_path).enabled is None


# each option on its way


OPENERS = (
    "harvester.config.plugins.sink",
    "harvester.exports.targets.open_target",
    "harvester.api.open_store",
    "harvester.transport.http.tls_context",
    "harvester.engine.limiter._read_rate",
)
"""What makes something of an option, each once a run."""


@pytest.fixture(name="conversions")
def _conversions(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often an option was converted, by its name, and how often something was made of one."""
    counts: Counter[str] = Counter()
    convert = settings._checked

    def counted(name: str, given: object, call: Callable[..., object]) -> object:
        counts[name] += 1
        return convert(name, given, call)

    def noted(place: str) -> Callable[..., object]:
        module, _, name = place.rpartition(".")
        made = getattr(__import__(module, fromlist=[name]), name)

        def call(*given: Any) -> object:
            counts[place] += 1
            return made(*given) if name != "tls_context" else None  # loopback needs none

        return call

    monkeypatch.setattr(settings, "_checked", counted)
    for place in OPENERS:
        monkeypatch.setattr(place, noted(place))
    monkeypatch.setattr(Rate, "parse", lambda _: pytest.fail("a rate is parsed again"))
    return counts


def given_values(home: Path, url: str) -> dict[str, str]:
    """Each option of `run` that takes a value, but those that exclude another."""
    accounts = home / "accounts.toml"
    secret = home / "secret"
    secret.write_text("practice")
    secret.chmod(0o600)
    accounts.write_text(f'[[account]]\nappid = "{A}"\nsecret = "file:{secret}"\n')
    return {
        "start": "2024-01-01", "end": "2024-01-02", "only": A, "accounts": str(accounts),
        "out": str(home / "out"), "sink": f"jsonl:{home}/lines", "log_format": "json",
        "allow_failed": "5%", "metrics": str(home / "run.prom"), "rate": "100/s", "burst": "2",
        "concurrency": "8", "account_concurrency": "2", "attempts": "3", "patience": "5m",
        "daily_quota": "900", "order": "oldest", "base_url": url, "ca_file": f"{home}/ca.pem",
        "token_store": f"file:{home}/token", "ledger": f"sqlite:{home}/ledger.sqlite",
        "export": f"csv:{home}/tables", "lease": "50s",
    }  # fmt: skip


FLAGS = {"ask_quota", "refresh", "wait", "uvloop", "json", "quiet", "waiting_ok", "metrics_appid"}


@pytest.mark.thorough
@pytest.mark.parametrize("where", ["argv", "environment", "file"])
def test_an_option_is_converted_once_from_argv_to_where_it_acts(
    where: str,
    wechat: Callable[..., Wechat],
    conversions: Counter[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given = given_values(tmp_path, wechat().url)
    run = {name for name, each in settings.OPTIONS.items() if "run" in each.commands}
    assert given.keys() | FLAGS | {"endpoint", "appid"} == run
    words = ["run", "getarticlesummary"]
    if where == "argv":
        for name, value in given.items():
            words += [f"--{name.replace('_', '-')}", value]
    elif where == "environment":
        for name, value in given.items():
            monkeypatch.setenv(f"HARVESTER_{name.upper()}", value)
    else:
        numbers = [name for name, value in given.items() if value.isdigit()]
        lines = [
            f"{name} = {value if name in numbers else repr(value)}" for name, value in given.items()
        ]
        (tmp_path / "harvester.toml").write_text("\n".join(lines))
        words += ["--config", str(tmp_path / "harvester.toml")]
    assert invoke(words) == 0
    expected = dict.fromkeys([*given, *OPENERS], 1)
    if where == "file":  # also to learn whether its path starts from the file's directory
        expected["harvester.config.plugins.sink"] = 2
    assert conversions == expected


def test_a_rate_is_a_value_once_it_is_converted() -> None:
    assert settings.engine_options(rate="90/min").rate == Rate(90, 60.0)
