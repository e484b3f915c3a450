"""Without an extra a command says in one sentence which line to type."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from harvester.errors import page
from tests.support import ROOT, A, environment, harvest

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
RUN = ("run", "users", "--appid", A, "--start", "2026-01-01", "--end", "2026-01-02")


def test_uvx_finds_the_command_by_the_name_of_the_distribution() -> None:
    scripts = PROJECT["scripts"]
    assert scripts == {"harvester": scripts["harvester"], PROJECT["name"]: scripts["harvester"]}


@pytest.mark.sampled
@pytest.mark.thorough
@pytest.mark.parametrize(
    ("arguments", "extra", "missing"),
    [
        (("demo",), "cli", ["click"]),
        (("serve",), "serve", ["prometheus_client", "apprise", "jinja2"]),
        (("mcp",), "mcp", ["mcp", "duckdb", "pyarrow"]),
        (("report",), "report", ["jinja2"]),
        (("export", "parquet:tables"), "export", ["pyarrow", "duckdb"]),
        (("export", "duckdb:tables.duckdb"), "export", ["pyarrow", "duckdb"]),
        (("export", "xlsx:tables.xlsx"), "xlsx", ["xlsxwriter"]),
        (("export", "xlsx:tables.xlsx"), "xlsx", ["xlsxwriter", "pyarrow", "duckdb"]),
        ((*RUN, "--export", "xlsx:x.xlsx"), "xlsx", ["xlsxwriter", "pyarrow", "duckdb"]),
        ((*RUN, "--sink", "postgresql://me@127.0.0.1:9/x"), "postgres", ["psycopg"]),
        ((*RUN, "--sink", "mysql://me@127.0.0.1:9/x"), "mysql", ["pymysql"]),
        ((*RUN, "--sink", "jsonl:x?compress=zstd"), "zstd", ["backports.zstd", "compression.zstd"]),
        ((*RUN, "--token-store", "redis://127.0.0.1:9/0"), "redis", ["redis"]),
        ((*RUN, "--uvloop"), "uvloop", ["uvloop"]),
        ((*RUN, "--metrics", "x.prom"), "serve", ["prometheus_client"]),
    ],
    ids=lambda each: " ".join(each[-2:]) if isinstance(each, tuple) else "",
)
def test_a_command_without_its_extra_says_what_to_type(
    tmp_path: Path, arguments: tuple[str, ...], extra: str, missing: list[str]
) -> None:
    lines = [f"sys.modules[{each!r}] = None" for each in missing]
    (tmp_path / "sitecustomize.py").write_text("\n".join(["import sys", *lines, ""]))
    (tmp_path / "harvester.toml").write_text(
        f'endpoint = "users"\nappid = "{A}"\nstart = "2026-01-01"\nend = "yesterday"\n[serve]\n'
        if arguments == ("serve",)
        else ""
    )
    done = harvest(*arguments, cwd=tmp_path, PYTHONPATH=str(tmp_path), HARVESTER_SECRET="x")
    package = f"'wechat-harvester[{extra}]'"
    (sentence,) = [
        line for line in done.stderr.splitlines() if "using ./harvester.toml" not in line
    ]
    assert f": pip install {package}, or pipx inject wechat-harvester {package}" in sentence
    assert done.returncode == 2
    assert extra in PROJECT["optional-dependencies"]


@pytest.mark.thorough
def test_on_windows_one_sentence_names_wsl(tmp_path: Path) -> None:
    lines = [f"sys.modules[{each!r}] = None" for each in ("fcntl", "resource")]
    (tmp_path / "sitecustomize.py").write_text("\n".join(["import sys", *lines, ""]))
    env = environment(PYTHONPATH=f"{tmp_path}:{ROOT}")
    sentence = (
        "harvester needs a POSIX system such as Linux; on Windows, install it in WSL:"
        f" {page('windows')}\n"
    )
    for code, status, said in (
        ("from harvester.cli import main; main(['status'])", 2, f"harvester: {sentence}"),
        ("import harvester; harvester.run", 1, f"ImportError: {sentence}"),
    ):
        done = subprocess.run(
            [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout) == (status, "")
        assert done.stderr.endswith(said)
        assert status == 1 or done.stderr == said
