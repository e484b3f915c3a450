"""The parts of the reference that are made from the code: the command, options, error codes.

Rule: the code declares, and this module lays out.  What they do not say is in tables of words,
and a key without words ends the build.

Each function returns Markdown in one of the two languages.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from datetime import date, time
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import click

from harvester.base.dates import ONE_DAY, last_whole_day
from harvester.cli import language
from harvester.cli.commands import cli, invoke
from harvester.config import accounts, files, interfaces, service
from harvester.config.settings import FLAG, KEYWORDS, OPTIONS, REQUIRED, Option
from harvester.engine.attempt import EQUAL_REFUSALS
from harvester.model import Action, Endpoint
from harvester.wechat import codes, response
from harvester.wechat.endpoint import TYPES
from harvester.wechat.interfaces import INTERFACES
from harvester.wechat.late import AGAIN, AT_LEAST, EMPTY_AGAIN, has_last_entry
from harvester.wechat.publisher import PUBLISHER_ERRORS
from harvester.wechat.response import Rule


def _chinese(text: str) -> str:
    """A text of the command in Chinese, from its catalogue."""
    language.choose("zh")
    try:
        return language.label(text)
    finally:
        language.choose("en")


class _Words(NamedTuple):
    """A text in both languages."""

    english: str
    chinese: str

    def __call__(self, chinese: bool) -> str:
        return self.chinese if chinese else self.english


# the command


def command(*, chinese: bool) -> str:
    """The ``--help`` of each command."""
    pages = [_help_of((), "harvester", 2, chinese)]
    pages += [
        _help_of(path, " ".join(("harvester", *path)), 1 + len(path), chinese)
        for path in sorted(_commands(cli))
    ]
    return "\n\n".join(pages)


def _commands(group: click.Group, *path: str) -> Iterator[tuple[str, ...]]:
    for name, each in group.commands.items():
        yield (*path, name)
        if isinstance(each, click.Group):
            yield from _commands(each, *path, name)


def _help_of(path: Sequence[str], title: str, level: int, chinese: bool) -> str:
    printed = io.StringIO()
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "82"
    try:
        with redirect_stdout(printed):
            invoke(["--lang", "zh" if chinese else "en", *path, "--help"])
    finally:
        language.choose("en")
        del os.environ["COLUMNS"]
        if before is not None:
            os.environ["COLUMNS"] = before
    return f"{'#' * level} {title}\n\n```text\n{printed.getvalue().strip()}\n```"


# options


_OPTION_WORDS = {
    "variable": _Words("variable", "环境变量"),
    "default": _Words("default", "默认"),
    "needed": _Words("must be given", "必填"),
    "commands": _Words("commands", "命令"),
    "library": _Words("`run`, `stream`", "`run`、`stream`"),
    "expected": _Words("value", "取值"),
}


def options(*, chinese: bool) -> str:
    """Each option: its key in a file, its variable, its default, what takes it."""
    return "\n\n".join(_option(name, option, chinese) for name, option in OPTIONS.items())


def _option(name: str, option: Option, chinese: bool) -> str:
    says = {key: words(chinese) for key, words in _OPTION_WORDS.items()}
    colon, comma, before, after = "：、（）" if chinese else (": ", ", ", " (", ")")
    rows = []
    text = " ".join(option.help.split())
    text = _chinese(option.help) if chinese else text
    if option.commands:
        rows.append(f"TOML `{files.dashed(name)}`")
        rows.append(f"{says['variable']} `HARVESTER_{name.upper()}`")
        typed = "ENDPOINT..." if name == "endpoint" else f"--{files.dashed(name)}"
        metavar = (
            ""
            if option.kind is FLAG or name == "endpoint"
            else option.metavar or option.kind.metavar
        )
        taking = comma.join(option.commands)
        shown = f"{typed} {metavar}".strip()
        rows.append(f"{says['commands']}{colon}`{shown}`{before}{taking}{after}")
    if name in KEYWORDS:
        rows.append(f"{says['library']}{colon}`{name}=`")
    if option.default is REQUIRED:
        rows.append(says["needed"])
    elif option.default not in (None, (), False):
        rows.append(f"{says['default']}{colon}`{option.default}`")
    listed = "\n".join(f"- {row}" for row in rows)
    return f"### {name if not option.commands else files.dashed(name)}\n\n{text}\n\n{listed}"


_VARIABLES: Mapping[str, _Words] = {
    "HARVESTER_CONFIG": _Words("the file of `--config`", "`--config` 的文件"),
    "HARVESTER_LANG": _Words(
        "the language of the command, `zh` or `en`", "命令的语言，`zh` 或 `en`"
    ),
    "HARVESTER_REDIS_PASSWORD": _Words(
        "the password of `--token-store redis://…`", "`--token-store redis://…` 的密码"
    ),
    "HARVESTER_SECRET": _Words("the AppSecret of `--appid`", "`--appid` 的 AppSecret"),
}


def variables(*, chinese: bool) -> str:
    """The variables that are no options."""
    head = ("环境变量", "含义") if chinese else ("variable", "meaning")
    return _table(head, [(f"`{name}`", _VARIABLES[name](chinese)) for name in files._VARIABLES])


def service_keys(*, chinese: bool) -> str:
    """The keys of ``[serve]``."""
    defaults = service.ServiceOptions()
    rows = [
        (f"`{key}`", _shown(getattr(defaults, key), chinese), _SERVICE[key](chinese))
        for key in service._READ
    ]
    return _table(("键", "默认", "含义") if chinese else ("key", "default", "meaning"), rows)


def _shown(value: object, chinese: bool) -> str:
    if isinstance(value, float):
        return f'`"{value / 3600:.0f}h"`'
    text = value.strftime("%H:%M") if isinstance(value, time) else str(value)
    return f'`"{text}"`' if value else ("无" if chinese else "none")


_SERVICE: Mapping[str, _Words] = {
    "at": _Words("the time in China of the day's harvest", "每天采集的北京时间"),
    "listen": _Words("where the pages are served", "页面的监听地址"),
    "stale_after": _Words(
        "missing figures are an alert once they have been due for longer than this less 24 h",
        "数据应到未到的时间超过此值减去 24 小时，就告警",
    ),
    "alerts": _Words(
        "references to Apprise URLs, for digests and alerts", "Apprise URL 的引用，用于日报和告警"
    ),
    "ping": _Words(
        "reference to a URL that is requested after each good day",
        "URL 的引用，每个成功的日子之后请求一次",
    ),
    "token": _Words(
        "reference to the token of the pages; needed beyond this machine",
        "页面 token 的引用；监听本机以外的地址时必填",
    ),
    "url": _Words(
        "the address of the page as people reach it, for messages",
        "页面的访问地址，写在消息中",
    ),
    "lang": _Words(
        "the language of page and messages, `zh` or `en`; else that of the command",
        "页面和消息的语言，`zh` 或 `en`；不写则与命令相同",
    ),
}


def account_keys(*, chinese: bool) -> str:
    """The keys of ``[[account]]``, which are also the columns of a CSV file."""
    return _keys(accounts.ACCOUNT_KEYS, _ACCOUNT, chinese)


def platform_keys(*, chinese: bool) -> str:
    """The keys of ``[[platform]]``."""
    return _keys(accounts.PLATFORM_KEYS, _PLATFORM, chinese)


def interface_keys(*, chinese: bool) -> str:
    """The keys of ``[[interface]]``."""
    return _keys(interfaces._ENDPOINT, _INTERFACE, chinese)


def field_keys(*, chinese: bool) -> str:
    """The keys of an entry of ``fields`` of an interface."""
    return _keys(interfaces._FIELD, _FIELD, chinese)


def _keys(names: Iterable[str], words: Mapping[str, _Words], chinese: bool) -> str:
    head = ("键", "含义") if chinese else ("key", "meaning")
    return _table(head, [(f"`{name}`", words[name](chinese)) for name in names])


_ACCOUNT: Mapping[str, _Words] = {
    "appid": _Words("the AppID; must be given", "AppID，必填"),
    "name": _Words("a name that is shown beside the AppID", "显示在 AppID 旁边的名称"),
    "group": _Words("a group, for `--only`", "分组，供 `--only` 使用"),
    "enabled": _Words("`false`: the account is left out", "`false`：不采集这个账号"),
    "secret": _Words(
        "reference to the AppSecret: `env:NAME` or `file:PATH`",
        "AppSecret 的引用：`env:NAME` 或 `file:PATH`",
    ),
    "token": _Words(
        "where the token comes from: `stable` (default), `classic`, `cloud`, `cloudbase`,"
        " `command:…`, `https://…`, `static:…`",
        "token 的来源：`stable`（默认）、`classic`、`cloud`、`cloudbase`、`command:…`、"
        "`https://…`、`static:…`",
    ),
    "token_header": _Words(
        "reference to the header `Authorization` for a token from `https://…`",
        "从 `https://…` 取 token 时 `Authorization` 请求头的引用",
    ),
    "platform": _Words(
        "name of the third-party platform that the account has authorised",
        "账号所授权的第三方平台的名称",
    ),
    "refresh_token": _Words(
        "`file:PATH` of the refresh token that the platform has for the account",
        "平台为该账号保存的 refresh token：`file:PATH`",
    ),
    "concurrency": _Words(
        "requests in flight for this account, at most", "该账号同时进行的请求数上限"
    ),
}
_PLATFORM: Mapping[str, _Words] = {
    "name": _Words(
        "the name that accounts refer to; else the AppID", "账号引用的名称；不写则为 AppID"
    ),
    "appid": _Words("the AppID of the platform; must be given", "平台的 AppID，必填"),
    "secret": _Words(
        "reference to the secret of the platform; must be given", "平台密钥的引用，必填"
    ),
    "ticket": _Words(
        "`file:PATH` of the ticket that WeChat pushes; must be given",
        "微信推送的 ticket 所在的文件：`file:PATH`，必填",
    ),
}
_INTERFACE: Mapping[str, _Words] = {
    "name": _Words("the name; must be given", "名称，必填"),
    "path": _Words("the path below the base URL; must be given", "base URL 之后的路径，必填"),
    "first_day": _Words("the first day that has figures; must be given", "最早有数据的日期，必填"),
    "span": _Words("days of a call, at most; default 1", "每次调用最多的天数；默认 1"),
    "cut": _Words(
        "how days are cut: " + ", ".join(f"`{each}`" for each in interfaces._CUTS),
        "怎样划分日期：" + "、".join(f"`{each}`" for each in interfaces._CUTS),
    ),
    "dates": _Words(
        "how a day is written: " + ", ".join(f"`{each}`" for each in interfaces._DATES),
        "日期的写法：" + "、".join(f"`{each}`" for each in interfaces._DATES),
    ),
    "begin_key": _Words("the name of the first day in the request", "请求中开始日期的字段名"),
    "end_key": _Words(
        "the name of the last day; equal to `begin_key`: one date is sent",
        "请求中结束日期的字段名；与 `begin_key` 相同时只发送一个日期",
    ),
    "body": _Words("more fields of the request", "请求的其他字段"),
    "group": _Words("the group that it belongs to", "所属的组"),
    "settled_hour": _Words(
        "hour in China from which on the figures of the day before are there; default 8",
        "从北京时间几点起有前一天的数据；默认 8",
    ),
    "late_days": _Words("days for which figures can still change", "数据在多少天内仍可能变化"),
    "daily": _Words("`true`: it delivers one row per day", "`true`：每天一行"),
    "rows": _Words(
        "the field with the records; empty: the whole answer is one",
        "记录所在的字段；为空时整个返回就是一条记录",
    ),
    "lifts": _Words(
        "fields beside `rows` that belong to each record", "与 `rows` 并列、属于每条记录的字段"
    ),
    "day_field": _Words("the field that names the day of a record", "记录中表示日期的字段"),
    "key": _Words("the fields that identify a record of an account", "标识账号一条记录的字段"),
    "title": _Words("one line about it", "一行说明"),
    "fields": _Words(
        "the fields of a record, a table each (below)", "记录的字段，每个一张表（见下）"
    ),
    "asks_first_day": _Words(
        "`true`: the request names only the first day", "`true`：请求中只写第一天"
    ),
    "retired": _Words(
        "`true`: WeChat has retired it; only its own name requests it",
        "`true`：微信已下线；只有写出它的名称才会请求",
    ),
    "successors": _Words("the interfaces that replace it", "替代它的接口"),
    "permission_set": _Words(
        "the permission set that a third-party platform needs", "第三方平台所需的权限集"
    ),
    "cloud_call": _Words("its name in cloud functions", "在云函数中的名称"),
    "page": _Words("WeChat's own page about it", "微信的文档页面"),
    "publisher": _Words(
        "`true`: an action of `/publisher/stat`", "`true`：`/publisher/stat` 的一个 action"
    ),
    "dated": _Words(
        "of the publisher: `false` if it takes no days", "流量主接口：不接受日期时写 `false`"
    ),
}
_FIELD: Mapping[str, _Words] = {
    "name": _Words("the name; must be given", "名称，必填"),
    "type": _Words(
        "the type: " + ", ".join(f"`{each}`" for each in TYPES) + "; must be given",
        "类型：" + "、".join(f"`{each}`" for each in TYPES) + "，必填",
    ),
    "meaning": _Words("what it means", "含义"),
    "fields": _Words("the fields within an object or a list", "对象或列表之内的字段"),
    "item": _Words("the type of the items of a list", "列表元素的类型"),
}


# what an interface costs


_EVERY_DAY = date(2026, 1, 1)
"""The first of the days on which calls are counted: two years of them."""


def calls_a_day(endpoint: Endpoint) -> tuple[int, int]:
    """The least and the most calls of a daily run of an account that lacks nothing.

    A window is requested on the day after its last one; if its figures change, on that and the days
    that follow, ``late_days`` of them.
    """
    counted = []
    for number in range(731):
        last = _EVERY_DAY + number * ONE_DAY
        ends = [last - back * ONE_DAY for back in range(max(endpoint.late_days, 1))]
        counted.append(sum(last_whole_day(end, endpoint.cut) == end for end in ends))
    return min(counted), max(counted)


def costs(*, chinese: bool) -> str:
    """The calls of a day: of each kind of interface, and of each that takes more than two."""
    found = {each.name: calls_a_day(each) for each in INTERFACES.values()}
    dear = sorted([name for name, calls in found.items() if calls[1] > 2], key=found.__getitem__)
    never = _COSTS["never"](chinese)
    rows = [
        (_COSTS["daily"](chinese), "1"),
        (_COSTS["ended"](chinese), f"{1 + len(AGAIN)}"),
        (_COSTS["no row"](chinese), f"{1 + AT_LEAST}"),
        (_COSTS["record"](chinese), "1"),
        (_COSTS["empty"](chinese), f"{1 + len(EMPTY_AGAIN)}"),
    ]
    for name in reversed(dear):
        least, most = found[name]
        says = _COSTS["changes"](chinese).format(name=name, days=INTERFACES[name].late_days)
        rows.append((says, f"{least}" if least == most else f"{least}–{most}"))
        if not has_last_entry(INTERFACES[name], [{}], date.min):
            rows.append((never, f"{most + len(AGAIN)}"))
    return _table(("", _COSTS["calls"](chinese)), rows)


_COSTS: Mapping[str, _Words] = {
    "calls": _Words("calls a day", "每天的调用"),
    "daily": _Words("`getusercumulate` has a row for each day", "`getusercumulate` 每天都有一行"),
    "ended": _Words("… had rows, and delivers none any more", "…曾有数据，之后不再返回"),
    "no row": _Words("… has never had a row", "…从来没有数据"),
    "record": _Words(
        "an interface that guarantees no rows, with a record each day",
        "不保证有数据的接口，每天有记录",
    ),
    "empty": _Words("… whose days are all empty", "…每天都为空"),
    "changes": _Words(
        "`{name}`, whose figures change for {days} days", "`{name}`，数据在 {days} 天内仍会变化"
    ),
    "never": _Words("… and never gets the last entry", "…始终没有最后一天的条目"),
}


# error codes


class _Step(NamedTuple):
    """What harvester does after an answer, and what the user does if the code says nothing."""

    data: _Words
    token: _Words
    user: _Words


_FAILS = _Words(
    "the window fails, and the run ends with status 1. The next run requests it again",
    "该窗口失败，运行以退出码 1 结束；下次运行再次请求",
)
_REFUSED = _Words(
    f"{_FAILS.english}. After {EQUAL_REFUSALS} such windows in a row the interface of this account"
    " stops for this run",
    f"{_FAILS.chinese}；连续 {EQUAL_REFUSALS} 个窗口如此，该账号的这个接口在本次运行中停止",
)
_STOPS = _Words(
    "the account stops for this run. The others continue, and the run ends with status 1 (4 if all"
    " accounts stopped)",
    "该账号在本次运行中停止，其他账号继续；运行以退出码 1 结束（所有账号都停止则为 4）",
)
_ENDPOINT = _Words(
    "this interface of this account stops for this run. Everything else continues, and the run ends"
    " with status 1",
    "该账号的这个接口在本次运行中停止，其余继续；运行以退出码 1 结束",
)
_LATER = _Words(
    "run again at the time shown, or use `--wait`", "到提示的时间再运行，或加上 `--wait`"
)
_LEAVE = _Words(
    "leave the interface out; `harvester endpoints NAME` names its successors",
    "不再采集这个接口；`harvester endpoints NAME` 会列出替代接口",
)
_SEE = _Words("see the account's console", "请登录公众平台查看")

STEPS: Mapping[Action, _Step] = {
    Action.RETRY: _Step(
        _Words(
            "the request is sent again after a growing pause, up to `--attempts` times; then",
            "间隔逐渐加长地再次请求，最多 `--attempts` 次；之后",
        ),
        _Words(
            "the token is requested again after a growing pause, up to `--attempts` times; then",
            "间隔逐渐加长地再次获取 token，最多 `--attempts` 次；之后",
        ),
        _Words("nothing. If it persists, run again later", "无需处理；如果一直如此，稍后再运行"),
    ),
    Action.SLOW_DOWN: _Step(
        _Words(
            "the account pauses until the next minute, then sends more slowly, up to `--attempts`"
            " times; then",
            "该账号暂停到下一分钟，再以较低的频率请求，最多 `--attempts` 次；之后",
        ),
        _Words(
            "the token is requested again in the next minute, up to `--attempts` times; then",
            "下一分钟再次获取 token，最多 `--attempts` 次；之后",
        ),
        _Words(
            "nothing. If it happens often, lower `--rate`",
            "无需处理；如果经常出现，请降低 `--rate`",
        ),
    ),
    Action.RENEW_TOKEN: _Step(
        _Words(
            "one new token is fetched, and the request is sent again. If new tokens are refused"
            " too, the account stops, or the interface if it alone refuses them",
            "获取一个新的 token 并再次请求；如果新的也被拒绝，停止该账号；"
            "只有一个接口拒绝时停止这个接口",
        ),
        _Words(
            "the platform's own token is fetched anew, and the account's token is requested again",
            "重新获取平台自己的 token，再次获取账号的 token",
        ),
        _Words(
            "nothing. If it happens often, another program fetches tokens of the account: share"
            " them by `--token-store`",
            "无需处理；如果经常出现，说明其他程序也在获取该账号的 token：请用 `--token-store` 共用",
        ),
    ),
    Action.QUOTA: _Step(
        _Words(
            "this interface of this account waits until midnight in China; one call per hour tries"
            " whether it is open again. Everything else continues, and the run ends with status 3",
            "该账号的这个接口等到北京时间零点，每小时用一次调用试探是否恢复；"
            "其余继续，运行以退出码 3 结束",
        ),
        _Words(
            "the account waits until midnight in China. The others continue, and the run ends with"
            " status 3",
            "该账号等到北京时间零点，其他账号继续；运行以退出码 3 结束",
        ),
        _LATER,
    ),
    Action.NOT_READY: _Step(
        _Words(
            "the window waits for half an hour. Everything else continues, and the run ends with"
            " status 3",
            "该窗口等待半小时，其余继续；运行以退出码 3 结束",
        ),
        _Words(
            "the token is requested again after 5 to 60 seconds, until WeChat has pushed a new"
            " ticket",
            "每隔 5 至 60 秒再次获取 token，直到微信推送新的 ticket",
        ),
        _LATER,
    ),
    Action.FAIL_WINDOW: _Step(
        _REFUSED,
        _STOPS,
        _Words(
            "run again. If it stays, report it with the request id (`rid`)",
            "再次运行；如果仍然如此，请连同请求 id（`rid`）一起反馈",
        ),
    ),
    Action.NO_PERMISSION: _Step(
        _Words(
            f"{_ENDPOINT.english}. If all interfaces of the account answer so, the account stops",
            f"{_ENDPOINT.chinese}；如果该账号的所有接口都这样返回，停止该账号",
        ),
        _STOPS,
        _LEAVE,
    ),
    Action.STOP_ENDPOINT: _Step(_ENDPOINT, _STOPS, _LEAVE),
    Action.STOP_ACCOUNT: _Step(_STOPS, _STOPS, _SEE),
}
"""Of each action that an error code can have."""

_REQUESTS: Sequence[tuple[_Words, Mapping[int, Rule], bool]] = (
    (_Words("data", "数据"), codes.ERRORS, False),
    (_Words("data of the publisher", "流量主数据"), PUBLISHER_ERRORS, False),
    (_Words("token", "token"), codes.TOKEN_ERRORS, True),
    (_Words("token of a platform", "平台的 token"), codes.COMPONENT_ERRORS, True),
    (
        _Words("token of an account of a platform", "平台所属账号的 token"),
        codes.AUTHORIZER_ERRORS,
        True,
    ),
)
"""Each kind of request, with its table, and whether it asks for a token."""


MANY = 10
"""Codes in a row with the same meaning that are told together.  Of fewer each has a title of its
own, which the search finds: it knows no numbers within a text."""


def error_codes(*, chinese: bool) -> str:
    """Each error code: what it means, what harvester does, and what the user does."""
    known = sorted({code for _, table, _ in _REQUESTS for code in table}, key=abs)
    parts = []
    for text, alike in groupby(known, lambda code: _code(code, chinese)):
        same = list(alike)
        many = len(same) >= MANY and same[-1] - same[0] == len(same) - 1
        titles = [f"{same[0]} … {same[-1]}"] if many else map(str, same)
        parts += [f"### {title}\n\n{text}" for title in titles]
    return "\n\n".join(parts)


def _code(code: int, chinese: bool) -> str:
    """What is said of a code, a paragraph for each meaning."""
    told: dict[str, list[str]] = {}
    for request, table, token in _REQUESTS:
        if code in table:
            told.setdefault(_rule(table[code], token, chinese), []).append(request(chinese))
    paragraphs = []
    for text, requests in told.items():
        opening = ("请求：" if chinese else "Request: ") + ("、" if chinese else ", ").join(
            requests
        )
        paragraphs.append(f"*{opening}*\n\n{text}")
    return "\n\n".join(paragraphs)


def _rule(rule: Rule, token: bool, chinese: bool) -> str:
    sign = "；" if chinese else "; "
    advice = _chinese(rule.advice) if chinese else rule.advice
    meaning, _, remedy = advice.partition(sign)
    does = _does(rule, token, chinese)
    user = remedy or STEPS[rule.action].user(chinese)
    rows = (
        [("含义", meaning), ("harvester 的处理", does), ("你要做的", user)]
        if chinese
        else [("Meaning", meaning), ("harvester", does), ("You", user)]
    )
    return "\n".join(
        f"- {name}：{text}。" if chinese else f"- {name}: {text}." for name, text in rows
    )


def _does(rule: Rule, token: bool, chinese: bool) -> str:
    """What harvester does; what it does at the end, of an action that tries again."""
    step = STEPS[rule.action]
    text = (step.token if token else step.data)(chinese)
    if rule.action not in (Action.RETRY, Action.SLOW_DOWN):
        return text
    end = STEPS[rule.then] if rule.then else STEPS[Action.STOP_ACCOUNT] if token else None
    last = _FAILS if end is None else end.token if token else end.data
    return text + ("" if chinese else " ") + last(chinese)


def http_statuses(*, chinese: bool) -> str:
    """What to do after an HTTP status that is not 200."""
    head = ("HTTP 状态", "含义和处理") if chinese else ("HTTP status", "meaning, and what to do")
    rows = [
        (str(status), _chinese(advice) if chinese else advice)
        for status, advice in response._HTTP_ADVICE.items()
    ]
    return _table(head, rows)


# docstrings


_ENTRY = re.compile(r"((?:\*{0,2}[A-Za-z_]\w*)(?:, \*{0,2}[A-Za-z_]\w*)*): (?=\S)")
"""The beginning of a line that describes arguments or fields: ``begin, end: the days``."""
_WITHIN = re.compile(r"(?<=\.)  (?=\*{0,2}[a-z_]\w*(?:, \*{0,2}[a-z_]\w*)*: )")
"""What is before such a description within a line."""
_LITERAL = re.compile(r"(``.*?``)")
_SCHEME = re.compile(r"(?<![`\w])(file):(?=\w)")
"""What would become a link, and is a spec."""


def as_rst(lines: Sequence[str]) -> list[str]:
    """A docstring of the house style as reStructuredText.

    ``name: …`` at the beginning of a line, or behind a sentence, begins an item of a list, with
    the lines that follow it; an indented block after an empty line stays as it is.
    """
    made: list[str] = []
    literal = False
    for block in _blocks(lines):
        if block[0].startswith(" "):
            if not literal and not made[-2:][0].endswith("::"):
                made += ["::", ""]
            made += [*block, ""]
            literal = True
            continue
        item = literal = False
        for written in _WITHIN.sub("\n", "\n".join(block)).split("\n"):
            parts = _LITERAL.split(written)
            parts[::2] = [_SCHEME.sub(r"\1\\:", each) for each in parts[::2]]
            line = "".join(parts)
            text = line.strip()
            if found := _ENTRY.match(line):
                if not item and made and made[-1]:
                    made.append("")
                made.append(f"* **{found[1]}**: {text[found.end() :]}".replace("***", "**"))
                item = True
            else:
                made.append(f"  {text}" if item else text)
        made.append("")
    return made


def _blocks(lines: Sequence[str]) -> Iterator[list[str]]:
    """The parts of a docstring between empty lines."""
    block: list[str] = []
    for line in [*lines, ""]:
        if line.strip():
            block.append(line.rstrip())
        elif block:
            yield block
            block = []


# what README has, too


def _readme(start: str, end: str, chinese: bool) -> str:
    """The part of README between two patterns, without links: from here they lead elsewhere."""
    name = "README.zh-CN.md" if chinese else "README.md"
    text = (Path(__file__).parents[1] / name).read_text(encoding="utf-8")
    found = re.search(f"{start}.*?(?={end})", text, re.MULTILINE | re.DOTALL)
    if found is None:
        raise LookupError(f"{name} has no {start}")
    return re.sub(r"\[([^]]+)\]\([^)]+\)", r"\1", found[0]).strip()


def install(*, chinese: bool) -> str:
    """The section of README about the installation, without its heading."""
    heading = "## 安装" if chinese else "## Install"
    return _readme(f"^{heading}$", "^## ", chinese).removeprefix(heading).strip()


def exit_statuses(*, chinese: bool) -> str:
    """README's table of the exit statuses."""
    return _readme(r"^\| 退出码 \|" if chinese else r"^\| exit status \|", "^$", chinese)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(each.replace("|", "\\|") for each in line) + " |" for line in lines
    )


GENERATED: Mapping[str, Callable[..., str]] = {
    "account-keys": account_keys,
    "command": command,
    "costs": costs,
    "error-codes": error_codes,
    "exit-statuses": exit_statuses,
    "field-keys": field_keys,
    "http-statuses": http_statuses,
    "install": install,
    "interface-keys": interface_keys,
    "options": options,
    "platform-keys": platform_keys,
    "service-keys": service_keys,
    "variables": variables,
}
"""What the comment ``generated: NAME`` of a page is replaced by."""
