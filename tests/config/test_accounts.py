"""The accounts of a file, TOML or CSV."""

from __future__ import annotations

from pathlib import Path

import pytest

from harvester.base.secrets import Secret
from harvester.cli.commands import invoke
from harvester.config.accounts import read_accounts
from harvester.errors import UsageError
from harvester.model import Account, Request, Response
from harvester.tokens.official import provider_for

PLATFORM = """
[[platform]]
name = "p"
appid = "wxp"
secret = "env:WX_SECRET"
ticket = "file:ticket"
"""


@pytest.fixture(autouse=True)
def _secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WX_SECRET", "s3cret")
    for name in ("ticket", "r1", "r2", "static"):
        (tmp_path / name).write_text(f"s3cret of {name}".replace(" ", "-"))
        (tmp_path / name).chmod(0o600)


def written(folder: Path, text: str, name: str = "a.toml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def refused(folder: Path, text: str, name: str = "a.toml") -> str:
    with pytest.raises(UsageError) as caught:
        read_accounts(written(folder, text, name))
    assert "s3cret" not in str(caught.value)
    return str(caught.value).replace(f"{folder}/", "")


def kinds(accounts: list[Account]) -> list[str]:
    return [type(provider_for(account)).__name__ for account in accounts]


def account(*lines: str, appid: str = "wx1") -> str:
    return "\n".join(["[[account]]", f'appid = "{appid}"', *lines, ""])


SECRET, REFRESH = 'secret = "env:WX_SECRET"', 'refresh_token = "file:r1"'
OF_P, CLOUD = 'platform = "p"', 'token = "cloud"'
GOOD = account(SECRET)
ALL = PLATFORM + "".join(
    account(*lines, appid=f"wx{number}")
    for number, lines in enumerate(
        [
            (SECRET,),
            ('secret = "file:static"', 'token = "classic"'),
            (CLOUD,),
            ('token = "cloudbase"',),
            ('token = "command:echo t"',),
            ('token = "https://tokens/wx6"', 'token_header = "env:WX_SECRET"'),
            ('token = "static:file:static"',),
            (OF_P, REFRESH),
        ],
        1,
    )
)
KINDS = [
    "StableToken", "ClassicToken", "NoToken", "CloudbaseToken", "CommandToken", "HttpToken",
    "StaticToken", "AuthorizerToken",
]  # fmt: skip


def test_an_account_of_each_kind_is_read(tmp_path: Path) -> None:
    accounts = read_accounts(written(tmp_path, ALL))
    assert kinds(accounts) == KINDS
    assert accounts[1].secret == Secret("s3cret-of-static")
    assert "s3cret" not in repr(accounts)


def test_without_secrets_no_reference_is_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WX_SECRET")
    for name in ("ticket", "r1", "static"):
        (tmp_path / name).unlink()
    file = written(tmp_path, ALL)
    accounts = read_accounts(file, secrets=False)
    assert [account.appid for account in accounts] == [f"wx{n}" for n in range(1, 9)]
    assert len(kinds(accounts)) == 8


def test_a_plan_of_all_kinds_needs_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("WX_SECRET")
    file = written(tmp_path, ALL)
    monkeypatch.chdir(tmp_path)
    days = ["--start", "2024-01-01", "--end", "2024-01-31"]
    assert invoke(["plan", "getarticlesummary", *days, "--accounts", str(file)]) == 0
    assert "248" in capsys.readouterr().out


def test_csv_says_the_same_with_a_header_line(tmp_path: Path) -> None:
    text = (
        "appid,secret,token,token_header\n"
        "wx1,env:WX_SECRET,,\n\n"
        "wx2, file:static ,classic,\n"
        'wx5,,"command:echo ""t""",\n'
        "wx6,,https://tokens/wx6,env:WX_SECRET\n"
    )
    accounts = read_accounts(written(tmp_path, "\ufeff" + text, "a.CSV"))
    assert kinds(accounts) == ["StableToken", "ClassicToken", "CommandToken", "HttpToken"]
    assert accounts[1].secret == Secret("s3cret-of-static")


def test_accounts_of_platforms_may_stand_in_a_csv_file_that_is_named(tmp_path: Path) -> None:
    written(tmp_path, "appid,platform,refresh_token\nwx1,p,file:r1\nwx2,p,file:r2\n", "a.csv")
    accounts = read_accounts(written(tmp_path, f'csv = "a.csv"\n{PLATFORM}'))
    assert kinds(accounts) == ["AuthorizerToken", "AuthorizerToken"]


TOKENS = "stable, classic, cloud, cloudbase, command:…, https://…, static:…"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            account('secrt = "env:X"'),
            "a.toml, account 1: unknown key 'secrt' (did you mean secret?)",
        ),
        ("acount = 1\n", "a.toml: unknown key 'acount' (did you mean account?)"),
        (account('secret = "env:NOT_SET_AT_ALL"'), "variable NOT_SET_AT_ALL is not set"),
        (account('secret = "file:no"'), "account 1: the secret file no cannot be read"),
        (account('secret = "s3cret"'), "a secret must be a reference: env:NAME or file:PATH"),
        (account(), "account 1 (wx1) has no secret"),
        (account('token = "gold"'), f"token 'gold' is not one of {TOKENS}"),
        (account('token = "29_s3cret-as-it-is"'), "token as given is not one of"),
        (account('token = "static:env:NOT_SET_AT_ALL"'), "variable NOT_SET_AT_ALL is not set"),
        (account('token = "static:file:no"'), "the token file no cannot be read"),
        (account(CLOUD, SECRET), "secret is only for stable or classic tokens"),
        (account(CLOUD, 'token_header = "env:X"'), "requires a token from https://"),
        (account(OF_P), "account 1 (wx1) has no refresh_token"),
        (account(REFRESH), "account 1 (wx1) has no platform"),
        (account('platform = "q"', REFRESH) + PLATFORM, "no platform 'q'"),
        (account(OF_P, 'refresh_token = "r1"') + PLATFORM, "reference: file:PATH"),
        (account(OF_P, 'refresh_token = "file:no"') + PLATFORM, "there is no file no"),
        (account(OF_P, REFRESH, SECRET) + PLATFORM, "secret cannot be combined with a platform"),
        (
            GOOD + PLATFORM.replace("ticket =", "tickt ="),
            "platform 1: unknown key 'tickt' (did you mean ticket?)",
        ),
        (GOOD + PLATFORM * 2, "platform 2: the platform p was given"),
        (GOOD + PLATFORM.replace("wxp", "not an appid"), "is not an AppID"),
        (GOOD * 2, "account 2: the account wx1 was given twice, first in a.toml, account 1"),
        (account(SECRET, "concurrency = 0"), "at least 1, not '0'"),
        (account(SECRET, "concurrency = 1.5"), "at least 1, not '1.5'"),
        (account(SECRET, 'concurrency = "x"'), "at least 1, not 'x'"),
        (
            account(SECRET, appid="wx 1"),
            ("a.toml, account 1: appid: 'wx 1' is not an AppID; an AppID has letters and digits"),
        ),
        (PLATFORM, "a.toml names no account"),
        ('csv = "no.csv"', "no.csv cannot be read"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    assert said in refused(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "a.csv, line 1: the header must have appid"),
        ("appid,secrt\n", "a.csv, line 1: unknown key 'secrt' (did you mean secret?)"),
        ("appid,appid\n", "no key twice"),
        ("appid,secret\n", "a.csv names no account"),
        ("appid,secret\nwx1,env:WX_SECRET,more\n", "a.csv, line 2 has 3 fields, the header has 2"),
        ("appid,secret\n\nwx1,env:NOT_SET_AT_ALL\n", "a.csv, line 3: the environment variable"),
        ("appid,secret\nwx1,env:WX_SECRET\n,env:WX_SECRET\n", "a.csv, line 3 has no appid"),
        (
            "appid,secret\nwx1,env:WX_SECRET\n\nwx1,env:WX_SECRET\n",
            "a.csv, line 4: the account wx1 was given twice, first in a.csv, line 2",
        ),
        ('appid,secret\nwx1,"env:WX', "a.csv, line 2 is not CSV"),
        (
            "appid,platform,refresh_token\nwx1,p,file:r1\n",
            "a.csv, line 2: there is no platform 'p'",
        ),
        ("appid,secret\nwx1,\0\n", "a.csv, line 2"),
    ],
)
def test_what_is_wrong_in_csv_is_told_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    assert said in refused(tmp_path, text, "a.csv")


