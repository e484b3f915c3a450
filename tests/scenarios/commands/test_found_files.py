"""A configuration that was found, not named, is obeyed only if no other user can write it."""

from __future__ import annotations

import grp
import os
import pwd
import struct
from pathlib import Path

import pytest

from harvester.cli.commands import invoke
from harvester.job import Job
from tests.support import A

FILE = "harvester.toml"
TEXT = (
    f'endpoint = "users"\nappid = "{A}"\nstart = "2024-01-01"\nend = "yesterday"\n'
    'base-url = "http://127.0.0.1:1"\nattempts = 1\n'
)
STRANGER = 1
Output = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("HARVESTER_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HARVESTER_SECRET", "s" * 32)
    (tmp_path / FILE).write_text(TEXT)
    (tmp_path / FILE).chmod(0o644)
    return tmp_path / FILE


def given_away(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make it another user's: only root can give a file away, so others become somebody else."""
    if os.geteuid() == 0:
        os.chown(path, STRANGER, -1, follow_symlinks=False)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: STRANGER)


def assert_named_only(capsys: Output, said: str) -> None:
    """Each way to find it refuses it, and each way to name it obeys it."""
    for arguments in (["plan"], ["status"], ["check"], ["run"], ["serve"], ["endpoints"]):
        assert invoke(arguments) == 2, arguments
        err = capsys.readouterr().err
        assert said in err, arguments
        assert "--config harvester.toml" in err
    assert invoke(["plan", "--config", FILE]) == 0
    assert Job.load(FILE).appid == A


def owner(path: Path) -> str:
    return pwd.getpwuid(path.lstat().st_uid).pw_name


def test_that_of_another_user_is_refused(
    file: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    given_away(file, monkeypatch)
    assert_named_only(capsys, "it belongs to another user")
    monkeypatch.setenv("HARVESTER_CONFIG", FILE)
    assert invoke(["plan"]) == 0


def test_a_link_of_another_user_is_refused(
    file: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.rename("mine.toml")
    file.symlink_to("mine.toml")
    assert invoke(["plan"]) == 0
    capsys.readouterr()
    given_away(file, monkeypatch)
    assert_named_only(capsys, "it belongs to another user")


def test_a_pipe_of_another_user_holds_up_nothing(
    file: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.unlink()
    os.mkfifo(file)
    given_away(file, monkeypatch)
    assert invoke(["plan"]) == 2
    assert "it belongs to another user" in capsys.readouterr().err


@pytest.mark.parametrize("mode", [0o646, 0o666, 0o777])
def test_one_that_everybody_can_write_is_refused(file: Path, mode: int, capsys: Output) -> None:
    file.chmod(mode)
    assert_named_only(capsys, "other users can write it")


def test_it_says_what_helps(file: Path, capsys: Output) -> None:
    file.chmod(0o777)
    assert invoke(["plan"]) == 2
    said = capsys.readouterr().err
    assert (
        "run: chmod go-w harvester.toml (in WSL this applies to all files under /mnt: move the"
        " file to"
    ) in said


def of_group(monkeypatch: pytest.MonkeyPatch, users: list[int], members: list[str]) -> None:
    """The users whose first group the file's group is, and its further members."""
    number, names = Path(FILE).stat().st_gid, {os.geteuid(): owner(Path(FILE))}
    entries = [
        pwd.struct_passwd((names.get(user, "u"), "x", user, number, "", "/", "")) for user in users
    ]
    group = grp.struct_group(("g", "x", number, members))
    monkeypatch.setattr(pwd, "getpwall", lambda: entries)
    monkeypatch.setattr(grp, "getgrgid", lambda _: group)


def test_a_group_that_has_its_owner_alone_may_write_it(
    file: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.chmod(0o664)
    mine, name = os.geteuid(), owner(file)
    for users, members in (([mine], []), ([mine], [name])):
        of_group(monkeypatch, users, members)
        assert invoke(["plan"]) == 0
    capsys.readouterr()
    for users, members in (
        ([mine, STRANGER], []), ([mine], ["other"]), ([mine], [name, "other"]), ([], [name]),
        ([STRANGER], []),
    ):  # fmt: skip
        of_group(monkeypatch, users, members)
        assert_named_only(capsys, "other users can write it")


def test_a_list_of_users_beside_the_mode_is_a_group_of_others(
    file: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_group(monkeypatch, [os.geteuid()], [])
    file.chmod(0o664)
    entries = [(1, 6, -1), (2, 6, STRANGER), (4, 4, -1), (0x10, 6, -1), (0x20, 4, -1)]
    packed = b"".join(struct.pack("<HHi", *each) for each in entries)
    os.setxattr(file, "system.posix_acl_access", struct.pack("<I", 2) + packed)
    assert_named_only(capsys, "other users can write it")


@pytest.mark.thorough
@pytest.mark.parametrize("found", [True, False])
@pytest.mark.parametrize("more", [[], ["--quiet"]])
def test_a_server_that_is_not_wechat_is_said(
    found: bool, more: list[str], file: Path, capsys: Output
) -> None:
    said = "harvester: requests, and the secrets in them, go to http://127.0.0.1:1, which is not"
    assert invoke(["run", *more, *([] if found else ["--config", FILE])]) == 4
    err = capsys.readouterr().err
    assert err.count(said) == 1
    assert ("using ./harvester.toml" in err) == (found and not more)
    assert invoke(["check"]) == 4
    assert capsys.readouterr().err.count(said) == 1


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("https://api.weixin.qq.com", False), ("https://API2.weixin.qq.com", False),
        ("https://sh.api.weixin.qq.com:443/x", False), ("http://api.weixin.qq.com.", False),
        ("https://api.weixin.qq.com.example.org", True), ("https://notweixin.qq.com", True),
        ("https://example.org/api.weixin.qq.com", True), ("http://[::1]:80", True),
    ],
)  # fmt: skip
def test_wechat_has_several_servers(url: str, said: bool) -> None:
    from harvester.transport import foreign

    assert bool(foreign(url)) == said
