"""The protocol of several workers as a model, of which every state is explored.

``python -m tests.chaos.model`` explores all of it; that takes some minutes.

There is one account with a few windows, one ledger with one sink or two, and some workers.  Sinks
and ledger decide with the functions of `harvester.base.fencing`; a worker is what
`harvester.engine.claims` and `harvester.engine.writer` do, one step for each answer that can be
late.  What a worker has sent can land after the worker has died, or after it was cut off.

In every state this holds:

- A window that is final in the ledger stands in the sink with exactly that figure, also after the
  ledger has failed over to a standby that lacks its last commits.
- It became final once, under a figure that was fetched by the epoch that committed it.
- At most one worker sends requests for the account, unless the ledger has failed over.
- A window is final in each sink of the ledger's list.
- A sink that went back behind the ledger is written by no worker.
- On no day more calls arrive than the quota allows.
- The workers that live make all windows final, if nothing else goes wrong; also those that are to
  be harvested again, and those that a worker left which may not wait for the next day.
- A worker that may not wait can end on the day on which nothing more may be sent.

A worker is as slow as it likes between two steps, so one that is frozen needs no step of its own.
"""

from __future__ import annotations

import gc
import sys
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from random import Random
from typing import NamedTuple

from harvester.base import fencing

ACCOUNT = "wx"
NOW, ALIVE, ENDED = 1.0, 2.0, 0.0
"""The ledger's time, and when leases end: after it or before it."""

WRITE, WRITTEN, COMMIT, COMMITTED = range(1, 5)
"""Where a group of windows is: sent to the sink, stored there or refused, sent to the ledger, and
stored there or refused."""

MISSING, OPEN, FINAL, AGAIN = range(4)
"""A window that is open is requested again by a later run; one that was marked, by this one."""


def claimable(until: float | None, now: float) -> bool:
    """Whether an account may be claimed; the ledgers ask this in SQL.

    until: when the lease of its holder ends, None if no worker holds it; now: the ledger's time.
    """
    return until is None or until < now


class Item(NamedTuple):
    """A window that was fetched, and under which epoch."""

    window: int
    figure: int
    state: int
    epoch: int


class Group(NamedTuple):
    """Windows on their way to the sinks and the ledger, under one epoch.

    commits: of the first sink, after they were written; lost: it has lost that commit since.
    mark: of the write; follows: the ledger's mark that it follows.
    """

    phase: int
    epoch: int
    items: tuple[Item, ...]
    refused: bool = False
    sinks: int = 1
    commits: int = 0
    lost: bool = False
    mark: int = 0
    follows: int = 0


NO_GROUP = Group(0, 0, ())


class Worker(NamedTuple):
    """A process.

    lease: its row in the ledger has not ended; sends: nor has its deadline, as it knows it.
    holds: the ledger names it as the holder.  claimed: the epoch of a claim that it does not know
    of yet.  late: a claim is under way on a connection that it has lost.
    epoch: under which it holds the account, as it knows; queue: under which it was planned, 0 if
    it is not served.  plan: the windows to fetch.  lost: it knows that others have claimed it.
    cut: its lease has expired, or a server did not say whether something was done; left: the ledger
    knows that it holds nothing any more, and it joins anew when its last write has ended.
    wants: the account is not finished for it.  sinks: of the list, as it joined; lost_sink: it must
    connect again.  refreshes: it was started with ``--refresh``; had: it does not
    know yet that one that was has taken the account.  off: days of its clock.  kept: whether its
    lease goes on, it holds the account and wants it, as the standby of the ledger knows.  mark: the
    ledger's, as of its claim or its last commit.  broken: its connection to the ledger was lost; it
    joins anew instead of the next thing that it would do there.  plain: it may not wait.
    """

    up: bool = True
    lease: bool = True
    sends: bool = True
    holds: bool = False
    claimed: int = 0
    late: bool = False
    epoch: int = 0
    queue: int = 0
    plan: tuple[int, ...] = ()
    cached: tuple[int, ...] = ()
    fetched: tuple[Item, ...] = ()
    group: Group = NO_GROUP
    lost: bool = False
    cut: bool = False
    left: bool = False
    wants: bool = True
    sinks: int = 1
    lost_sink: bool = False
    refreshes: bool = False
    had: bool = False
    off: int = 0
    kept: tuple[bool, ...] = ()
    mark: int = 0
    broken: bool = False
    plain: bool = False


class Limits(NamedTuple):
    """How often something may happen.

    changes: of figures; crashes: of workers; expiries: of leases of workers that live; cuts: of
    connections; opens: a figure is fetched that can still change; adds: of a second sink; backs: a
    sink goes back; refreshes: a worker is started with ``--refresh``; steps: of a clock; days: ends
    of a day; others: writes of another account to a sink that went back; fails: 2 for a failover of
    the ledger, to a standby that has fallen behind at any time before, and 3 also for the way back.
    """

    changes: int = 1
    crashes: int = 0
    expiries: int = 1
    cuts: int = 0
    opens: int = 0
    adds: int = 0
    backs: int = 0
    refreshes: int = 0
    steps: int = 0
    days: int = 0
    others: int = 0
    fails: int = 0


class Standby(NamedTuple):
    """The ledger as its standby has it; fields as of `State`."""

    epoch: int
    windows: tuple[tuple[int, int], ...]
    marked: bool
    marks: tuple[int, ...]


