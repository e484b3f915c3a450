"""The commands and their options.

Rule: from words to objects; what a command does stands in a room below or in a file beside.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any, TypeVar

import click

import harvester
from harvester import plugins
from harvester.api import hidden_specs, open_sinks, resolve
from harvester.cli import STOPPED, UNUSABLE
from harvester.cli.accounts import read_accounts
from harvester.cli.config import DEFAULT_FILE, read_config, single_account
from harvester.cli.interfaces import read_interfaces
from harvester.cli.screen import say, tell
from harvester.endpoint import JsonEndpoint
from harvester.errors import HarvestError, ReaderGoneError, UsageError
from harvester.ledger import FILE_NAME, ledger_of
from harvester.model import Account
from harvester.retry import DEFAULT_ATTEMPTS
from harvester.scope import DEFAULT_CONCURRENCY, ORDERS
from harvester.stores import open_store
from harvester.transport import BASE_URL, check_base_url, tls_context

F = TypeVar("F", bound=Callable[..., Any])

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


def invoke(arguments: Sequence[str] | None = None) -> int:
    """Run a command; gives the exit status, and says every error in one sentence."""
    try:
        return int(cli.main(arguments, prog_name="harvester", standalone_mode=False) or 0)
    except click.exceptions.NoArgsIsHelpError as exc:
        tell(exc.format_message())
        return UNUSABLE
    except click.ClickException as exc:
        say(" ".join(exc.format_message().split()))
        return UNUSABLE
    except click.Abort:
        return 130
    except UsageError as exc:
        say(str(exc))
        return UNUSABLE
    except HarvestError as exc:
        say(str(exc))
        return STOPPED
    except BrokenPipeError:
        raise
    except OSError as exc:  # a path that cannot be: too long, for instance
        say(f"{exc.filename or 'a file'} cannot be used ({exc.strerror})")
        return UNUSABLE


def _several(*decorators: Callable[[F], F]) -> Callable[[F], F]:
    def decorate(function: F) -> F:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return decorate


def _load_config(context: click.Context, _: click.Parameter, path: Path | None) -> Path | None:
    """Lay a file's values under those of the command line."""
    if path is None:
        path = Path(DEFAULT_FILE)
        if not path.exists():
            return None
    values = read_config(path, CONFIG_KEYS)
    context.meta[INTERFACES] = read_interfaces(values.pop("interface", []), str(path))
    _check_types(path, values)
    own = {parameter.name for parameter in context.command.params}
    context.default_map = {name: value for name, value in values.items() if name in own}
    return path


def _interfaces(values: dict[str, Any]) -> list[str | JsonEndpoint]:
    """What is to be harvested: names, and interfaces that the configuration describes."""
    own = _own_interfaces()
    found: list[str | JsonEndpoint] = []
    for name in values["endpoint"]:
        mine = [
            each
            for each in own
            if name == each.name or (not each.retired and name in (each.group, plugins.ALL))
        ]
        if not any(each.name == name for each in mine) and (
            not mine or name in plugins.endpoint_groups()
        ):
            found.append(name)
        found += mine
    return found


def _own_interfaces() -> list[JsonEndpoint]:
    """Those that the configuration describes."""
    found: list[JsonEndpoint] = click.get_current_context().meta.get(INTERFACES, [])
    return found


def _check_types(path: Path, values: dict[str, Any]) -> None:
    for name, value in values.items():
        if name in LISTS and isinstance(value, str):
            value = values[name] = [value]
        kinds = _kinds(name)
        given = value if name in LISTS and isinstance(value, list) else [value]
        if not all(type(each) in kinds and "\0" not in str(each) for each in given):
            names = " or ".join(_KIND_NAMES[kind] for kind in kinds)
            raise UsageError(f"{path}: {name.replace('_', '-')} takes {names}, not {value!r}")


def _kinds(name: str) -> tuple[type, ...]:
    """What TOML may hold for an option."""
    if name in FLAGS:
        return (bool,)
    if name in NUMBERS:
        return (int,)
    if name in ("start", "end"):
        return (str, date)
    return (str, int, float) if name in ("rate", "patience") else (str,)


_KIND_NAMES = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a string",
    date: "a date",
}
FLAGS = {"wait", "refresh", "json", "ask_quota", "uvloop"}
LISTS = {"endpoint", "sink"}
NUMBERS = {
    "burst", "concurrency", "attempts", "daily_quota", "reserve", "account_concurrency",
}  # fmt: skip
OPTIONS = (
    "rate", "burst", "concurrency", "attempts", "patience", "daily_quota", "ask_quota", "reserve",
    "order", "account_concurrency", "refresh", "wait",
)  # fmt: skip
"""What the command line hands on to the library as it is."""
INTERFACES = "harvester.interfaces"
STANDARD_OUTPUT = "-"
"""The sink that has standard output for itself."""
CONFIG_KEYS = {
    "endpoint", "interface", "start", "end", "appid", "accounts", "out", "sink", "base_url",
    "ca_file", "token_store", "json", "uvloop", *OPTIONS,
}  # fmt: skip

