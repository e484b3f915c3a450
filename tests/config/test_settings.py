"""The table of options, the checks of their values, and what the engine gets."""

from __future__ import annotations

import pickle
import re
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import click
import pytest

import harvester
from harvester.cli.commands import cli
from harvester.config.settings import (
    KEYWORDS,
    OPTIONS,
    REQUIRED,
    InvalidOptionError,
    check,
    engine_options,
    read,
)
from harvester.engine.limiter import Rate
from tests.support import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")

# the table


def test_the_documentation_of_the_keywords_holds_the_help_and_default_of_each() -> None:
    assert list(harvester.Keywords.__annotations__) == list(KEYWORDS)
    lines = (harvester.Keywords.__doc__ or "").splitlines()
    for name, option in KEYWORDS.items():
        (line,) = [line for line in lines if line.startswith(f"{name}: ")]
        assert option.help in line
        assert (f"Default: {option.default!r}." in line) == (option.default is not None)


def test_no_option_has_the_variable_of_a_secret() -> None:
    assert not {"secret", "redis_password"} & OPTIONS.keys()


RATES = "a number above 0 with its unit, e.g. 10/s, 300/min or 2/h"


@pytest.mark.parametrize("name", [name for name in OPTIONS if OPTIONS[name].default != ()])
def test_a_default_is_a_value_that_the_option_takes(name: str) -> None:
    default = OPTIONS[name].default
    if default is REQUIRED:
        assert name in ("endpoint", "start", "end")
    elif default is None:
        assert name in KEYWORDS or name in ("appid", "accounts", "allow_failed", "metrics")
    else:
        check(name, default)


SINK = cli.commands["sink"]
assert isinstance(SINK, click.Group)
COMMANDS = {**cli.commands, **{f"sink {name}": each for name, each in SINK.commands.items()}}


@pytest.mark.parametrize("command", sorted(COMMANDS.keys() - {"simulate", "demo", "init", "sink"}))
def test_the_help_of_a_command_names_its_options_of_the_table(command: str) -> None:
    parameters = {parameter.name: parameter for parameter in COMMANDS[command].params}
    own = {
        "rebuild": {"sink"},
        "report": {"html", "no_curves", "sink", "lang", "week", "as_json"},
        "verify": {"sink", "as_json"},
        "endpoints": {"name", "as_json"},
        "plan": {"as_json"},
        "check": {"as_json", "everything"},
        "status": {
            "appids",
            "names",
            "states",
            "check",
            "as_json",
            "as_csv",
            "missing",
            "everything",
        },
        "export": {
            "targets",
            "endpoints",
            "source",
            "replace",
            "check",
            "first",
            "last",
            "appids",
        },
        "serve": {"log_format"},
        "forget": {"whom", "names", "yes", "sink"},
        "mcp": {"source"},
        "sink add": {"spec", "sink"},
        "sink remove": {"spec"},
    }.get(command, set())
    from_table = {name for name, option in OPTIONS.items() if command.split()[0] in option.commands}
    assert parameters.keys() == from_table | own | {"config"}
    for name in from_table - {"endpoint"}:
        assert parameters[name].opts == ["--" + name.replace("_", "-")]
        assert getattr(parameters[name], "help", None) == OPTIONS[name].help


def test_the_readme_names_the_options_of_the_library() -> None:
    found = re.search(r"take, by keyword, `([a-z_\s]+)`", README)
    assert found is not None
    assert sorted(found[1].split()) == sorted(KEYWORDS)


def test_the_readme_names_no_option_of_the_command_that_is_not_there() -> None:
    text = "\n".join(line for line in README.splitlines() if "python -m" not in line)
    named = {name.replace("-", "_") for name in re.findall(r"(?<![\w-])--([a-z][a-z-]+)", text)}
    of_commands = {name for name, option in OPTIONS.items() if option.commands}
    assert "daily_quota" in named
    assert named <= of_commands | {"config", "help", "lang", "missing", "seed"}


# values


@pytest.mark.parametrize(
    ("given", "seconds"),
    [(600, 600.0), (0.5, 0.5), ("90s", 90.0), (" 10 M ", 600.0), ("10min", 600.0),
     ("1.5h", 5400.0), ("1d", 86_400.0)],
)  # fmt: skip
def test_a_duration_is_read_from_what_people_write(given: object, seconds: float) -> None:
    assert check("patience", given) == seconds