class State(NamedTuple):
    """All that there is.

    figures: of each window, at WeChat; epoch, windows: in the ledger; fence, stored: in the sink
    (a window that is not there has the figure -1).  landing: what was sent by workers that do not
    wait for an answer any more.  broken: what should never have happened.
    listed: the sinks of the list; second: what the second one has.  commits, checkpoint: of the
    first sink, as it knows and as the ledger does; lost: the ledger knows one that the sink has
    lost; before: its figures before the last write.
    marked: the windows are to be harvested again.  day: by the ledger's clock; quota: calls of a
    day, 0 if there is none; calls: those that arrived, by day; booked: those in the ledger.
    has_marks: the account has marks.  marks: the ledger's, the latest first, back to that of its
    last commit that followed a write; wrote: in the sink, that of the last write, and the ledger's
    that it followed.
    standby: what the ledger's standby has, once it has fallen behind; failed: the ledger has failed
    over to it.
    """

    figures: tuple[int, ...]
    epoch: int
    windows: tuple[tuple[int, int], ...]
    fence: int
    stored: tuple[int, ...]
    workers: tuple[Worker, ...]
    left: Limits
    landing: tuple[Group, ...] = ()
    broken: str = ""
    listed: int = 1
    second: tuple[int, ...] = ()
    commits: int = 0
    checkpoint: int = 0
    lost: bool = False
    before: tuple[int, ...] = ()
    marked: bool = False
    day: int = 0
    quota: int = 0
    calls: tuple[int, ...] = ()
    booked: tuple[int, ...] = ()
    has_marks: bool = False
    marks: tuple[int, ...] = ()
    wrote: tuple[int, int] = (0, 0)
    standby: Standby | None = None
    failed: bool = False


@dataclass(frozen=True)
class Rules:
    """What is checked where; a planted fault replaces one of them.

    claim_raises: a claim raises the epoch.  claim_renews: and renews the lease of who claims.
    plans_anew: at each claim, from what is stored then.  anew: after a lost connection a worker
    leaves, which raises the epoch (leaving_raises), and joins.  sink_first: else the ledger is
    written before the sink.  commits_as_fetched: the ledger is told the epoch of the fetched
    windows, else the one that the worker has by then.  drops_at_once: when a renewal says that an
    account was lost, nothing is sent for it any more.  renews_ended: a lease that has ended is
    renewed.  loses_by_epoch: what an earlier epoch has lost does not drop a later claim.
    refuses_late_claims: of a worker that left.  dismisses: a sink is added once what former workers
    write is refused.  compares: who connects to a sink again compares its commits, by their numbers
    and their marks.  opens_marked: any worker opens what is marked.  finishes_held: only what a
    worker still holds is finished by it.  takes_marked: who marks takes the account, and
    awaits_former: nothing is sent for it as long as the former holder may send.  ledgers_day: the
    day is that of the ledger's clock.  never_twice: an epoch is later than any that was ever given,
    by the ledger's clock; else one more than the ledger knows.  reopening_marks: a mark is made
    when windows are opened again, too; keeps_marks: and the marks before it are kept.
    leaves_to_waiting: what a worker leaves that may not wait is wanted by those that may; ends: it
    does not wait for what one of these holds while nothing may be sent.
    """

    claimable: Callable[[float | None, float], bool] = claimable
    is_current: Callable[[int, Mapping[str, int], str], bool] = fencing.is_current
    lost: Callable[[Mapping[str, int], Mapping[str, int]], set[str]] = fencing.lost
    refused: Callable[[Mapping[str, int], Mapping[str, int]], set[str]] = fencing.refused
    claim_raises: bool = True
    claim_renews: bool = True
    plans_anew: bool = True
    anew: bool = True
    leaving_raises: bool = True
    sink_first: bool = True
    commits_as_fetched: bool = True
    drops_at_once: bool = True
    renews_ended: bool = False
    loses_by_epoch: bool = True
    refuses_late_claims: bool = True
    dismisses: bool = True
    compares: bool = True
    marks: bool = True
    opens_marked: bool = True
    finishes_held: bool = True
    takes_marked: bool = True
    awaits_former: bool = True
    ledgers_day: bool = True
    never_twice: bool = True
    reopening_marks: bool = True
    keeps_marks: bool = True
    leaves_to_waiting: bool = True
    ends: bool = True
    fits: Callable[[Collection[str], str, str], bool] = fencing.fits


SOUND = Rules()


Next = tuple[str, State]
"""What happens, and what follows from it."""


def start(workers: int, windows: int, limits: Limits, quota: int = 0, plain: int = 0) -> State:
    """Nothing is stored, and nobody holds the account; plain: workers that may not wait."""
    days = (0,) * (limits.days + 2) if quota else ()
    return State(
        figures=(0,) * windows,
        epoch=fencing.EPOCH,
        windows=((MISSING, -1),) * windows,
        fence=0,
        stored=(-1,) * windows,
        workers=(Worker(),) * (workers - plain) + (Worker(plain=True),) * plain,
        left=limits,
        second=(-1,) * windows if limits.adds else (),
        has_marks=limits.fails > 0,
        before=(-1,) * windows if limits.backs else (),
        quota=quota,
        calls=days,
        booked=days,
    )


