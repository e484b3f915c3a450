"""Options from a file and from the environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from harvester.base.secrets import Secret
from harvester.config.files import (
    located,
    over,
    read_config,
    read_environment,
    read_toml,
    unknown_variables,
)
from harvester.errors import UsageError


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a = “x”", "write straight quotes"),
        ('a = "C:\\data"', "write a text with backslashes in single quotes"),
        ("a = 10/s", "write a text in quotes"),
        ("a = [", "is not TOML"),
        ("a = " + "[" * 5000 + "]" * 5000, "nested too deeply"),
    ],
)
def test_a_file_that_is_no_toml_is_refused_with_a_hint(
    text: str, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "x.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=f"^{path} .*{said}"):
        read_toml(path)


def test_a_file_may_begin_with_a_mark_and_is_utf_8(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_bytes("\ufeffa = '早'".encode())
    assert read_toml(path) == {"a": "早"}
    path.write_bytes("a = '早'".encode("gbk"))
    with pytest.raises(UsageError, match="is not UTF-8 text"):
        read_toml(path)
    with pytest.raises(UsageError, match="cannot be read"):
        read_toml(tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("daily_quota = 1\ndaily-quota = 2", "daily-quota is given twice"),
        ("interface = 1", r"write \[\[interface\]\]"),
        ("daly-quota = 1", r"unknown key 'daly-quota' \(did you mean daily-quota\?\)"),
        ("rate = { per = 1 }", "'rate' is a table; give a value"),
        ("rate = 10", "invalid rate"),
        ("patience = 5", "invalid patience 5: expected a duration with its unit"),
        ("lease = '60'", "invalid lease '60': expected a duration with its unit"),
    ],
)
def test_a_wrong_key_or_value_is_refused(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=f"^{path}: .*{said}"):
        read_config(path)


@pytest.mark.parametrize(
    ("written", "located_there"),
    [
        ("out = 'x'", "there/x"),
        ("out = '/x'", "/x"),
        ("metrics = 'x.prom'", "there/x.prom"),
        ("ledger = 'l.db'", "there/l.db"),
        ("ledger = 'sqlite:l.db'", "sqlite:there/l.db"),
        ("ledger = '~/l.db'", "~/l.db"),
        ("ledger = 'postgresql://h/d'", "postgresql://h/d"),
        ("token-store = 'memory'", "memory"),
        ("token-store = 'file:t/'", "file:there/t/"),
        ("token-store = 'redis://h:1/0'", "redis://h:1/0"),
        ("sink = 'jsonl:x?compress=gzip'", "jsonl:there/x?compress=gzip"),
        ("sink = 'jsonl:a:b'", "jsonl:there/a:b"),
        ("sink = 'jsonl:~/x'", "jsonl:~/x"),
        ("sink = 'memory:'", "memory:"),
        ("sink = '-'", "-"),
        ("export = 'xlsx:x.xlsx?lang=zh'", "xlsx:there/x.xlsx?lang=zh"),
        ("export = 'parquet:s3://b/x'", "parquet:s3://b/x"),
        (
            "export = 'parquet:s3://b/x?access_key=file:k/id&region=a&secret_key=file:../key'",
            "parquet:s3://b/x?access_key=file:there/k/id&region=a&secret_key=file:there/../key",
        ),
        (
            "export = 'parquet:s3://b/x?access_key=env:ID&secret_key=file:~/key'",
            "parquet:s3://b/x?access_key=env:ID&secret_key=file:~/key",
        ),
        (
            "export = 'parquet:s3://b/x?access_key=file:/id&secret_key=file:key'",
            "parquet:s3://b/x?access_key=file:/id&secret_key=file:there/key",
        ),
        ("base-url = 'http://x'", "http://x"),
    ],
)
def test_a_relative_path_in_a_file_starts_from_its_folder(
    written: str, located_there: str, tmp_path: Path
) -> None:
    path = tmp_path / "x.toml"
    path.write_text(written)
    [found] = located(read_config(path), Path("there")).values()
    if isinstance(found, list):
        [found] = found
    assert (found.value if isinstance(found, Secret) else str(found)) == located_there


def test_a_variable_sets_an_option_and_a_mistyped_one_is_named() -> None:
    environ = {"HARVESTER_RATE": "5/s", "HARVESTER_SINK": "memory: -", "HARVESTER_PATIENCE": ""}
    assert read_environment(environ, ["patience", "rate", "sink"]).keys() == {"rate", "sink"}
    assert len(read_environment(environ, ["sink"])["sink"]) == 2
    assert unknown_variables(environ) == []
    [said] = unknown_variables({**environ, "HARVESTER_RATES": "5/s"})
    assert said == (
        "the environment variable HARVESTER_RATES sets no option (did you mean HARVESTER_RATE?)"
    )


def test_the_environment_goes_before_the_file() -> None:
    file = {"appid": "wx1", "accounts": "a.toml", "rate": 1}
    assert over(file, {"rate": 2}) == {**file, "rate": 2}
    assert over(file, {"appid": "wx2"}) == {"rate": 1, "appid": "wx2"}


def test_what_the_file_selects_of_its_accounts_goes_with_them() -> None:
    file = {"accounts": "a.toml", "only": ["north"]}
    assert over(file, {"appid": "wx2"}) == {"appid": "wx2"}
    assert over(file, {"accounts": "b.toml"}) == {"accounts": "b.toml", "only": ["north"]}
    both = {"appid": "wx2", "only": ["south"]}
    assert over(file, both) == both
