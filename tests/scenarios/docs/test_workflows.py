"""The workflows of GitHub, `.ci/run` and what CONTRIBUTING.md says of them.

They are read, and `.ci/run` checks them with zizmor and their schema; no hosted runner was there.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import tomllib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import mysql_server as mysql_tests
from tests import postgres_server as postgresql_tests
from tests.mysql_server import mysql_server
from tests.postgres_server import PostgresServer, postgres_server
from tests.support import ROOT

WORKFLOWS = ROOT / ".github" / "workflows"
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
SCRIPT = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
NAMES = ("ci", "nightly", "publish")


def workflow(name: str) -> dict[str, Any]:
    loaded = yaml.safe_load((WORKFLOWS / f"{name}.yml").read_text(encoding="utf-8"))
    assert isinstance(loaded, dict)
    return {"on" if key is True else key: value for key, value in loaded.items()}


def parts(name: str) -> list[str]:
    """The parts of `.ci/run` in the list of that name."""
    found = re.search(rf"^{name}=\((.*)\)$", SCRIPT, re.MULTILINE)
    assert found
    return found[1].split()


def steps(name: str) -> list[dict[str, Any]]:
    return [step for job in workflow(name)["jobs"].values() for step in job.get("steps", ())]


# all of them


@pytest.mark.parametrize("path", sorted((ROOT / ".github").rglob("*.yml")), ids=lambda p: p.name)
def test_the_files_of_github_are_yaml_and_name_actions_by_commit(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert isinstance(yaml.safe_load(text), dict)
    for action in re.findall(r"uses: (?!\$/)(.+)", text):
        assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action), action


@pytest.mark.parametrize(
    "path", [*sorted(WORKFLOWS.glob("*.yml")), ROOT / "examples" / "compose.yaml"],
    ids=lambda path: path.name,
)  # fmt: skip
def test_an_image_is_named_by_its_full_version(path: Path) -> None:
    for image in re.findall(r"\bimage: [\"']?([^\s\"',]+)", path.read_text()):
        if not image.startswith(("${{", "python:${{")):
            parts = 2 if image.startswith("postgres:") else 3  # PostgreSQL's versions have two
            assert re.search(rf":v?\d+(\.\d+\w*){{{parts - 1}}}(-\w+)?$", image), image


def test_an_action_has_one_version_in_all_workflows() -> None:
    used = {step["uses"] for name in NAMES for step in steps(name) if "uses" in step}
    assert len({each.partition("@")[0] for each in used}) == len(used)


@pytest.mark.parametrize("name", NAMES)
def test_a_job_has_a_time_limit_and_its_own_permissions(name: str) -> None:
    read = workflow(name)
    assert read["permissions"] == {}
    assert read["concurrency"]["group"]
    for job in read["jobs"].values():
        assert "permissions" in job
        assert "timeout-minutes" in job or "uses" in job
    for step in steps(name):
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False
    assert "secrets." not in str(read)


@pytest.mark.parametrize("name", NAMES)
def test_a_job_that_runs_the_script_is_in_the_container_that_contributing_names(name: str) -> None:
    lowest = PROJECT["requires-python"].removeprefix(">=")
    assert f"container `python:{lowest}-trixie`" in CONTRIBUTING
    assert f"Debian 13 with Python {lowest}" in CONTRIBUTING
    for job in workflow(name)["jobs"].values():
        said = [step.get("run", "") for step in job.get("steps", ())]
        runs = [each for each in said if each.startswith("bash .ci/run")]
        if runs:
            assert job["container"]["image"].endswith("-trixie")
            clones = "newest" not in runs[0]  # it alone neither clones nor counts commits
            assert ("safe.directory" in str(job)) is clones


# the parts of .ci/run


def test_the_script_refuses_a_part_that_it_does_not_know() -> None:
    ran = subprocess.run(
        ["bash", ROOT / ".ci" / "run", "lints"], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 2
    assert "lints is no part; give some of: lint worlds" in ran.stderr


def test_contributing_has_a_row_for_each_part_and_each_has_a_function() -> None:
    table = re.findall(r"^\| `(\w+)` \|", CONTRIBUTING, re.MULTILINE)
    assert table == parts("whole")
    functions = re.findall(r"^part_([\w-]+)\(\)", SCRIPT, re.MULTILINE)
    assert sorted(functions) == sorted(parts("whole") + parts("nightly"))
    assert parts("whole")[-1] == "tests"  # its last line is the result


def test_each_part_runs_once_on_hosted_runners_and_the_tests_on_each_python() -> None:
    jobs = workflow("ci")["jobs"]
    listed = " ".join(jobs["parts"]["strategy"]["matrix"]["parts"]).split()
    assert sorted([*listed, "tests"]) == sorted(parts("whole"))
    pythons = jobs["tests"]["strategy"]["matrix"]["python"]
    pattern = "Programming Language :: Python :: "
    known = [each.removeprefix(pattern) for each in PROJECT["classifiers"] if pattern in each]
    minors = [".".join(each.split(".")[:2]) for each in pythons]
    assert minors == [*known[1:], "3.15"]  # a release waits for these tests
    assert known[0] == "3"
    assert jobs["tests"]["continue-on-error"] == "${{ startsWith(matrix.python, '3.15') }}"
    assert f"Python {minors[0]} to {minors[-1]}" in CONTRIBUTING


def test_pushes_to_main_and_pull_requests_alone_start_it_and_cancel_older_runs() -> None:
    read = workflow("ci")
    assert read["on"] == {
        "push": {"branches": ["main"]},
        "pull_request": None,
        "workflow_call": None,
    }
    assert read["concurrency"]["cancel-in-progress"] is True


def test_the_figures_are_uploaded_also_when_the_gate_fails() -> None:
    job = workflow("ci")["jobs"]["parts"]
    (upload,) = [each for each in job["steps"] if "upload-artifact" in each.get("uses", "")]
    assert "!cancelled()" in upload["if"]
    assert upload["with"]["path"] == job["env"]["FIGURES"]


def test_what_is_checked_of_the_workflows() -> None:
    assert "zizmor --offline --no-progress .github\n" in SCRIPT
    assert (
        "check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml"
        in SCRIPT
    )
    dev = PROJECT["optional-dependencies"]["dev"]
    assert [each for each in dev if each.startswith(("zizmor>=", "check-jsonschema>="))]


def run_with(program: str, answer: str, script: str, folder: Path, **env: str) -> list[str]:
    """Run a step with a program that notes how it is called; gives the calls."""
    fake = folder / program
    fake.write_text(f'#!/bin/sh\ncat >/dev/null\necho "$@" >>"{folder}/calls"\n{answer}\n')
    fake.chmod(0o755)
    (folder / "calls").write_text("")
    subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],
        cwd=folder, check=True, capture_output=True, timeout=60, stdin=subprocess.DEVNULL,
        env={"PATH": f"{folder}:/usr/bin:/bin", "HOME": str(folder), **env},
    )  # fmt: skip
    return (folder / "calls").read_text().splitlines()


# additions

ADDITIONS = CONTRIBUTING.partition("## What an addition touches\n")[2].partition("\n## ")[0]


@pytest.mark.parametrize("span", sorted(set(re.findall(r"`([^`]+)`", ADDITIONS))))
def test_what_an_addition_touches_exists(span: str) -> None:
    """Files, names, and commands in Python with the files and modules that they name."""
    if re.fullmatch(r"[\w.]+", span) and not (ROOT / span).exists():
        name = rf"\b{span.rpartition('.')[2]}\b"
        assert any(re.search(name, each.read_text()) for each in (ROOT / "harvester").rglob("*.py"))
        return
    words = [each for each in shlex.split(span) if each not in ("", ">")]
    if words[0] == "python":
        if words[1] == "-m":
            assert find_spec(words[2]) is not None
            words = words[3:]
        else:
            words = words[1:]
    assert all([(ROOT / word).exists() for word in words if not word.startswith("-")])


# nightly


def test_each_night_has_all_soaks_and_its_own_seed() -> None:
    read = workflow("nightly")
    soaks = read["jobs"]["soak"]["strategy"]["matrix"]["part"]
    assert ["newest", *soaks] == parts("nightly")
    assert read["env"]["SEED"] == "${{ inputs.seed || github.run_number }}"
    report = read["jobs"]["report"]
    assert sorted(report["needs"]) == sorted(set(read["jobs"]) - {"report"})
    assert report["permissions"] == {"issues": "write"}
    script = report["steps"][-1]["run"]
    assert all(each in script for each in ("$SEED", "gh issue comment", "gh issue create"))
    for soak in soaks:
        body = SCRIPT.partition(f"part_{soak}() {{")[2].partition("\n}")[0]
        assert "seed" in body or soak in ("soak-model", "soak-mutants")  # they try all there is


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("number", "call"), [("", "issue create --title"), ("7", "issue comment 7")]
)
def test_a_night_that_failed_opens_one_issue_or_adds_to_it(
    tmp_path: Path, number: str, call: str
) -> None:
    (tmp_path / "logs").mkdir()
    last = "python -m tests.chaos.worlds --seed 50007  # a record is missing"
    for each in range(13):
        lines = f"{'迟' * 2000} {each}\n" * 400
        (tmp_path / "logs" / f"soak-{each}.log").write_text(f"{lines}{last} {each}\n")
    script = workflow("nightly")["jobs"]["report"]["steps"][-1]["run"]
    answer = f'case "$2" in list) echo "{number}" ;; esac'
    calls = run_with(
        "gh", answer, script, tmp_path, SEED="1", RUN="https://host/run/1", RESULTS="soak: failure"
    )
    assert len(calls) == 3
    assert calls[-1].startswith(call)
    body = (tmp_path / "body.md").read_text()
    assert "Seed 1: https://host/run/1 (soak: failure)" in body
    assert all(f"{last} {each}\n\n```" in body for each in range(13))
    assert len(body) < 65_536  # the most characters that GitHub takes


def test_a_night_is_reported_whatever_happened(tmp_path: Path) -> None:
    """A job that its time-out ends is cancelled, and may have no log."""
    *jobs, report = workflow("nightly")["jobs"].values()
    assert all(each in report["if"] for each in ("always()", "'failure'", "'cancelled'"))
    assert {job["steps"][-1]["if"] for job in jobs} == {"${{ failure() || cancelled() }}"}
    assert report["steps"][0]["continue-on-error"] is True
    given = {"SEED": "1", "RUN": "https://host/run/1", "RESULTS": "soak: cancelled"}
    calls = run_with("gh", ":", report["steps"][-1]["run"], tmp_path, **given)
    assert calls[-1].startswith("issue create --title")
    assert "(soak: cancelled)" in (tmp_path / "body.md").read_text()


def test_the_databases_of_a_night_are_those_that_contributing_names() -> None:
    job = workflow("nightly")["jobs"]["databases"]
    named = " ".join(CONTRIBUTING.split())
    versions: dict[str, list[str]] = {}
    for each in job["strategy"]["matrix"]["include"]:
        kind, _, version = each["image"].partition(":")
        first, second, _ = f"{version}.".split(".", 2)
        named_as = first if kind == "postgres" else version if first == "8" else f"{first}.{second}"
        versions.setdefault(kind, []).append(named_as)
    for kind, name in (("postgres", "PostgreSQL"), ("mariadb", "MariaDB"), ("mysql", "MySQL")):
        assert f"{name} {' and '.join(versions.pop(kind))}" in named
    assert not versions
    given = job["services"]["database"]["env"]
    assert given["POSTGRES_PASSWORD"] == postgresql_tests.PASSWORD
    assert given["POSTGRES_USER"] == postgresql_tests.USER
    assert given["MYSQL_ROOT_PASSWORD"] == given["MARIADB_ROOT_PASSWORD"] == mysql_tests.PASSWORD
    for path in re.findall(r"tests/[\w/]+\.py", str(job)):
        assert (ROOT / path).exists(), path


def test_a_database_that_runs_already_is_used_and_left_running(
    postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_OF_TESTS", f"postgresql:{postgres.port}")
    with postgres_server() as given:
        assert given.port == postgres.port
        name = given.new_database()
    assert postgres.execute(f"SELECT 1 FROM pg_database WHERE datname = '{name}'") == [(1,)]


@pytest.mark.thorough
def test_of_a_given_mariadb_the_root_makes_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    with mysql_server() as server:
        server.execute(f"ALTER USER root@'127.0.0.1' IDENTIFIED BY '{mysql_tests.PASSWORD}'")
        server.execute(f"DROP USER {mysql_tests.USER}", user="root")
        monkeypatch.setenv("DATABASE_OF_TESTS", f"mysql:{server.port}")
        with mysql_server() as given:
            name = given.new_database()
        assert (name,) in server.execute("SHOW DATABASES")


# publish


def test_a_release_waits_for_the_tests_and_is_built_once() -> None:
    jobs = workflow("publish")["jobs"]
    assert jobs["tests"]["uses"] == "$/.github/workflows/ci.yml"
    needed = {name: job.get("needs") for name, job in jobs.items()}
    assert needed == {
        "tests": None, "build": "tests", "try": "build", "rehearse": "try", "publish": "try",
        "page": "publish", "image": "publish", "manifest": "image",
    }  # fmt: skip
    assert str(jobs).count("python -m build --no-isolation") == str(jobs).count("-m build") == 1
    (tools,) = re.findall(r"pip install -c requirements\.lock\.txt ([a-z ]+)", str(jobs))
    lock = (ROOT / "requirements.lock.txt").read_text()
    assert all(f"\n{tool}==" in lock for tool in tools.split())
    assert {*tools.split()} == {"build", "hatchling", "twine"}
    files = {each["kind"]: each["files"] for each in jobs["try"]["strategy"]["matrix"]["include"]}
    assert files == {"wheel": "*.whl", "sdist": "*.tar.gz"}
    assert "harvester demo" in str(jobs["try"]["steps"])


def test_a_release_is_published_without_a_stored_password_and_with_attestations() -> None:
    jobs = workflow("publish")["jobs"]
    assert jobs["publish"]["permissions"] == {"id-token": "write"}
    assert jobs["publish"]["steps"][-1]["with"] == {"attestations": True}
    assert [name for name, job in jobs.items() if "attest-build-provenance" in str(job)] == [
        "page", "manifest",
    ]  # fmt: skip
    assert "gh release upload" in str(jobs["page"])


def test_a_rehearsal_is_skipped_where_it_is_not_set_up_and_never_a_release() -> None:
    job = workflow("publish")["jobs"]["rehearse"]
    assert "github.event_name == 'push' && vars.TEST_INDEX == 'true'" in job["if"]
    assert job["steps"][-1]["with"]["repository-url"] == "https://test.pypi.org/legacy/"
    assert "`TEST_INDEX = true`" in CONTRIBUTING


def test_the_image_is_made_for_both_platforms_with_an_sbom() -> None:
    jobs = workflow("publish")["jobs"]
    platforms = [each["platform"] for each in jobs["image"]["strategy"]["matrix"]["include"]]
    assert platforms == ["amd64", "arm64"]
    script = jobs["image"]["steps"][-1]["run"]
    assert "--sbom=true --provenance=mode=max --push" in script
    assert all(f"-{each}" in jobs["manifest"]["steps"][0]["run"] for each in platforms)


def test_the_image_is_tried_without_privileges_before_it_is_pushed(tmp_path: Path) -> None:
    jobs = workflow("publish")["jobs"]
    given = {"GITHUB_REPOSITORY": "Owner/Name", "TAG": "v1.2.3", "GH_TOKEN": "t"}
    calls = run_with(
        "docker", "", jobs["image"]["steps"][-1]["run"], tmp_path, **given, PLATFORM="arm64",
        GITHUB_SHA="c0ffee", SOURCE="https://host/Owner/Name", GITHUB_ACTOR="me",
    )  # fmt: skip
    image = "ghcr.io/owner/name:1.2.3-arm64"
    words = [each.split()[:2] for each in calls]
    assert words == [
        ["buildx", "create"], ["buildx", "build"], ["run", "--rm"], ["login", "ghcr.io"],
        ["buildx", "build"], ["logout", "ghcr.io"],
    ]  # fmt: skip
    assert calls[2].endswith(f"--cap-drop ALL --security-opt no-new-privileges {image} demo")
    assert "org.opencontainers.image.version=1.2.3 " in calls[4]
    assert calls[4].endswith("--sbom=true --provenance=mode=max --push .")
    output = tmp_path / "output"
    joined = run_with(
        "docker", 'case "$3" in inspect) echo sha256:1 ;; esac',
        jobs["manifest"]["steps"][0]["run"], tmp_path, **given, GITHUB_OUTPUT=str(output),
        GITHUB_ACTOR="me",
    )  # fmt: skip
    assert joined[1] == (
        "buildx imagetools create --tag ghcr.io/owner/name:1.2.3 --tag ghcr.io/owner/name:latest"
        f" ghcr.io/owner/name:1.2.3-amd64 {image}"
    )
    assert output.read_text() == "image=ghcr.io/owner/name\ndigest=sha256:1\n"


# dependabot


def test_dependabot_moves_the_actions_the_lock_and_the_images_after_a_week() -> None:
    read = yaml.safe_load((ROOT / ".github/dependabot.yml").read_text(encoding="utf-8"))
    found = {each["package-ecosystem"]: each for each in read["updates"]}
    assert sorted(found) == ["docker", "docker-compose", "github-actions", "pip"]
    assert all(each["cooldown"]["default-days"] == 7 for each in read["updates"])
    assert (ROOT / f".{found['docker']['directory']}" / "Dockerfile").exists()
    assert (ROOT / f".{found['docker-compose']['directory']}" / "compose.yaml").exists()
    locks = set(re.findall(r"requirements[\w.]+\w", SCRIPT))
    assert all(lock.endswith(".txt") for lock in locks)  # it looks into no others
    assert locks == {path.name for path in ROOT.glob("requirements*")}


def test_the_lock_has_what_the_project_needs_itself() -> None:
    lock = (ROOT / "requirements.lock.txt").read_text(encoding="utf-8")
    pinned = {line.partition("==")[0] for line in lock.splitlines() if line[:1] != "#"}
    extras = PROJECT["optional-dependencies"].values()
    wanted = [*PROJECT["dependencies"], *(each for extra in extras for each in extra)]
    names = {re.split(r"[\[><=;]", each)[0].lower() for each in wanted} - {PROJECT["name"]}
    assert {each.replace("_", "-") for each in names} <= {each.lower() for each in pinned}


def test_the_sources_of_a_release_have_what_the_readme_and_the_image_need() -> None:
    told = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    sent = {each[1:] for each in told["hatch"]["build"]["targets"]["sdist"]["include"]}
    assert all((ROOT / each).exists() for each in sent)
    assert sent >= {"Dockerfile", ".dockerignore", ".ci", "docs", "requirements.lock.txt"}


def test_bash_takes_the_script() -> None:
    bash = shutil.which("bash")
    assert bash
    subprocess.run([bash, "-n", ROOT / ".ci" / "run"], check=True)


def test_the_policy_says_how_the_provenance_of_a_release_is_checked() -> None:
    policy = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    repository = PROJECT["urls"]["Source"].split("/", 3)[3]
    assert f"gh attestation verify FILE --repo {repository}" in policy
    assert f"oci://ghcr.io/{repository}:VERSION" in policy