def went_back(state: State, rules: Rules = SOUND) -> bool:
    """Whether who compares the commits of the ledger and of the first sink finds one missing."""
    return state.commits < state.checkpoint or (rules.marks and state.lost)


def fits(state: State, rules: Rules = SOUND) -> bool:
    """Whether the ledger knows of the account what the sink has; else each run says so."""
    wrote, followed = (str(mark or "") for mark in state.wrote)
    return not state.has_marks or rules.fits([*map(str, state.marks)], wrote, followed)


def finished(state: State) -> bool:
    """Whether every window is final, or nothing may be sent or written any more."""
    if went_back(state) or not fits(state):  # each run ends with the error
        return True
    if _is_spent(state) and not state.left.days:
        return True
    living = [each for each in state.workers if each.up]
    if living and all(each.plain and not _has_work(each) for each in living):
        return True  # a later run goes on
    if state.failed and not any(each.up and _has_work(each) for each in state.workers):
        return True  # what the ledger has lost is missing: a later run asks for it
    return not state.marked and all(kind == FINAL for kind, _ in state.windows)


def _is_spent(state: State) -> bool:
    """Whether nothing more may be sent on this day."""
    return bool(state.quota) and state.booked[state.day] >= state.quota


def all_end(state: State, rules: Rules) -> bool:
    """Whether each worker that may not wait can end."""
    waits = rules.ends and any(
        each.up and each.lease and each.holds and not each.plain and not each.fetched
        and each.plan and not each.group.phase
        for each in state.workers
    )  # fmt: skip
    return not any(
        each.up and each.plain and _has_work(each._replace(wants=each.wants and not waits))
        for each in state.workers
    )


def _has_work(worker: Worker) -> bool:
    busy = worker.wants or worker.cut or worker.group.phase or worker.fetched
    return bool(busy or worker.queue or worker.claimed or worker.holds)


def violation(state: State, rules: Rules = SOUND) -> str:
    """What does not hold in a state, empty if all does."""
    if state.broken:
        return state.broken
    if state.quota and max(state.calls) > state.quota:
        return "more calls have arrived on a day than the quota allows"
    if not (fits(state, rules) or state.failed):
        return "a ledger that has lost nothing is refused"
    if went_back(state, rules) or not fits(state, rules):
        return ""
    for number, ((kind, figure), stored) in enumerate(
        zip(state.windows, state.stored, strict=True)
    ):
        if kind == FINAL and stored != figure:
            return (
                f"window {number} is final with figure {figure} in the ledger,"
                f" and {'nothing' if stored < 0 else f'figure {stored}'} in the sink"
            )
        if kind == FINAL and state.listed > 1 and state.second[number] != figure:
            return f"window {number} is final, and the second sink lacks it"
    sending = [n for n in range(len(state.workers)) if _may_send(state, n, rules)]
    if len(sending) > 1 and not state.failed:
        names = " and ".join(map(_name, sending))
        return f"{names} may send requests for the account at the same time"
    return ""


def _may_send(state: State, number: int, rules: Rules) -> bool:
    worker = state.workers[number]
    deadline = ALIVE if worker.sends else ENDED
    if not worker.plan or worker.cut or not fencing.may_send(deadline, NOW):
        return False
    former = any(each.had and each.sends for each in state.workers) and not worker.had
    return not (former and rules.awaits_former)


# what can happen next


def successors(state: State, rules: Rules) -> Iterator[Next]:
    """Every state that can follow."""
    if state.left.changes and not finished(state):
        left = state.left._replace(changes=state.left.changes - 1)
        for window, figure in enumerate(state.figures):
            figures = _put(state.figures, window, figure + 1)
            yield f"window {window} changes", state._replace(figures=figures, left=left)
    yield from _around(state, rules)
    for number, group in enumerate(state.landing):
        rest = state.landing[:number] + state.landing[number + 1 :]
        yield _LATE, _land(state._replace(landing=rest), group, rules)[0]
    for number, worker in enumerate(state.workers):
        name = _name(number)
        if worker.up and worker.broken and not worker.cut:
            cut = worker._replace(cut=True, claimed=0)
            yield f"{name} has lost its connection", _with(state, number, cut)
        for step in _WITHOUT_LEDGER if worker.broken else _STEPS if worker.up else ():
            for after in step(state, number, worker, rules):
                yield f"{name} {step.__name__[1:]}s", after
        if worker.late and (claimed := _claimed(state, number, rules)):
            yield _LATE, claimed  # it may have started anew
        for after in _disturbed(state, number, worker, rules):
            yield f"{name} is disturbed", after


_LATE, _DAY_ENDS = "what was cut off lands late", "the day ends"
States = Iterator[State]