config_option = click.option(
    "--config",
    metavar="FILE",
    type=click.Path(path_type=Path),
    is_eager=True,
    expose_value=False,
    callback=_load_config,
    help=f"TOML holding any of these options; the command line wins.  [default: ./{DEFAULT_FILE}"
    " if it is there]",
)
out_option = click.option(
    "--out",
    metavar="DIR",
    type=click.Path(path_type=Path),
    default=Path("harvest"),
    show_default=True,
    help="Where JSON lines and the ledger are.",
)
what_options: Callable[[F], F] = _several(
    click.argument("endpoint", nargs=-1, required=True),
    click.option(
        "--start",
        metavar="DATE",
        required=True,
        help="First day: YYYY-MM-DD, or yesterday (in China).",
    ),
    click.option("--end", metavar="DATE", required=True, help="Last day, included."),
    click.option(
        "--appid", metavar="ID", help="One account; its secret comes from HARVESTER_SECRET."
    ),
    click.option(
        "--accounts",
        metavar="FILE",
        type=click.Path(path_type=Path),
        help="TOML with an [[account]] table for each account: appid, secret (env:NAME or"
        " file:PATH, readable by its owner alone), token (stable, classic, cloud, cloudbase,"
        " command:…, https://…, static:…), platform, refresh_token, concurrency (a cap of its own);"
        " and with [[platform]] tables.  Or CSV with such a header line.",
    ),
    out_option,
    click.option(
        "--sink",
        metavar="SPEC",
        multiple=True,
        help="Another destination, repeatable, in place of the JSON lines; the ledger stays in"
        " --out.  With - standard output holds the records alone, all else goes to standard error.",
    ),
    click.option(
        "--rate",
        metavar="R",
        default="300/min",
        show_default=True,
        help="Requests leaving for one account, as 10/s, 300/min or 2/h.  WeChat publishes no"
        " minute limit; this is a cautious one.",
    ),
    click.option(
        "--burst",
        metavar="N",
        type=int,
        default=1,
        show_default=True,
        help="So many may leave together.",
    ),
    click.option(
        "--concurrency",
        metavar="N",
        type=int,
        default=DEFAULT_CONCURRENCY,
        show_default=True,
        help="Requests in flight over all accounts.",
    ),
    click.option(
        "--attempts",
        metavar="N",
        type=int,
        default=DEFAULT_ATTEMPTS,
        show_default=True,
        help="How often a window is tried before it has failed; with the backoff in between that"
        " takes a busy server a minute or two.",
    ),
    click.option(
        "--patience",
        metavar="TIME",
        default="10m",
        show_default=True,
        help="How long to wait while nobody answers, once something has: 90s, 10m, 2h; for ever"
        " with --wait.",
    ),
    click.option(
        "--daily-quota",
        metavar="N",
        type=int,
        help="Calls a day (in China) for one interface of one account.  [default: until WeChat"
        " says that it is enough]",
    ),
    click.option(
        "--ask-quota",
        is_flag=True,
        help="Ask WeChat what is left of today's calls, once for each interface of each account.",
    ),
    click.option(
        "--reserve",
        metavar="N",
        type=int,
        default=0,
        help="Calls a day that are left to the account's other programs.",
    ),
    click.option(
        "--order",
        type=click.Choice(ORDERS),
        default="newest",
        show_default=True,
        help="newest: yesterday first, then what can still change, then the past, newest first."
        "  oldest: from the first day to the last.",
    ),
    click.option(
        "--account-concurrency",
        metavar="N",
        type=int,
        help="Requests in flight for one account.  [default: an equal part of --concurrency]",
    ),
    click.option("--refresh", is_flag=True, help="Harvest again days already done."),
)


def _scope(values: dict[str, Any], accounts: list[Account]) -> tuple[Any, Any]:
    """What is asked for, checked."""
    options: Any = {name: values[name] for name in OPTIONS if name in values}
    return resolve(accounts, _interfaces(values), values["start"], values["end"], options)


def _chosen(values: dict[str, Any]) -> tuple[str | None, Path | None]:
    """An appid or a file of accounts; what is typed wins over what a file says."""
    context = click.get_current_context()
    appid, file = values["appid"], values["accounts"]
    if appid and file:
        typed = [
            name
            for name in ("appid", "accounts")
            if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
        ]
        if len(typed) != 1:
            raise UsageError("give either --appid or --accounts")
        return (appid, None) if typed == ["appid"] else (None, file)
    return appid, file


