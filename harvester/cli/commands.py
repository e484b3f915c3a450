"""The commands and their options."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import click

import harvester
from harvester.api import Harvest, open_sinks
from harvester.base.secrets import Secret
from harvester.cli import arguments as asked
from harvester.cli import language as lang
from harvester.cli import terminal as screen
from harvester.cli.exit_status import COMPLETE, MUST_WAIT, STOPPED, UNUSABLE
from harvester.cli.help import Group, message_of
from harvester.cli.options import (
    FILE,
    PLACES,
    json_option,
    known_sink_option,
    notify_file,
    options_of,
    sink_option,
)
from harvester.cli.terminal import notify, show_line
from harvester.config.accounts import (
    SECRET_VARIABLE,
    ListedAccount,
    choose,
)
from harvester.config.files import (
    DEFAULT_FILE,
    read_config,
    unknown_variables,
)
from harvester.errors import (
    HarvestError,
    UsageError,
    without_passwords,
)
from harvester.events import Observer, Report, State
from harvester.model import Account
from harvester.report.days import STATES, StatusFilter
from harvester.texts import joined, of_system, say

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


@dataclass
class _Called:
    """What is known of the called command, also if it ends early.

    aside: standard output holds records, so the report goes to standard error.
    """

    as_json: bool = False
    aside: bool = False


def invoke(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return the exit status; each error is printed as one sentence."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    language, command = lang.typed(given)
    called = _called(command)
    screen.log_as("text")
    screen.name_accounts({})
    screen.listen()
    try:
        lang.choose(language)
        _check_word(command)
        _check_appid(command)
        return int(cli.main(given, _name(), standalone_mode=False, obj=called) or 0)
    except click.exceptions.NoArgsIsHelpError as exc:
        show_line(exc.format_message())
        return UNUSABLE
    except click.NoSuchOption as exc:
        return _refused(_no_option(exc), UNUSABLE, called)
    except click.ClickException as exc:
        return _refused(message_of(exc), UNUSABLE, called)
    except click.Abort:
        return 130
    except UsageError as exc:
        return _refused(str(exc), UNUSABLE, called)
    except HarvestError as exc:
        return _refused(str(exc), STOPPED, called)
    except BrokenPipeError:
        raise
    except OSError as exc:
        if exc.filename is None:  # not a path but an open file: the disk of the output is full
            called.aside = True
            return _refused(
                say("the output cannot be written ({})", of_system(exc)), STOPPED, called
            )
        return _refused(
            say("{} cannot be used ({})", exc.filename, of_system(exc)), UNUSABLE, called
        )


def _name() -> str:
    """The name by which the command was started; it is in usage lines and completion scripts."""
    name = Path(sys.argv[0]).name
    return name if name == "wechat-harvester" else "harvester"


def _no_option(exc: click.NoSuchOption) -> str:
    if hint := _hint(exc.option_name):
        return joined(" ", [say("No such option {}.", repr(exc.option_name)), hint])
    return message_of(exc)


def _hint(option: str) -> str:
    if option.replace("-", "").lower() in ("v", "verbose", "debug"):
        return say("--log-format json shows each event of a run.")
    if option.replace("-", "").lower() in _SECRETS:
        return say("A secret is read from the environment variable {}.", SECRET_VARIABLE)
    return (
        say("Write it before the command: harvester --lang zh|en …")
        if option == lang.OPTION
        else ""
    )


def _refused(text: str, status: int, called: _Called) -> int:
    text = without_passwords(text)
    notify(text, level="error")
    if called.as_json:
        screen.show_json(Report(state=State.FAILED, notes=[text]).to_dict(), aside=called.aside)
    return status


def _check_word(given: Sequence[str]) -> None:
    if given and given[0] in ("version", "help"):
        raise UsageError("{} is an option; write {} --{}", given[0], _name(), given[0])


def _check_appid(given: Sequence[str]) -> None:
    """Raise `UsageError` for a second --appid of a command that takes one: click drops one."""
    typed = [each for each in given if each.partition("=")[0] == "--appid"]
    if len(typed) > 1 and given[0] in ("run", "plan", "check", "forget"):
        raise UsageError(
            "--appid takes one account; for several, write them into a file and use --accounts FILE"
        )


def _called(given: Sequence[str]) -> _Called:
    """Detect --json and the sink - before click parses them; given: from the command on."""
    as_json = given[:1] == ["run"] and ("--json" in given or _json_in_environment())
    aside = f"--sink={STANDARD_OUTPUT}" in given or ("--sink", STANDARD_OUTPUT) in pairwise(given)
    return _Called(as_json, aside)


def _json_in_environment() -> bool:
    return os.environ.get("HARVESTER_JSON", "").strip().lower() in ("1", "true", "yes")


_SECRETS = ("secret", "appsecret", "password", "key")
"""Options that users expect and that do not exist: other users of the machine can see the arguments
of a process."""

STANDARD_OUTPUT = "-"
"""The sink that has standard output for itself."""


@click.group(context_settings=CONTEXT, cls=Group)
@click.option(
    lang.OPTION,
    type=click.Choice(lang.LANGUAGES),
    expose_value=False,  # it was read before, since messages about the arguments need it, too
    help="The language of help and messages.  [default: HARVESTER_LANG, else the language of the"
    " locale]",
)
@click.version_option(harvester.__version__, message="harvester %(version)s")
def cli() -> None:
    """Harvest years of WeChat datacube statistics, each record of each day exactly once.

    \b
    harvester demo                    try it without an account
    harvester init                    asks for yours, and writes the configuration
    harvester run users --appid wx… --start 2014-12-01 --end yesterday

    Exit status: 0 everything is harvested; 1 some windows failed permanently; 2 the arguments
    cannot be used, nothing was sent; 3 something must wait, and a message says until when; 4 the
    run stopped; 130 interrupted.  Run the same command again to resume.
    """  # noqa: D301  (the escape is meant: click keeps such a paragraph as it is)


appids_option = click.option(
    "--appid",
    "appids",
    metavar="ID",
    multiple=True,
    help="Only this account, given by AppID or by its name in --accounts; repeatable.",
)


def _text(spec: str | Secret) -> str:
    return spec.value if isinstance(spec, Secret) else spec


@cli.command(
    short_help="Harvest; run the same command again to resume.",
    epilog=PLACES,
)
@options_of("run")
def run(**values: Any) -> int:
    """Harvest ENDPOINT... from --start to --end; run the same command again to resume."""
    from harvester.cli.loop import uvloop_factory
    from harvester.cli.metrics import metrics_file
    from harvester.cli.session import OutputOptions, conclude, conduct

    called = click.get_current_context().obj
    called.as_json, called.aside = values["json"], STANDARD_OUTPUT in map(_text, values["sink"])
    screen.log_as(values["log_format"])
    asked.require(values)
    factory = uvloop_factory() if values["uvloop"] else None
    place = asked.place(values, quiet=True)
    scope, options = asked.scope(values, asked.accounts(values, place))
    sinks = place.sinks or open_sinks(place.lines)
    metrics = metrics_file(values, place)
    ledger = place.ledger(readonly=False)
    harvest = Harvest(scope, options, sinks, asked.library(values), ledger)

    async def begin(observe: Observer, stop: asyncio.Event) -> Report:
        return await harvest.run(observe if metrics is None else metrics.beside(observe), stop)

    notify_file(quiet=values["quiet"])
    names = [sink.identity for sink in sinks]
    places = [name for name in names if name != STANDARD_OUTPUT]
    where = ", ".join(places) if place.sinks else str(place.directory)
    aside = len(places) < len(names)
    manner = OutputOptions(values["json"], aside, values["quiet"])
    ending = conduct(begin, factory, quiet=values["quiet"])
    if metrics is not None:
        metrics.write(ending.report)
    tolerance = values["allow_failed"]
    allowed = tolerance.of(len(scope.accounts)) if tolerance is not None else None
    status = conclude(ending, where, manner, (scope.begin, scope.end), allowed)
    for note in ending.report.exported if not values["quiet"] and not ending.unread else ():
        notify(note, level="info")
    return COMPLETE if status == MUST_WAIT and values["waiting_ok"] else status


@cli.command(short_help="Show what run would do; nothing is sent.", epilog=PLACES)
@json_option
@options_of("plan")
def plan(**values: Any) -> int:
    """Show what `run` would do: calls, days of quota, hours.  It sends nothing, needs no secret."""
    from harvester.cli.plan import show_plan

    asked.require(values, account=False)
    appid, file = asked.chosen(values)
    if file is None:
        asked.refuse_only(values)
    place = asked.place(values, quiet=True)
    alone = [Account(appid or "wx", secret="-")]
    accounts = asked.accounts_in(values, file, place, secrets=False) if file else alone
    scope, options = asked.scope(values, accounts)
    if not place.sinks:
        open_sinks(place.lines)  # whether it can be made
    place.ledger()
    notify_file()
    return asyncio.run(show_plan(place, scope, options, time.time(), as_json=values["as_json"]))


@cli.command(short_help="Check each account: token, IP list, permissions, quota.")
@click.option(
    "--all",
    "everything",
    is_flag=True,
    help="Show every account, not only those that need attention.",
)
@json_option
@options_of("check")
def check(**values: Any) -> int:
    """Check what each account is allowed to do: token, IP allow list, permissions, quota.

    It sends one call per interface, and one more that requests the quota of the interface.  It
    stores nothing, and the ledger does not count these calls.  Without ENDPOINT it checks the
    interfaces that the ledger lists for the account, or those of the configuration.

    Exit status: 0 everything is usable; 1 something is not usable, or could not be checked; 2 wrong
    usage; 3 only a quota is used up; 4 no server answers.
    """
    from harvester.cli.check import Asked, show_check

    appid, file = asked.chosen(values)
    if not (appid or file):
        raise UsageError("no account was given; give {}", asked.ACCOUNT)
    typed = asked.typed("endpoint")
    given = asked.library(values)
    place = asked.place(values)
    wanted = Asked(
        asked.accounts(values, place),
        values["endpoint"] if typed else (),
        () if typed else values["endpoint"],
        given.pop("daily_quota"),
    )
    del given["ledger"]
    return show_check(
        place, wanted, given, as_json=values["as_json"], everything=values["everything"]
    )


@cli.command(short_help="Show totals, what needs attention, coverage and gaps.")
@appids_option
@click.option(
    "--endpoint",
    "names",
    metavar="NAME",
    multiple=True,
    help="Only this interface or group of interfaces, repeatable.",
)
@click.option(
    "--state",
    "states",
    type=click.Choice(STATES),
    multiple=True,
    help="Only interfaces with days in this state, repeatable.",
)
@click.option(
    "--check",
    is_flag=True,
    help="Exit with 1 if a requested day is missing, failed, or stale (due for over 26 hours).",
)
@click.option(
    "--missing",
    metavar="DAY",
    help=(
        "Show the accounts and interfaces that lack this day, with reason, first day and what to"
        " do; DAY is written as for --start."
    ),
)
@click.option(
    "--all",
    "everything",
    is_flag=True,
    help="With --missing: also show the accounts that need no action.",
)
@click.option("--csv", "as_csv", is_flag=True, help="With --missing: CSV for Excel.")
@json_option
@options_of("status")
def status(**values: Any) -> int:
    """Show what is harvested: totals, what needs attention and why, coverage and gaps.

    With --accounts FILE it shows the accounts that the file lists and does not disable.
    """
    from harvester.cli.missing import show_missing
    from harvester.cli.status import show_status

    form = _form(values)
    if values["accounts"] is None:
        asked.refuse_only(values)
    place = asked.place(values)
    appids = {
        *place.appids_of(values["appids"]),
        *_selected(place.listed or (), values["only"], values["accounts"]),
    }
    wanted = StatusFilter(appids, place.names_of(values["names"]), values["states"], place.enabled)
    check = values["check"]
    if (day := values["missing"]) is not None:
        everything = values["everything"]
        return asyncio.run(
            show_missing(place, day, wanted, form=form, check=check, everything=everything)
        )
    quota = values["daily_quota"]
    return asyncio.run(
        show_status(place, wanted, as_json=values["as_json"], check=check, daily_quota=quota)
    )


def _form(values: dict[str, Any]) -> str:
    if values["as_csv"] and values["missing"] is None:
        raise UsageError(
            "--csv requires --missing DAY; programs can read the whole status with --json"
        )
    if values["everything"] and values["missing"] is None:
        raise UsageError("--all requires --missing DAY")
    if values["as_csv"] and values["as_json"]:
        raise UsageError("give either --csv or --json")
    if values["missing"] is not None and values["states"]:
        raise UsageError("--missing shows every state of the day; remove --state")
    return "csv" if values["as_csv"] else "json" if values["as_json"] else "text"


def _selected(
    listed: Sequence[ListedAccount], only: Collection[str], file: Path | None
) -> set[str]:
    """The appids that --only selects; one that is disabled by its own appid or name alone."""
    if not only:
        return set()
    found = {
        each.appid
        for each in choose(listed, only, file)
        if each.enabled or not {each.appid, each.name}.isdisjoint(only)
    }
    if not found:
        raise UsageError(
            "in {} all of these are disabled: {}; to see a disabled account, give its name",
            file,
            ", ".join(only),
        )
    return found


@cli.command(short_help="Write a page that shows what is harvested.")
@click.option(
    "--html",
    metavar="FILE",
    type=FILE,
    default=Path("report.html"),
    show_default=True,
    help="Path of the page: a single file that works without a network.",
)
@click.option(
    "--no-curves",
    is_flag=True,
    help="Read only the ledger, and leave out readers, followers and articles.",
)
@click.option(
    "--lang",
    type=click.Choice(("zh", "en")),
    help="The language in which the page opens; the page contains both languages.  [default: the"
    " language of the command]",
)
@click.option(
    "--week", is_flag=True, help="Print the figures of the last week instead of writing the page."
)
@json_option
@known_sink_option
@options_of("report")
def report(**values: Any) -> int:
    """Write a page that shows what is harvested, what needs attention, and why.

    It reads the ledger, and the figures from the first sink that contains everything.  It sends
    nothing to WeChat, and can be used during a harvest.  With --accounts FILE it uses the account
    names in that file.
    """
    from harvester.cli.report import show_week, write_report

    if values["week"]:
        for name in ("html", "no_curves", "lang", "daily_quota"):
            if asked.typed(name):
                raise UsageError(
                    "--{} applies only to the page, not to --week; remove it",
                    name.replace("_", "-"),
                )
        week = show_week(asked.place(values), time.time(), as_json=values["as_json"])
        return asyncio.run(week)
    if values["as_json"]:
        raise UsageError("--json requires --week")
    return asyncio.run(
        write_report(
            asked.place(values),
            values["html"],
            values["lang"] or lang.language(),
            time.time(),
            curves=not values["no_curves"],
            daily_quota=values["daily_quota"],
        )
    )


@cli.command(short_help="Compare the stored records with the ledger.")
@known_sink_option
@json_option
@options_of("verify")
def verify(**values: Any) -> int:
    """Read the stored records and compare them with the ledger; status 1 if they differ."""
    from harvester.cli.verify import show_verification

    return asyncio.run(show_verification(asked.place(values), as_json=values["as_json"]))


@cli.command(short_help="Make a new ledger from the stored records.")
@sink_option(
    "A sink that runs have written to, repeatable.  [default: the sinks that the damaged ledger"
    " still names, or the JSON lines in --out]"
)
@options_of("rebuild")
def rebuild(**values: Any) -> int:
    """Make a new ledger from the stored records, to replace one that is damaged or lost.

    Nothing is sent. The former ledger is kept beside the new one, as ledger.sqlite.former. What the
    records do not show is lost: empty days, failures, today's calls. The next run again requests
    empty and failed days, windows that might be incomplete or not final, and windows that differ
    between the sinks or from the former ledger.
    """
    from harvester.cli.rebuild import show_rebuilding

    return asyncio.run(show_rebuilding(asked.place(values), time.time()))


@cli.command(short_help="Export the stored records as tables for readers.")
@click.argument(
    "targets",
    nargs=-1,
    required=True,
    metavar="TARGET...",
    type=click.UNPROCESSED,
)
@click.option(
    "--endpoint",
    "endpoints",
    multiple=True,
    metavar="NAME",
    help="Only this interface or group, repeatable.",
)
@click.option(
    "--from",
    "source",
    metavar="SPEC",
    type=click.UNPROCESSED,
    help="The sink to export, if the ledger has several: its spec or path.  Without a ledger: any"
    " sink.",
)
@click.option("--start", "first", metavar="DATE", help="First day, in the same form as for run.")
@click.option("--end", "last", metavar="DATE", help="Last day, included.")
@appids_option
@click.option(
    "--replace", is_flag=True, help="Replace a target even if it was made from another harvest."
)
@click.option(
    "--check", is_flag=True, help="Change nothing; exit with 1 if a target differs from the sink."
)
@options_of("export")
def export(**values: Any) -> int:
    """Make each TARGET equal to the stored records; unchanged parts are not written again.

    \b
    parquet:DIR            one file per table and month; parquet:s3://BUCKET/PREFIX
    csv:DIR                one file per table, for Excel
    xlsx:FILE              one sheet per table
    duckdb:FILE            a file with all tables

    \b
    ?shape=nested|flat     lists within a row, or in their own tables
    ?header=zh|en          csv, xlsx: titles instead of field names
    ?lang=zh|en            language of the labels of codes
    ?tables=A,B            only these tables
    ?raw=1                 csv, xlsx: texts that look like a formula are not escaped

    With --accounts FILE a flat target has a table of the accounts: appid, name and group.  A target
    that was made with other limits (--start, --end, --appid) or other tables is rewritten.

    Exit status: 0 each target equals the sink; 1 with --check, if a target differs; 2 wrong usage;
    4 a target cannot be written.
    """  # noqa: D301  (the escape is meant: click keeps such a paragraph as it is)
    from harvester.exports.targets import open_target

    targets = [open_target(spec) for spec in values["targets"]]  # it says which library it needs
    from harvester.cli.export import show_exporting
    from harvester.cli.signals import heeding
    from harvester.reading import limits_of, sink_at

    source = values["source"]
    place = asked.place(values, sinks=[sink_at(source)] if source else ())
    # Not "start" and "end": a configuration has them for runs, and they limit no export.
    limits = limits_of(values["first"], values["last"], place.appids_of(values["appids"]) or None)
    names = [each.name for each in place.interfaces(values["endpoints"])]
    return heeding(
        show_exporting(
            place,
            targets,
            names,
            limits=limits,
            replace=values["replace"],
            check=values["check"],
        )
    )


@cli.command(short_help="Answer an MCP client about what is stored.")
@click.option(
    "--from",
    "source",
    metavar="SPEC",
    type=click.UNPROCESSED,
    help="The sink to read, if the ledger has several.  Without a ledger: any sink.",
)
@options_of("mcp")
def mcp(**values: Any) -> int:
    """Answer the questions of an MCP client about what is stored, on standard input and output.

    The MCP client starts this command itself.  The command reads the stored records, changes
    nothing and sends nothing to WeChat; it can be used during a harvest.  With --accounts FILE it
    uses the account names in that file.
    """
    import harvester.mcp.server as _server  # first, since its extra brings what the others need
    from harvester.cli.mcp import serve_answers

    del _server
    source = values["source"]
    place = asked.place(values, sinks=open_sinks(source) if source else ())
    place.ledger()  # a mistake in it is reported at once
    return serve_answers(place)


@cli.group(short_help="List, add or remove the sinks of a ledger.")
def sink() -> None:
    """List, add or remove the sinks of a ledger: the places where its runs store the records.

    The first run makes the list; a later run with other sinks is refused.
    """


def _spec(_: click.Context, __: click.Parameter, given: str) -> Secret:
    return Secret(given)  # it may hold a password


spec_argument = click.argument("spec", type=click.UNPROCESSED, callback=_spec)


@sink.command("list", short_help="List the sinks.")
@options_of("sink")
def list_sinks(**values: Any) -> int:
    """List the sinks, one per line."""
    from harvester.cli.sink import show_sinks

    return asyncio.run(show_sinks(asked.place(values)))


@sink.command("add", short_help="Copy the stored records into a new sink.")
@spec_argument
@known_sink_option
@options_of("sink")
def add_sink(spec: Secret, **values: Any) -> int:
    """Copy the stored records into the sink SPEC, and add it to the list; nothing is sent.

    It is refused while a run uses the ledger.  If it is interrupted, run the same command again.
    """
    from harvester.cli.sink import show_adding

    [made] = open_sinks([spec])
    return asyncio.run(show_adding(asked.place(values), made))


@sink.command("remove", short_help="Remove a sink from the list.")
@spec_argument
@options_of("sink")
def remove_sink(spec: Secret, **values: Any) -> int:
    """Remove the sink SPEC from the list; the records in it are kept.

    It is refused while a run uses the ledger.
    """
    from harvester.cli.sink import show_removal

    [made] = open_sinks([spec])
    return asyncio.run(show_removal(asked.place(values), made))


@cli.command(short_help="Remove an account, or one of its interfaces, permanently.")
@click.option("--appid", "whom", metavar="ID", required=True, help="The account.")
@click.option(
    "--endpoint",
    "names",
    metavar="NAME",
    multiple=True,
    help="Only this interface or group of interfaces of the account, repeatable.",
)
@click.option(
    "--yes",
    is_flag=True,
    help="Remove the data; without this option the command only shows what it would remove.",
)
@known_sink_option
@options_of("forget")
def forget(whom: str, names: tuple[str, ...], *, yes: bool, **values: Any) -> int:
    """Remove an account, or one of its interfaces, from the ledger and all sinks of the ledger.

    Without --yes it only shows what it would remove, and exits with 2.  It is refused while a run
    uses the ledger.  If it is interrupted, run the same command again.  Exports drop the rows when
    they are next updated; an accounts file is not changed.
    """
    from harvester.cli.forget import show_forgetting, show_what_would_go

    place = asked.place(values)
    show = show_forgetting if yes else show_what_would_go
    return asyncio.run(show(place, whom, place.names_of(names)))


@cli.command(short_help="List the interfaces, or describe one.")
@click.argument("name", required=False)
@json_option
@options_of("endpoints")
def endpoints(name: str | None, *, as_json: bool) -> int:
    """List all interfaces or those of a group, or describe one interface."""
    from harvester.cli.endpoints import show

    return show(name, asked.own_interfaces(), now=time.time(), as_json=as_json)


@cli.command(short_help="Run as a service: harvest each day, and show the results.")
@click.option(
    "--config",
    metavar="FILE",
    envvar="HARVESTER_CONFIG",
    type=FILE,
    show_default=f"./{DEFAULT_FILE}",
    help="TOML file with the options of run, and with the table [serve].",
)
@click.option(
    "--log-format",
    type=click.Choice(("text", "json")),
    help="Format of messages: text, or json (one object per line).  [default: from the file, else"
    " text]",
)
def serve(config: Path | None, log_format: str | None) -> int:
    """Harvest each day at the configured time in China, until it is stopped.

    \b
    [serve]
    at = "08:05"                  China time, 08:00 or later
    listen = "127.0.0.1:8605"     /, /status.json, /metrics, /healthz, /readyz
    alerts = ["env:ALERT_URL"]    Apprise URLs for digests and alerts
    ping = "env:PING_URL"         GET after each successful day
    token = "env:TOKEN"           for the pages; required if other machines can connect
    stale_after = "26h"
    lang = "zh"                   or en

    SIGTERM stops it in an orderly way; SIGHUP reloads the file and the accounts.
    """  # noqa: D301  (the escape is meant: click keeps such a paragraph as it is)
    from harvester.cli.serve import serve as start

    screen.log_as(log_format or read_config(config).get("log_format", "text"))
    for problem in unknown_variables(os.environ):
        notify(problem)
    return start(config, lang.language())


@cli.command(short_help="Ask for an account, and write the configuration.")
def init() -> int:
    """Ask for one or more accounts and what to harvest, and write the configuration.

    It first checks the accounts as `check` does.  Even if a check failed, it then writes
    harvester.toml, accounts.toml and, for each account, a file with its AppSecret into this
    directory.  Only you can read the files with an AppSecret; no file is overwritten.  Without a
    terminal, each line of standard input is one answer; an empty line means the default.

    Exit status: that of the check; 2 if an answer is missing or cannot be used: nothing is written.
    """
    from harvester.cli.init import init as ask

    return ask()


@cli.command(short_help="Serve a simulated WeChat.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8765,
    show_default=True,
    help="0 chooses a free port.",
)
def simulate(port: int) -> int:
    """Serve a simulated WeChat on loopback, until it is interrupted."""
    from harvester.cli.simulate import simulate as serve

    return asyncio.run(serve(port))


@cli.command(short_help="Run a harvest against a simulated WeChat.")
@click.option(
    "--out",
    metavar="DIR",
    type=FILE,
    default=Path("harvest-demo"),
    show_default=True,
    help="Directory of the harvest.",
)
def demo(out: Path) -> int:
    """Run a complete harvest against a simulated WeChat: one year of two accounts."""
    from harvester.cli.simulate import demo as start

    return start(out)