def _around(state: State, rules: Rules) -> Iterator[Next]:
    """What happens to the sinks, and the end of the day."""
    left, workers = state.left, state.workers
    if left.adds and not any(each.lease for each in workers):
        second = tuple(
            figure if kind != MISSING else -1
            for figure, (kind, _) in zip(state.stored, state.windows, strict=True)
        )
        added = state._replace(listed=2, second=second, left=left._replace(adds=0))
        if rules.dismisses:
            gone = tuple([each._replace(holds=False) for each in workers])
            added = added._replace(workers=gone, epoch=_next_epoch(state, rules))
        yield "a sink is added", added
    if left.backs and state.stored != state.before:
        gone = tuple([_without_sink(each, state.commits) for each in workers])
        landing = tuple(
            [_lost(each, state.commits) for each in state.landing if each.phase != WRITE]
        )
        back = state._replace(stored=state.before, commits=state.commits - 1)
        back = back._replace(lost=0 < state.commits == state.checkpoint)
        back = back._replace(workers=gone, landing=landing, left=left._replace(backs=0))
        yield "the sink goes back", back
    if left.others and state.before and not left.backs and not went_back(state, rules):
        fewer = left._replace(others=left.others - 1)
        yield "another account is written", state._replace(commits=state.commits + 1, left=fewer)
    if left.fails:
        fewer = left._replace(fails=left.fails - 1)
        if state.standby is None:
            behind = tuple([each._replace(kept=(each.lease, each.holds, each.wants))
                            for each in workers])  # fmt: skip
            after = state._replace(standby=_standby(state), workers=behind, left=fewer)
            yield "the standby falls behind", after
        else:
            yield "the ledger fails over", _failed_over(state._replace(left=fewer))
    if left.days:
        fewer = left._replace(days=left.days - 1)
        yield _DAY_ENDS, state._replace(day=state.day + 1, left=fewer)


def _standby(state: State) -> Standby:
    return Standby(state.epoch, state.windows, state.marked, state.marks)


def _failed_over(state: State) -> State:
    """The ledger is its standby, which lacks what it has committed since it fell behind.

    The former one is the standby now: it lacks what is committed from here on.

    A worker whose connection was lost joins anew, as another one.
    """
    assert state.standby is not None
    workers = []
    for each in state.workers:
        lease, holds, wants = each.kept or (False, False, False)  # a worker that came later
        kept = (each.lease, each.holds, each.wants)
        after = each._replace(lease=lease, holds=holds, wants=wants, kept=kept, late=False)
        if each.cut:
            after = after._replace(holds=False, kept=(each.lease, False, each.wants))
        after = after._replace(broken=each.up)
        if each.group.phase == COMMIT:
            after = after._replace(group=NO_GROUP, cut=each.up, claimed=0)
        workers.append(after)
    landing = tuple([each for each in state.landing if each.phase == WRITE])
    after = state._replace(**state.standby._asdict(), workers=tuple(workers), landing=landing)
    return after._replace(standby=_standby(state), failed=True)


def _next_epoch(state: State, rules: Rules) -> int:
    """The epoch of the next claim."""
    return 1 + (max(_epochs(state)) if rules.never_twice else state.epoch)


def _epochs(state: State) -> set[int]:
    """Every epoch that anybody knows."""
    used = {state.epoch, state.fence, fencing.EPOCH, *(each.epoch for each in state.landing)}
    used.update(item.epoch for each in state.landing for item in each.items)
    used.update([state.standby.epoch] if state.standby else ())
    for each in state.workers:
        used |= {each.claimed, each.epoch, each.queue, each.group.epoch}
        used.update(item.epoch for item in (*each.fetched, *each.group.items))
    return used


def _next_mark(state: State) -> int:
    """A mark that nobody knows yet."""
    return 1 + max(_marks(state))


def _marks(state: State) -> set[int]:
    """Every mark that anybody knows."""
    used = {0, *state.marks, *state.wrote, *(state.standby.marks if state.standby else ())}
    groups = [*state.landing, *[each.group for each in state.workers]]
    used.update(mark for each in groups for mark in (each.mark, each.follows))
    return used | {each.mark for each in state.workers}


def _lost(group: Group, commits: int) -> Group:
    """The group after the sink has lost its last commit, which has this number."""
    is_after = group.phase in (WRITTEN, COMMIT, COMMITTED) and not group.refused
    return group._replace(lost=True) if is_after and group.commits == commits else group


def _without_sink(worker: Worker, commits: int) -> Worker:
    """It has lost its connection to the sink, and what it was writing."""
    worker = worker._replace(group=_lost(worker.group, commits))
    if worker.group.phase == WRITE:
        return worker._replace(group=NO_GROUP, cut=True, lost_sink=True)
    return worker._replace(lost_sink=True)


def _claim(state: State, number: int, worker: Worker, rules: Rules) -> States:
    """A claim reaches the ledger."""
    after = _claimed(state, number, rules)
    if after is not None and not (worker.cut or worker.claimed):
        claimed = after.workers[number]._replace(claimed=after.epoch, sends=True, late=worker.late)
        yield _with(after, number, claimed)


def _claimed(state: State, number: int, rules: Rules) -> State | None:
    """The ledger after a claim; None if there is nothing to claim."""
    worker = state.workers[number]
    if worker.holds or not rules.claimable(_until(state), NOW):
        return None
    if not (worker.wants and (worker.lease or rules.renews_ended or not rules.claim_renews)):
        return None
    workers = tuple(each._replace(holds=False) if each.holds else each for each in state.workers)
    claimed = worker._replace(
        holds=True,
        late=False,
        wants=False,
        mark=max(state.marks, default=0),
        lease=worker.lease or rules.claim_renews or worker.late,
    )
    epoch = _next_epoch(state, rules) if rules.claim_raises else state.epoch
    return state._replace(epoch=epoch, workers=_put(workers, number, claimed))


def _until(state: State) -> float | None:
    """When the lease of the holder ends."""
    for each in state.workers:
        if each.holds:
            return ALIVE if each.lease else ENDED
    return None