def _accounts(values: dict[str, Any]) -> list[Account]:
    """The accounts that are named, with their secrets."""
    appid, file = _chosen(values)
    if file:
        return read_accounts(file)
    if appid:
        return [single_account(appid)]
    raise UsageError(
        "no account was given; give --appid (its secret in the environment variable"
        " HARVESTER_SECRET), or --accounts FILE"
    )


@click.group(context_settings=CONTEXT)
@click.version_option(harvester.__version__, message="harvester %(version)s")
def cli() -> None:
    """Harvest years of WeChat datacube statistics, each record of each day exactly once.

    \b
    harvester demo                    try it without an account
    harvester run users --appid wx… --start 2014-12-01 --end yesterday

    Exit status: 0 all is harvested; 1 some windows failed for good; 2 unusable arguments, nothing
    was sent; 3 something must wait, and until when; 4 the run stopped; 130 interrupted.  Running
    the same command again resumes.
    """  # noqa: D301  (the escape is meant: click keeps such a paragraph as it is)


@cli.command(context_settings=CONTEXT, short_help="Harvest; the same command again resumes.")
@what_options
@click.option("--base-url", default=BASE_URL, show_default=True, help="Another host than WeChat's.")
@click.option(
    "--ca-file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="PEM file with authorities to trust besides the machine's own.",
)
@click.option(
    "--token-store",
    metavar="SPEC",
    default="memory",
    show_default=True,
    help="Where an account's token is shared with its other programs: memory (this process alone),"
    " file:PATH (this machine; a directory: a file an account), redis://HOST:PORT/DB (its password"
    " in HARVESTER_REDIS_PASSWORD).",
)
@click.option(
    "--uvloop",
    is_flag=True,
    help="Run on uvloop, if it is installed: 4 to 10 percent less CPU.",
)
@click.option("--wait", is_flag=True, help="Sleep through quota resets instead of ending with 3.")
@click.option(
    "--json",
    "json",
    is_flag=True,
    help="The report as JSON, on standard output's end (with --sink - on standard error's).",
)
@config_option
def run(**values: Any) -> int:
    """Harvest ENDPOINT... from --start to --end; the same command again resumes."""
    from harvester.cli.loop import uvloop_factory
    from harvester.cli.session import conclude, conclude_unread, conduct

    factory = uvloop_factory() if values["uvloop"] else None
    open_store(values["token_store"])
    accounts = _accounts(values)
    _scope(values, accounts)
    check_base_url(values["base_url"])
    tls_context(values["ca_file"])
    sinks = open_sinks(hidden_specs(list(values["sink"]) or [f"jsonl:{values['out']}"]))
    endpoints = _interfaces(values)

    async def harvest(observe: Any, stop: asyncio.Event) -> Any:
        return await harvester.run(
            accounts,
            endpoints,
            values["start"],
            values["end"],
            sink=sinks,
            base_url=values["base_url"],
            ca_file=values["ca_file"],
            **{name: values[name] for name in OPTIONS},
            token_store=values["token_store"],
            ledger=values["out"] / FILE_NAME,
            on_event=observe,
            stop=stop,
        )

    names = [sink.identity for sink in sinks]
    places = [name for name in names if name != STANDARD_OUTPUT]
    where = ", ".join(places) if values["sink"] else str(values["out"])
    aside = len(places) < len(names)
    try:
        return conclude(conduct(harvest, factory), where, as_json=values["json"], aside=aside)
    except ReaderGoneError as exc:
        return conclude_unread(exc.report, as_json=values["json"])


@cli.command(context_settings=CONTEXT, short_help="Tell what run would do; sends nothing.")
@what_options
@config_option
def plan(**values: Any) -> int:
    """Tell what `run` would do: calls, days of quota, hours.  Sends nothing, needs no secret."""
    from harvester.cli.inspect import show_plan

    appid, file = _chosen(values)
    alone = [Account(appid or "wx", secret="-")]
    accounts = read_accounts(file, secrets=False) if file else alone
    scope, options = _scope(values, accounts)
    open_sinks(hidden_specs(list(values["sink"]) or [f"jsonl:{values['out']}"]))
    return asyncio.run(show_plan(scope, options, values["out"] / FILE_NAME, time.time()))


@cli.command(context_settings=CONTEXT, short_help="Show coverage by month and gaps.")
@out_option
@config_option
def status(out: Path) -> int:
    """Show what is harvested: coverage by month, gaps, what waits and what failed."""
    from harvester.cli.inspect import show_status

    return asyncio.run(show_status(ledger_of(out), _own_interfaces()))


@cli.command(context_settings=CONTEXT, short_help="Compare the stored records with the ledger.")
@out_option
@config_option
def verify(out: Path) -> int:
    """Read the stored records and compare them with the ledger; status 1 if they differ."""
    from harvester.cli.inspect import show_verification

    return asyncio.run(show_verification(ledger_of(out)))