@pytest.mark.parametrize(
    "given", ["", "soon", "5", " 0.5 ", "10 weeks", "-1s", "0s", "1e3", "9" * 400, 0, -1, True,
              None, [1], float("inf"), float("nan"), b"1s"],
)  # fmt: skip
def test_anything_else_is_not_a_duration(given: object) -> None:
    with pytest.raises(
        InvalidOptionError, match=r"^patience=.*: expected a duration with its unit"
    ):
        check("patience", given)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [("rate", "600/min", Rate(600, 60.0)), ("patience", "2h", 7200.0), ("burst", "3", 3),
     ("wait", "1", True), ("wait", "TRUE", True), ("wait", "yes", True),
     ("wait", "0", False), ("wait", "false", False), ("wait", "No", False),
     ("out", "a/b", Path("a/b")), ("appid", "wx1", "wx1"), ("order", "oldest", "oldest")],
)  # fmt: skip
def test_a_text_is_read_as_its_option_says(name: str, text: str, value: object) -> None:
    found = read(name, text)
    assert (type(found), found) == (type(value), value)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("rate", "fast", f"rate='fast': expected {RATES}"),
        ("burst", "1.5", "burst='1.5': expected a whole number of at least 1"),
        ("wait", "maybe", "wait='maybe': expected true or false"),
        ("order", "random", "order='random': expected newest or oldest"),
        ("out", "a\0b", "out='a\\x00b': expected a path"),
    ],
)
def test_a_text_that_cannot_be_read_is_refused_by_name(name: str, text: str, said: str) -> None:
    with pytest.raises(InvalidOptionError, match=f"^{re.escape(said)}$"):
        read(name, text)


def test_a_message_can_begin_with_the_place_where_the_value_was_given() -> None:
    with pytest.raises(InvalidOptionError) as caught:
        check("accounts", date(2024, 1, 1))
    assert str(caught.value.named("accounts", "a.toml")) == (
        "a.toml: invalid accounts 2024-01-01: expected a path"
    )


def test_an_error_survives_a_process_boundary() -> None:
    error = InvalidOptionError("rate", "'fast'", "a number")
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again)) == (InvalidOptionError, str(error))


@pytest.mark.parametrize("name", ["base_url", "sink", "ledger", "token_store"])
def test_a_text_that_may_hold_a_password_is_not_shown(name: str) -> None:
    assert OPTIONS[name].secret
    with pytest.raises(InvalidOptionError, match=f"^{name}=<bytes>: expected "):
        check(name, b"redis://:hunter2@h")


def test_a_base_url_is_not_shown() -> None:
    with pytest.raises(InvalidOptionError, match=r"^base_url='…': expected an http or https URL"):
        check("base_url", "http://user:hunter2@h")


# what the engine gets


def test_without_options_a_run_is_careful() -> None:
    assert engine_options() == engine_options(
        rate=Rate(300, 60.0), burst=1, concurrency=64, account_concurrency=None, attempts=8,
        patience=600.0, daily_quota=None, ask_quota=False, order="newest", refresh=False,
        wait=False,
    )  # fmt: skip


def test_the_engine_gets_values_that_are_parsed() -> None:
    options = engine_options(rate="10/s", patience="2m")
    assert (options.rate, options.patience) == (Rate(10, 1.0), 120.0)
    assert replace(options, concurrency=3).rate == Rate(10, 1.0)


@pytest.mark.parametrize(
    "options",
    [
        {"rate": "0.5/s"}, {"rate": Rate(600, 60.0)}, {"burst": 10}, {"concurrency": 1},
        {"attempts": 1}, {"daily_quota": 1}, {"ask_quota": True},
        {"daily_quota": None, "account_concurrency": None, "session": None, "stop": None},
        {"account_concurrency": 1}, {"order": "oldest"},
        {"ledger": Path("x"), "ca_file": Path("y"), "token_store": "memory", "on_event": print},
    ],
)  # fmt: skip
def test_options_that_can_be_are_taken(options: dict[str, Any]) -> None:
    engine_options(**options)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"rate": "0/s"}, f"rate='0/s': expected {RATES}"),
        ({"rate": 300}, f"rate=300: expected {RATES}"),
        ({"burst": 0}, "burst=0: expected a whole number of at least 1"),
        ({"concurrency": 2.0}, "concurrency=2.0: expected a whole number of at least 1"),
        ({"attempts": -1}, "attempts=-1: expected"),
        ({"attempts": None}, "attempts=None: expected"),
        ({"daily_quota": 0}, "daily_quota=0: expected"),
        ({"daily_quota": "1000"}, "daily_quota='1000': expected"),
        ({"account_concurrency": 0}, "account_concurrency=0: expected"),
        ({"order": "random"}, "order='random': expected newest or oldest"),
        ({"wait": 1}, "wait=1: expected true or false"),
        ({"on_event": "x"}, "on_event='x': expected a function that takes an event"),
        ({"stop": object()}, "stop=<object>: expected an anyio.Event or an asyncio.Event"),
    ],
)
def test_options_that_cannot_be_are_refused_by_name(options: dict[str, Any], said: str) -> None:
    with pytest.raises(harvester.UsageError, match=f"^{re.escape(said)}"):
        engine_options(**options)