def _plan(state: State, number: int, worker: Worker, rules: Rules) -> States:
    """The claim is answered, and what is stored is read."""
    if not worker.claimed:
        return
    if worker.plan and not rules.drops_at_once:
        yield state._replace(broken=f"{_name(number)} serves the account twice, under two epochs")
        return
    if state.marked and (rules.opens_marked or worker.refreshes) and worker.holds:
        opened = tuple([(kind and AGAIN, figure) for kind, figure in state.windows])
        state = state._replace(windows=opened, marked=False)
        if state.marks and rules.reopening_marks:
            mark = _next_mark(state)
            kept = state.marks if rules.keeps_marks else state.marks[-1:]
            state = state._replace(marks=(mark, *kept))
            worker = worker._replace(mark=mark)
    plan = _unfinished(state) if rules.plans_anew or not worker.cached else worker.cached
    planned = worker._replace(
        claimed=0, epoch=worker.claimed, queue=worker.claimed, plan=plan, lost=False
    )
    if not rules.plans_anew:
        planned = planned._replace(cached=plan)
    yield _with(state, number, planned)


def _unfinished(state: State) -> tuple[int, ...]:
    return tuple(n for n, (kind, _) in enumerate(state.windows) if kind != FINAL)


def _fetch(state: State, number: int, worker: Worker, rules: Rules) -> States:
    """An answer comes, however old the request is."""
    former = any(each.had and each.sends for each in state.workers) and not worker.had
    if worker.cut or (former and rules.awaits_former):
        return
    if state.quota:
        if worker.plain and _is_spent(state):
            yield _with(state, number, worker._replace(plan=()))
        day = state.day if rules.ledgers_day else max(state.day + worker.off, 0)
        if state.booked[day] >= state.quota:
            return
        calls = _put(state.calls, state.day, state.calls[state.day] + 1)
        state = state._replace(calls=calls, booked=_put(state.booked, day, state.booked[day] + 1))
    for window in worker.plan:
        plan = tuple(each for each in worker.plan if each != window)
        figure = state.figures[window]
        for kind in (FINAL, OPEN) if state.left.opens else (FINAL,):
            item = Item(window, figure, kind, worker.queue)
            fetched = tuple(sorted((*worker.fetched, item)))
            left = state.left._replace(opens=state.left.opens - (kind == OPEN))
            after = worker._replace(plan=plan, fetched=fetched)
            yield _with(state._replace(left=left), number, after)


def _write(state: State, number: int, worker: Worker, rules: Rules) -> States:
    """The writer takes what was fetched, and drops what is not current."""
    if not worker.fetched or worker.group.phase:
        return
    held = {ACCOUNT: worker.epoch} if worker.epoch and not worker.cut else {}
    items = tuple(each for each in worker.fetched if rules.is_current(each.epoch, held, ACCOUNT))
    if not items or not held:
        yield _with(state, number, worker._replace(fetched=()))
        return
    phase = WRITE if rules.sink_first else COMMIT
    group = Group(phase, worker.epoch, items, sinks=worker.sinks)
    if state.has_marks:
        group = group._replace(mark=_next_mark(state), follows=worker.mark)
    after = worker._replace(fetched=(), group=group)
    yield _with(state, number, after)


def _landed(state: State, number: int, worker: Worker, rules: Rules) -> States:
    """What it has sent lands."""
    group = worker.group
    if group.phase not in (WRITE, COMMIT):
        return
    if group.phase == COMMIT and worker.broken:
        yield _with(state, number, worker._replace(group=NO_GROUP, cut=True))
        return
    if group.phase == WRITE and worker.lost_sink:
        worker = worker._replace(lost_sink=False)
        if went_back(state, rules):
            broken = "" if rules.compares else "a sink that went back is written"
            ended = Worker(up=False, lease=worker.lease, sends=False, holds=worker.holds)
            yield _with(state._replace(broken=broken), number, ended)
            return
    after, refused = _land(state, group, rules)
    commits = after.commits if group.phase == WRITE else group.commits
    group = group._replace(phase=group.phase + 1, refused=refused, commits=commits)
    yield _with(after, number, worker._replace(group=group))


def _land(state: State, group: Group, rules: Rules) -> tuple[State, bool]:
    """The sink or the ledger after a group has landed, and whether it was refused."""
    if group.phase == WRITE:
        return _stored(state, group, rules)
    return _committed(state, group, rules)


def _stored(state: State, group: Group, rules: Rules) -> tuple[State, bool]:
    fence, known = {ACCOUNT: group.epoch}, {ACCOUNT: state.fence}
    if rules.refused(fence, known):
        return state, True
    stored = state.stored
    for window, figure, *_ in group.items:
        stored = _put(stored, window, figure)
    if state.before:
        before = state.stored if state.left.backs else state.before
        state = state._replace(before=before, commits=state.commits + 1)
    if state.listed > 1 and group.sinks > 1:
        second = state.second
        for window, figure, *_ in group.items:
            second = _put(second, window, figure)
        state = state._replace(second=second)
    fence = fencing.raised(fence, known)
    state = state._replace(wrote=(group.mark, group.follows))
    return state._replace(stored=stored, fence=fence.get(ACCOUNT, state.fence)), False