def test_the_same_account_in_both_files_is_told_with_both_places(tmp_path: Path) -> None:
    written(tmp_path, "appid,secret\nwx1,env:WX_SECRET\n", "more.csv")
    assert refused(tmp_path, f'csv = "more.csv"\n{GOOD}') == (
        "more.csv, line 2: the account wx1 was given twice, first in a.toml, account 1"
    )


def test_a_csv_file_that_is_not_text_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"appid\n\xff\xfe\n")
    said = r"a\.csv is not UTF-8 text \(Excel: save it as CSV UTF-8, not as CSV\)$"
    with pytest.raises(UsageError, match=said):
        read_accounts(tmp_path / "a.csv")


def test_an_account_can_have_a_cap_of_its_own_in_either_file(tmp_path: Path) -> None:
    (one,) = read_accounts(written(tmp_path, account(SECRET, "concurrency = 3")))
    assert one.concurrency == 3
    csv = "appid,secret,concurrency\nwx1,env:WX_SECRET,2\nwx2,env:WX_SECRET,\n"
    both = read_accounts(written(tmp_path, csv, "a.csv"))
    assert [each.concurrency for each in both] == [2, None]


async def test_a_header_by_reference_goes_along(tmp_path: Path) -> None:
    text = account('token = "https://tokens/wx1"', 'token_header = "env:WX_SECRET"')
    (one,) = read_accounts(written(tmp_path, text))
    sent: list[Request] = []

    async def send(request: Request) -> Response:
        sent.append(request)
        return Response(200, b"t0ken")

    await provider_for(one).fetch(send)
    assert sent[0].headers == (("Authorization", "s3cret"),)