@cli.command(context_settings=CONTEXT, short_help="Make a new ledger from what is stored.")
@out_option
@click.option(
    "--sink",
    metavar="SPEC",
    multiple=True,
    help="A destination that was harvested into, repeatable.  [default: those that the damaged"
    " ledger still names, or the JSON lines in --out]",
)
@config_option
def rebuild(out: Path, sink: tuple[str, ...]) -> int:
    """Make a new ledger from what is stored, in place of one that is damaged or lost.

    No record is touched, nothing is sent, and the former ledger stays beside the new one, as
    ledger.sqlite.damaged-….  What no record tells is forgotten: empty days, failures, today's
    calls.  The next run asks again for such days, and for what may not be whole or final.
    """
    from harvester.cli.rebuild import show_rebuilding

    own = click.get_current_context().meta.get(INTERFACES, [])
    return asyncio.run(show_rebuilding(ledger_of(out), sink, own, time.time()))


@cli.command(context_settings=CONTEXT, short_help="List the interfaces, or tell about one.")
@click.argument("name", required=False)
@config_option
def endpoints(name: str | None) -> int:
    """List the interfaces that can be harvested, those of a group, or all about one."""
    from harvester.cli.interfaces import show

    return show(name, _own_interfaces())


@cli.command(context_settings=CONTEXT, short_help="Serve a local WeChat to practise on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8765,
    show_default=True,
    help="0 takes a free one.",
)
@click.option("--seed", type=int, default=1, show_default=True, help="Another seed, other data.")
@click.option("--secret", default="practice", show_default=True, help="Of every appid that is wx….")
@click.option("--latency", type=float, default=0.0, help="Seconds that each answer takes.")
@click.option("--token-lifetime", type=float, default=7200.0, show_default=True, help="Seconds.")
@click.option(
    "--daily-quota", type=int, help="Calls of one account and interface a day, then 45009."
)
@click.option("--minute-limit", type=int, help="Calls of one account in any minute, then 45011.")
@click.option(
    "--retired", is_flag=True, help="The six old article interfaces answer 47009, as since 2026."
)
@click.option(
    "--busy", type=click.FloatRange(0, 1), default=0.0, help="Share of answers that are -1."
)
@click.option("--first-busy", type=int, default=0, help="The first N of each account are -1.")
@click.option(
    "--http-500", type=click.FloatRange(0, 1), default=0.0, help="Share of answers that are a 502."
)
@click.option(
    "--html", type=click.FloatRange(0, 1), default=0.0, help="Share of answers that are HTML."
)
@click.option(
    "--empty", type=click.FloatRange(0, 1), default=0.0, help="Share of answers without a body."
)
@click.option(
    "--cut", type=click.FloatRange(0, 1), default=0.0, help="Share of answers cut in the middle."
)
@click.option(
    "--reset", type=click.FloatRange(0, 1), default=0.0, help="Share of connections that are reset."
)
@click.option(
    "--slow", type=click.FloatRange(0, 1), default=0.0, help="Share of answers that are slow."
)
@click.option("--slow-seconds", type=float, default=5.0, show_default=True, help="How slow.")
@click.option(
    "--control",
    type=click.FloatRange(0, 1),
    default=0.0,
    help="Share with a raw control character.",
)
@click.option("--revoke-every", type=int, default=0, help="Tokens are void after N requests.")
@click.option(
    "--delay-until-hour",
    type=click.FloatRange(0, 24),
    help="Until then, China time, yesterday's article figures of the new interfaces are late.",
)
@click.option(
    "--silent-hours",
    type=click.FloatRange(0),
    help="Hours from a day's end until its rows are there; no answer says that they are late.",
)
@click.option("--sparse", is_flag=True, help="Some fields are missing in every second row.")
@click.option("--component", metavar="APPID", help="A third-party platform; --secret is its, too.")
@click.option(
    "--span",
    "spans",
    metavar="NAME=DAYS",
    multiple=True,
    help="The most days of a call of an interface; may be repeated.",
)
def simulate(port: int, **values: Any) -> int:
    """Serve a local WeChat to practise on, on loopback, until it is interrupted."""
    from harvester.cli.practice import simulate as serve

    return serve(port, values)


@cli.command(context_settings=CONTEXT, short_help="Do the main job against a simulated WeChat.")
@click.option(
    "--out",
    metavar="DIR",
    type=click.Path(path_type=Path),
    default=Path("harvest-demo"),
    show_default=True,
    help="Where the harvest goes.",
)
def demo(out: Path) -> int:
    """Do the main job, start to finish, against a simulated WeChat: a year of two accounts."""
    from harvester.cli.practice import demo as start

    return start(out)