def _committed(state: State, group: Group, rules: Rules) -> tuple[State, bool]:
    if rules.lost({ACCOUNT: group.epoch}, {ACCOUNT: state.epoch}):
        return state, True
    windows, broken = state.windows, state.broken
    for window, figure, kind, epoch in group.items:
        if windows[window][0] == FINAL:
            broken = broken or f"window {window} became final twice"
        elif epoch != state.epoch:
            broken = broken or "what an earlier epoch has fetched is committed"
        windows = _put(windows, window, (kind, figure))
    checkpoint = max(state.checkpoint, group.commits)
    state = state._replace(checkpoint=checkpoint, lost=state.lost or group.lost)
    state = state._replace(marks=(group.mark,) if state.has_marks else ())
    return state._replace(windows=windows, broken=broken), False


def _answered(state: State, number: int, worker: Worker, rules: Rules) -> States:
    """It learns what became of what it has sent, and sends it on from the first place."""
    group = worker.group
    if group.phase not in (WRITTEN, COMMITTED):
        return
    first = WRITTEN if rules.sink_first else COMMITTED
    if group.phase == first and not group.refused:
        epoch = worker.epoch if rules.sink_first and not rules.commits_as_fetched else group.epoch
        phase = COMMIT if rules.sink_first else WRITE
        group = group._replace(phase=phase, epoch=epoch)
        yield _with(state, number, worker._replace(group=group))
        return
    after = worker._replace(group=NO_GROUP)
    if group.epoch == worker.epoch and not group.refused:
        after = after._replace(mark=group.mark)
    yield _with(state, number, _loses(after, group.epoch, rules) if group.refused else after)


def _loses(worker: Worker, epoch: int, rules: Rules) -> Worker:
    """It learns that what it held under an epoch was lost."""
    if worker.epoch == epoch:
        worker = worker._replace(epoch=0, wants=True)
    if rules.loses_by_epoch and worker.queue != epoch:
        return worker
    worker = worker._replace(had=False)
    return _dropped(worker) if rules.drops_at_once else worker._replace(lost=True)


def _dropped(worker: Worker) -> Worker:
    return worker._replace(queue=0, plan=(), lost=False)


def _drop(state: State, number: int, worker: Worker, rules: Rules) -> States:
    if worker.lost and worker.queue:
        yield _with(state, number, _dropped(worker))


def _renew(state: State, number: int, worker: Worker, rules: Rules) -> States:
    """Its lease goes on, and it learns what was lost; where that changes nothing, it is left out.

    One that has ended is never renewed: it joins anew.
    """
    if worker.claimed or worker.cut or (worker.lease and not _is_deprived(worker)):
        return
    if not worker.lease and not rules.renews_ended:
        yield _with(state, number, worker._replace(cut=True, claimed=0))
        return
    known = {ACCOUNT: state.epoch} if worker.holds else {}
    after = worker._replace(lease=True, sends=True)
    if worker.epoch and rules.lost({ACCOUNT: worker.epoch}, known):
        after = _loses(after, worker.epoch, rules)
    yield _with(state, number, after)


def _release(state: State, number: int, worker: Worker, rules: Rules) -> States:
    """All of it is committed."""
    busy = worker.plan or worker.fetched or worker.group.phase or worker.lost or worker.cut
    if worker.queue and not busy and not worker.claimed:
        after = _dropped(worker)._replace(epoch=0, holds=False, had=False)
        if worker.holds or not rules.finishes_held:
            later = any(kind == OPEN for kind, _ in state.windows)
            left = worker.plain and rules.leaves_to_waiting and bool(_unfinished(state))
            rest = [
                each._replace(wants=later or (left and not each.plain and each.wants))
                for each in state.workers
            ]
            state, after = state._replace(workers=tuple(rest)), after._replace(wants=later)
        yield _with(state, number, after)


def _is_deprived(worker: Worker) -> bool:
    """Whether it does not know yet that others have taken what it held."""
    return bool(worker.epoch) and not worker.holds


def _join(state: State, number: int, worker: Worker, rules: Rules) -> States:
    """It was cut off, or its lease has expired: it leaves, and joins with all checks."""
    if not worker.cut or worker.claimed:
        return
    if worker.left:
        if worker.group.phase in (WRITE, WRITTEN):  # the sink does one thing after the other
            return
        after = worker._replace(
            cut=False, left=False, broken=False, lease=True, sends=True, sinks=state.listed
        )
        after = after._replace(wants=state.marked or bool(_unfinished(state)))
        if (worker.lost_sink and went_back(state, rules)) or not fits(state, rules):
            after = Worker(up=False, lease=False, sends=False)
        yield _with(state, number, after)
    elif not rules.anew:  # it goes on under the same epoch
        after = worker._replace(cut=False, plan=_unfinished(state) if worker.queue else ())
        yield _with(state, number, after._replace(lease=True, sends=True))
    else:
        if worker.holds and rules.leaving_raises:
            state = state._replace(epoch=_next_epoch(state, rules))
        late = worker.late and not rules.refuses_late_claims
        after = _dropped(worker)._replace(left=True, epoch=0, holds=False, late=late, wants=False)
        after = after._replace(had=False)
        yield _with(state, number, after)


_STEPS = (
    _claim, _plan, _fetch, _write, _landed, _answered, _drop, _renew, _release, _join,
)  # fmt: skip
_WITHOUT_LEDGER = (_fetch, _write, _landed, _answered, _drop, _join)


# what goes wrong


