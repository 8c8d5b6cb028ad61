"""Who decided on a gate, and when: admission writes the authenticated user into the decision.

A user who approves with kubectl writes only ``state``, and a user name that a client writes is only a claim.
Source: admission contract 15, which leaves these fields to the client.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, Final

from bubu_contract.instants import format_instant, parse_instant_or_none
from core.api.objects import ReadOnlyObject
from webhooks.caller import Caller
from webhooks.validate.change import fields_of

_NOW: Final = timedelta(seconds=10)
"""How far the client's clock may be off, and how long the API server may take to call the webhook again."""

DECISIONS: Final = ("Approved", "Rejected")


def with_authors(run: ReadOnlyObject, old: ReadOnlyObject, caller: Caller, now: datetime) -> dict[str, Any]:
    """A copy of a StoryRun whose new decisions say who made them; idempotent.

    If a client names a user other than itself, that name goes into ``message``: it is the user for whom a program
    decides. An instant other than now is replaced. The fields stay if an administrator wrote them, because
    administrators restore runs with old decisions. Earlier decisions stay, too.
    """
    status = fields_of(run.get("status"))
    before, after = fields_of(fields_of(old.get("status")).get("gates")), fields_of(status.get("gates"))
    signed = dict(_signed(before, after, caller, now))
    return {**run, "status": {**status, "gates": {**after, **signed}}} if signed else dict(run)


def _signed(
    before: ReadOnlyObject, after: ReadOnlyObject, caller: Caller, now: datetime
) -> Iterator[tuple[str, ReadOnlyObject]]:
    if caller.is_operator or not caller.username:
        return
    for name, value in after.items():
        decision = fields_of(value)
        if decision.get("state") in DECISIONS and fields_of(before.get(name)).get("state") not in DECISIONS:
            yield name, {**_by(decision, caller), "updatedAt": _at(decision, caller, now)}


def _at(decision: ReadOnlyObject, caller: Caller, now: datetime) -> str:
    said = decision.get("updatedAt")
    at = parse_instant_or_none(said)
    is_now = at is not None and abs(at - now) <= _NOW
    return said if isinstance(said, str) and at is not None and (caller.is_trusted or is_now) else format_instant(now)


def _by(decision: ReadOnlyObject, caller: Caller) -> ReadOnlyObject:
    said = decision.get("updatedBy") or caller.username
    if said == caller.username or caller.is_trusted:
        return {**decision, "updatedBy": said}
    why = str(decision.get("message") or "")
    message = f"{why} (on behalf of {said})" if why else f"{decision['state']} on behalf of {said}"
    return {**decision, "updatedBy": caller.username, "message": message}
