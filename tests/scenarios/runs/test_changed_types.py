"""The type of a field changes in the catalogue, or there are more fields than columns."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest

import harvester
from harvester.config import plugins
from harvester.ledger import SqliteLedger
from harvester.model import Field
from harvester.upkeep.verify import verify
from harvester.wechat.interfaces import INTERFACES
from tests.scenarios.server import Call, Server
from tests.support import A

DAY = date(2024, 6, 1)
VALUES: dict[str, Any] = {
    "int": 7, "float": 0.5, "str": "seven", "bool": True, "date": "2024-01-07",
    "object": {"a": 1}, "list": [{"a": 1}],
}  # fmt: skip


def interface(*fields: Field) -> harvester.JsonEndpoint:
    known = (Field("ref_date", "date"), *fields)
    return replace(INTERFACES["getusersummary"], name="mine", span=1, fields=known, successors=())


class Job:
    """Runs of one day each, with an interface and the records of that day."""

    def __init__(self, spec: str, server: Server, ledger: Any) -> None:
        self.spec, self.server, self.ledger = spec, server, ledger
        self.days = 0

    def run(self, one: harvester.JsonEndpoint, record: dict[str, Any]) -> list[str]:
        """Harvest the next day; gives what was said about its fields."""
        day = DAY + timedelta(days=self.days)
        self.days += 1

        def answer(call: Call) -> dict[str, Any]:
            return {"list": [{"ref_date": day, **record} for day in call.days for _ in range(2)]}

        self.server.answer = answer
        events: list[Any] = []
        report = asyncio.run(
            harvester.run(
                harvester.Account(A, secret="practice"), one, day, day, sink=self.spec,
                base_url=self.server.url, rate="10000/s", ledger=self.ledger,
                on_event=events.append,
            )
        )  # fmt: skip
        assert report.state == "complete"
        return [event.text for event in events if getattr(event, "code", "") == "Drifted"]

    def stored(self, names: Sequence[str]) -> list[dict[str, Any]]:
        """The records as the sink returns them, one a day."""
        sink = plugins.sink(self.spec)
        found = sorted(sink.scan("mine"), key=lambda stored: stored.window)
        records = []
        for each in found:
            one, other = each.records()
            assert one == other
            records.append({name: one[name] for name in names if name in one})
        return records

    async def differences(self) -> list[Any]:
        """Where the sink is not what was fetched."""
        async with SqliteLedger(self.ledger, readonly=True) as ledger:
            sink, state = plugins.sink(self.spec), await ledger.sinks()
            [name] = state
            return (await verify(ledger, name, sink, state[name])).differences


@pytest.fixture
def job(spec: str, tmp_path: Any) -> Any:
    with Server() as server:
        yield Job(spec, server, tmp_path / "ledger.sqlite")


@pytest.mark.parametrize("kind", ["sqlite", "postgresql", "mysql"])
def test_a_column_keeps_its_type_and_what_does_not_fit_goes_to_extra(job: Job) -> None:
    types = [*VALUES]
    changed = [*types[1:], types[0]]
    inner = (Field("a", "int"),)
    former = interface(*[Field(f"was_{each}", each, fields=inner) for each in types])
    present = interface(
        *[Field(f"was_{each}", new, fields=inner) for each, new in zip(types, changed, strict=True)]
    )
    old = {f"was_{each}": VALUES[each] for each in types}
    new = {f"was_{each}": VALUES[kind] for each, kind in zip(types, changed, strict=True)}
    assert job.run(former, old) == []
    said = job.run(present, new)
    assert "mine: was_int arrived as float, not as int; its value is in _extra" in said
    assert "mine: was_str arrived as bool, not as str; its value is in _extra" in said
    assert len(said) == len({*said}) == 6  # the list of an object's column is JSON, too
    job.run(present, old)
    job.run(former, new)
    assert job.run(former, old) == []
    assert job.stored([*old]) == [old, new, old, new, old]
    assert asyncio.run(job.differences()) == []


@pytest.mark.parametrize("kind", ["mysql", "sqlite"])
def test_fields_beyond_what_a_table_holds_go_to_extra(job: Job, kind: str) -> None:
    many = interface(*[Field(f"text_{number}", "str") for number in range(250)])
    record = {f"text_{number}": f"{number:04}" * 10 for number in range(250)}
    said = job.run(many, record)
    more = interface(*many.fields[1:], Field("later", "str"))
    job.run(more, {**record, "later": "x" * 40})
    names = [*record, "later"]
    assert job.stored(names) == [record, {**record, "later": "x" * 40}]
    assert len(said) == (kind == "mysql")
    assert all("the table has no column for text_141, text_142" in each for each in said)


ODD = {"ratio": math.nan, "sums": [{"a": math.inf}, {"a": 2}], "title": "NaN"}
AS_TEXT = {"ratio": "NaN", "sums": [{"a": "Infinity"}, {"a": 2}], "title": "NaN"}


@pytest.mark.parametrize("kind", ["sqlite", "jsonl"])
def test_a_number_that_no_float_holds_is_stored_as_its_text_and_reported_once(
    job: Job, kind: str
) -> None:
    known = interface(
        Field("ratio", "float"), Field("sums", "list", fields=(Field("a", "int"),)),
        Field("title", "str"),
    )  # fmt: skip
    said = [sentence for sentence in job.run(known, ODD) if "kept as text" in sentence]
    odd = "numbers that a float cannot represent (NaN, Infinity, 1e400) are"
    assert said == [f"mine: {odd} kept as text"]
    assert job.run(known, {**ODD, "ratio": 0.5}) != []
    assert job.stored([*ODD]) == [AS_TEXT, {**AS_TEXT, "ratio": 0.5}]
    assert asyncio.run(job.differences()) == []


async def test_a_stream_gives_such_a_number_as_its_text_and_reports_it_once() -> None:
    account = harvester.Account(A, secret="practice")
    with Server(lambda call: {"list": [{"ref_date": call.days[0], **ODD}]}) as server:
        events: list[Any] = []
        async with harvester.stream(
            account, interface(), DAY, DAY + timedelta(days=4), base_url=server.url,
            rate="10000/s", on_event=events.append,
        ) as records:  # fmt: skip
            found = [{name: record[name] for name in ODD} async for record in records]
    assert found == [AS_TEXT] * 5
    assert [event.code for event in events if getattr(event, "level", "") == "warning"] == [
        "Drifted"
    ]
    assert records.report is not None
    assert len(records.report.notes) == 1