def _disturbed(state: State, number: int, worker: Worker, rules: Rules) -> States:
    """Its lease ends, it dies, or it loses a connection."""
    left = state.left
    if worker.lease and (left.expiries or not worker.up) and not _is_idle(worker, rules):
        fewer = left._replace(expiries=left.expiries - worker.up)
        after = worker._replace(lease=False, sends=False)
        yield _with(state._replace(left=fewer), number, after)
    if not worker.up:
        return
    if left.steps:
        for off in {-1, 1} - {worker.off}:
            fewer = left._replace(steps=left.steps - 1)
            yield _with(state._replace(left=fewer), number, worker._replace(off=off))
    if left.refreshes and worker == Worker(wants=worker.wants):
        fewer = left._replace(refreshes=left.refreshes - 1)
        yield _refreshed(state._replace(left=fewer), number, rules)
    if left.crashes:
        fewer = left._replace(crashes=left.crashes - 1)
        lease = worker.lease and worker.holds
        dead = Worker(up=False, lease=lease, sends=False, holds=worker.holds, kept=worker.kept)
        landing = _orphaned(state.landing, worker.group)
        yield _with(state._replace(left=fewer, landing=landing), number, dead)
    if left.cuts and not worker.cut:
        yield from _cut_off(state._replace(left=left._replace(cuts=left.cuts - 1)), number, worker)


def _refreshed(state: State, number: int, rules: Rules) -> State:
    """A worker is started with ``--refresh``: it marks all windows as it joins."""
    holders = tuple(
        [each._replace(holds=False, had=True) if each.holds else each for each in state.workers]
    )
    taken = rules.takes_marked and holders != state.workers
    workers = holders if taken else state.workers
    workers = tuple([each._replace(wants=each.wants or each.lease) for each in workers])
    epoch = _next_epoch(state, rules) if taken else state.epoch
    state = state._replace(workers=workers, marked=True, epoch=epoch)
    return _with(state, number, workers[number]._replace(refreshes=True))


def _cut_off(state: State, number: int, worker: Worker) -> States:
    """It does not learn whether something was done; what was sent may still land."""
    if worker.group.phase:
        landing = state.landing
        if not (worker.group.phase == WRITE and worker.lost_sink):  # it was not sent
            landing = _orphaned(landing, worker.group)
        after = worker._replace(group=NO_GROUP, cut=True)
        yield _with(state._replace(landing=landing), number, after)
    yield _with(state, number, worker._replace(claimed=0, cut=True))  # perhaps unanswered
    if not (worker.claimed or worker.holds):  # while its claim is under way
        yield _with(state, number, worker._replace(cut=True, late=True))


def _orphaned(landing: tuple[Group, ...], group: Group) -> tuple[Group, ...]:
    if group.phase not in (WRITE, COMMIT):
        return landing
    return tuple(sorted((*landing, group)))


def _with(state: State, number: int, worker: Worker) -> State:
    return state._replace(workers=_put(state.workers, number, worker))


def _put(values: tuple, place: int, value: object) -> tuple:  # type: ignore[type-arg]
    return (*values[:place], value, *values[place + 1 :])


def _name(number: int) -> str:
    return "ABC"[number]


# the exploration


class Found(NamedTuple):
    """What an exploration has found; steps: the shortest way to what does not hold."""

    states: int
    wrong: str = ""
    steps: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "\n  ".join([f"{self.states:,} states: {self.wrong or 'holds'}", *self.steps])


def explore(begin: State, rules: Rules = SOUND) -> Found:
    """Visit every state that can be reached, the nearest first, until one is not as it should be.

    States that differ only in what makes no difference are visited once.
    """
    parents: dict[State, State | None] = {normal(begin, rules): None}
    undisturbed: dict[State, list[State]] = {}
    today: dict[State, list[State]] = {}
    plain = any(each.plain for each in begin.workers)
    waiting = deque(parents)
    while waiting:
        state = waiting.popleft()
        if wrong := violation(state, rules):
            return Found(len(parents), wrong, _way(begin, state, parents, rules))
        for what, after in successors(state, rules):
            after = normal(after, rules)
            if after not in parents:
                parents[after] = state
                waiting.append(after)
            same = state.left == after.left or what == _DAY_ENDS
            if same and what != _LATE:  # else it need not happen
                undisturbed.setdefault(after, []).append(state)
                if plain and what != _DAY_ENDS:
                    today.setdefault(after, []).append(state)
    if stuck := _stuck(parents, undisturbed, finished):
        way = _way(begin, stuck, parents, rules)
        return Found(len(parents), "the windows do not become final any more", way)
    if stuck := plain and _stuck(parents, today, lambda state: all_end(state, rules)):
        way = _way(begin, stuck, parents, rules)
        return Found(len(parents), "a worker that may not wait does not end", way)
    return Found(len(parents))


def _stuck(
    states: Mapping[State, object],
    undisturbed: Mapping[State, list[State]],
    goal: Callable[[State], bool],
) -> State | None:
    """The first state from which the living workers do not get there without a disturbance."""
    good = {state for state in states if goal(state)}
    waiting = deque(good)
    while waiting:
        for before in undisturbed.get(waiting.popleft(), ()):
            if before not in good:
                good.add(before)
                waiting.append(before)
    for state in states:
        if state not in good and any(each.up for each in state.workers):
            return state
    return None


