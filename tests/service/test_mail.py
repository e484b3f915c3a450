"""Which message is sent next, as a table, and what becomes of it."""

from __future__ import annotations

import math

from harvester.service.mail import (
    AHEAD,
    LEASE,
    SPACING,
    Mail,
    Message,
    Turn,
    forgotten,
    settled,
    turn,
)

HOOK, OTHER = "env:HOOK", "env:OTHER"
NOW = 1_772_323_500.0


def message(key: str, target: str = HOOK, due: float = 0.0) -> Message:
    return Message(key, target, f"title of {key}", "body", NOW, due)


def key_of(found: Turn) -> str:
    return "" if found.message is None else found.message.key


def test_a_message_is_claimed_by_one_until_it_is_sent_or_the_claim_ends() -> None:
    mail: Mail = (message("a"), message("b", OTHER))
    first = turn(mail, {}, [HOOK], NOW)
    assert first.message == message("a", due=NOW + LEASE)._replace(attempts=1)
    assert first.mail == (first.message, mail[1])
    assert turn(first.mail, {}, [HOOK], NOW + 1) == Turn(None, NOW + LEASE, first.mail)
    second = turn(first.mail, {}, [HOOK], NOW + LEASE)
    assert second.message is not None
    assert second.message.attempts == 2
    # the first process was frozen: that it failed says nothing of the second attempt
    assert settled(second.mail, first.message, NOW + 999) == second.mail
    # but that it was sent does: it is not sent again
    assert settled(second.mail, first.message, None) == (mail[1],)
    assert settled(second.mail, second.message, None) == (mail[1],)
    assert turn((mail[1],), {}, [HOOK], NOW + 999) == Turn(None, math.inf, (mail[1],))


def test_messages_of_a_target_are_spaced_and_wait_together_when_one_was_not_taken() -> None:
    mail: Mail = (message("b"), message("c", OTHER), message("d"))
    sent = {HOOK: NOW}
    assert turn(mail, sent, [HOOK], NOW + 1) == Turn(None, NOW + SPACING, mail)
    assert key_of(turn(mail, sent, [HOOK, OTHER], NOW + 1)) == "c"
    second = turn(mail, sent, [HOOK], NOW + SPACING)
    assert second.message is not None
    left = settled(second.mail, second.message, NOW + 66)
    assert [each.due for each in left] == [NOW + 66, 0.0, NOW + 66]
    assert turn(left, sent, [HOOK], NOW + 20) == Turn(None, NOW + 66, left)


def test_a_claim_whose_text_was_changed_meanwhile_is_settled_too() -> None:
    found = turn((message("a"),), {}, [HOOK], NOW)
    assert found.message is not None
    changed = (found.mail[0]._replace(body="less"),)
    assert settled(changed, found.message, NOW + 60)[0].due == NOW + 60
    assert settled(changed, found.message, None) == ()


def test_what_explains_a_line_goes_with_it_and_the_address_alone_is_not_sent() -> None:
    lines = [
        "● stale: wx00000000000000aa", "  Missing since 2026-03-01: x", "  $ harvester status",
        "● secret: name (wx00000000000000aa), wx00000000000000bb", "  Missing since 2026-03-02: y",
        "  $ harvester check --only wx00000000000000aa", "http://pages",
    ]  # fmt: skip
    first = message("a")._replace(body="\n".join(lines))
    second = message("b")._replace(body="\n".join([*lines[:3], lines[-1]]))
    [left] = forgotten((first, second), "wx00000000000000aa", [])
    assert left.body.splitlines() == [
        "● secret:…, wx00000000000000bb", "  Missing since 2026-03-02: y", "http://pages",
    ]  # fmt: skip


def test_a_clock_that_was_ahead_holds_up_nothing() -> None:
    ahead = NOW + AHEAD + 86_400
    mail = (message("a", due=ahead + 900), message("b"))
    assert key_of(turn(mail, {HOOK: ahead}, [HOOK], NOW)) == "a"