def normal(state: State, rules: Rules) -> State:
    """The state without what makes no difference.

    Epochs only rise.  So what is refused now is refused for ever, and of epochs only the order
    counts.  It makes no difference, either, which worker is the first.
    """
    landing = tuple(each for each in state.landing if _land(state, each, rules)[0] is not state)
    workers = tuple(sorted([_normal_worker(each, rules) for each in state.workers]))
    return _renumbered(_remarked(state._replace(landing=landing, workers=workers)))


def _normal_worker(worker: Worker, rules: Rules) -> Worker:
    if worker.fetched:
        held = {ACCOUNT: worker.epoch} if worker.epoch else {}
        fetched = tuple(
            each for each in worker.fetched if rules.is_current(each.epoch, held, ACCOUNT)
        )
        worker = worker._replace(fetched=fetched)
    if not (worker.epoch or worker.claimed or worker.group.phase or worker.late):
        worker = worker._replace(mark=0)
    if not worker.up:
        return worker._replace(mark=0) if worker.holds or any(worker.kept[:2]) else _DEAD
    return worker


def _is_idle(worker: Worker, rules: Rules) -> bool:
    """Whether the end of its lease makes no difference, as it has none of the account."""
    has = worker.holds or worker.queue or worker.claimed or worker.epoch
    return worker.up and not has and rules.claim_renews


_DEAD = Worker(up=False, lease=False, sends=False)


def _remarked(state: State) -> State:
    """The same with the marks 1, 2, 3 and so on."""
    used = _marks(state)
    if max(used) == len(used) - 1:
        return state
    of = {mark: number for number, mark in enumerate(sorted(used))}

    def group(one: Group) -> Group:
        return one._replace(mark=of[one.mark], follows=of[one.follows])

    workers = [each._replace(mark=of[each.mark], group=group(each.group)) for each in state.workers]
    standby = state.standby
    return state._replace(
        marks=tuple([of[mark] for mark in state.marks]),
        wrote=(of[state.wrote[0]], of[state.wrote[1]]),
        standby=standby and standby._replace(marks=tuple([of[mark] for mark in standby.marks])),
        landing=tuple(sorted(map(group, state.landing))),
        workers=tuple(sorted(workers)),
    )


def _renumbered(state: State) -> State:
    """The same with the epochs 1, 2, 3 and so on."""
    used = _epochs(state) - {0}
    if max(used) == len(used):
        return state
    of = {0: 0, **{epoch: number for number, epoch in enumerate(sorted(used), fencing.EPOCH)}}

    def items(some: tuple[Item, ...]) -> tuple[Item, ...]:
        return tuple([each._replace(epoch=of[each.epoch]) for each in some])

    def group(one: Group) -> Group:
        return one._replace(epoch=of[one.epoch], items=items(one.items)) if one.phase else one

    workers = [
        each._replace(
            claimed=of[each.claimed],
            epoch=of[each.epoch],
            queue=of[each.queue],
            fetched=items(each.fetched),
            group=group(each.group),
        )
        for each in state.workers
    ]
    return state._replace(
        epoch=of[state.epoch],
        fence=of[state.fence],
        standby=state.standby and state.standby._replace(epoch=of[state.standby.epoch]),
        landing=tuple(sorted(map(group, state.landing))),
        workers=tuple(sorted(workers)),
    )


def _way(
    begin: State, end: State, parents: Mapping[State, State | None], rules: Rules
) -> tuple[str, ...]:
    """The steps from the begin to a state, with the workers in the order that they have there."""
    states: list[State] = []
    here: State | None = end
    while here is not None:
        states.append(here)
        here = parents[here]
    found: list[str] = []
    state = begin
    for before, wanted in pairwise(reversed(states)):
        step, state = next(
            each
            for known in (state, before)  # what makes no difference may be missing in the second
            for each in successors(known, rules)
            if normal(each[1], rules) == wanted
        )
        found.append(step)
    return tuple(found)


def walk(begin: State, seed: int, steps: int) -> Found:
    """Go on at random until nothing can happen any more, or for so many steps."""
    draw, state = Random(seed), begin
    taken: list[str] = []
    while len(taken) < steps and not violation(state):
        following = list(successors(state, SOUND))
        if not following:
            break
        step, state = draw.choice(following)
        taken.append(step)
    return Found(len(taken) + 1, violation(state), tuple(taken))


# the whole of it

WHOLE = {
    (2, 1): Limits(changes=2, crashes=1, expiries=2, cuts=1, opens=1),
    (2, 2): Limits(changes=1, crashes=1, expiries=1, cuts=1),
    (3, 1): Limits(changes=1, crashes=1, expiries=1, cuts=1),
}
"""Workers and windows, and what may happen to them."""

RANDOM = Limits(changes=4, crashes=2, expiries=6, cuts=3, opens=2)


def main() -> int:
    """Explore all of it, and print what is found."""
    gc.disable()  # nothing that is kept has a cycle
    found = []
    for (workers, windows), limits in WHOLE.items():
        found.append(explore(start(workers, windows, limits)))
        print(f"{workers} workers, {windows} windows, {limits}:\n  {found[-1]}", flush=True)
    walks = [walk(start(3, 2, RANDOM), seed, 400) for seed in range(2000)]
    wrong = [each for each in found + walks if each.wrong]
    print(f"and {len(walks):,} random walks; {len(wrong)} wrong", *wrong[:1], sep="\n")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
