"""What makes a run cost more requests than it must, and whether that was so: the audit log tells. Pure.

The operator collects changes, so what a run costs depends on how long it takes. Each number of the budget that depends
on time names one of these circumstances. A request that the log does not explain by its circumstance is one too many,
however slow the machine is. The limits are what the page promises, not the settings of the operator, so a change of
those is noticed; less what clocks may differ by.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from itertools import pairwise
from typing import Final

from tests.e2e.write_budget.counting import Request, Sender, Sent

_CLOCKS_SECONDS: Final = 0.02
_BEGIN_SECONDS: Final = 0.25 - _CLOCKS_SECONDS
_APART_SECONDS: Final = 1.0 - _CLOCKS_SECONDS
_LONG_SECONDS: Final = 2.0 - _CLOCKS_SECONDS
_LATE_SECONDS: Final = 0.25 - 0.1
"""The operator measures from when it sends the request for the StepRun; the log has when the server received it."""
_ROUND_SECONDS: Final = 2.0
_RECORDED_SECONDS: Final = 0.5
"""The instant of an end may be so long before its write is received."""
_SEEN_SECONDS: Final = 0.2
"""A round may see so late that a step has ended."""


class Case(StrEnum):
    """A circumstance; the value says it in the words of the page."""

    LASTS = "the run lasts 0.25 s"
    APART = "its last write is a second ago"
    LONG = "the step lasts two seconds"
    LATE = "the Job is later than its StepRun by 0.25 s"
    ROUNDS = "steps of an Engram end in different seconds, or take two seconds"
    REFUSED = "a request was refused: 403, 409, 429, 5xx"
    LINGERS = "the Pod of the failed attempt is not gone yet"
    HELD_UP = "nothing happens for two seconds"


def explained(case: Case, request: Request, sent: Sequence[Sent]) -> int:
    """How many more requests of this kind the circumstance explains. ``sent``: all of the run, in any order."""
    sent = sorted(sent, key=lambda each: each.at)
    match case:
        case Case.LASTS:
            return _runs_that_last(sent)
        case Case.APART:
            return _writes_apart(sent)
        case Case.LONG:
            return _long_steps(sent)
        case Case.LATE:
            return _late_jobs(sent)
        case Case.ROUNDS:
            return _more_rounds(sent)
        case Case.REFUSED:
            return _refused(request, sent)
        case Case.LINGERS:
            return _questions_about_a_pod(sent)
        case Case.HELD_UP:
            return _pauses(sent)


def _runs_that_last(sent: Sequence[Sent]) -> int:
    """From the creation of the run. The operator has begun before the log has its first request, which may be late."""
    created = _first((each for each in sent if each.code < 300), "create", "storyruns")
    writes = _status_writes(sent)
    return sum(name in writes and writes[name][-1].at - at >= _BEGIN_SECONDS for name, at in created.items())


def _writes_apart(sent: Sequence[Sent]) -> int:
    """Writes of the status of a run so long after the one before. The first and the last have reasons of their own."""
    return sum(
        write.at - before.done >= _APART_SECONDS
        for writes in _status_writes(sent).values()
        for before, write in pairwise(writes[:-1])
    )


def _long_steps(sent: Sequence[Sent]) -> int:
    created, jobs = _first(sent, "create", "stepruns"), _first(sent, "create", "jobs")
    assigned = {name: max(at, _first(sent, "patch", "stepruns").get(name, at)) for name, at in created.items()}
    began = assigned | jobs
    return sum(at - began[name] >= _LONG_SECONDS for name, at in _ends(sent).items() if name in began)


def _late_jobs(sent: Sequence[Sent]) -> int:
    created, jobs = _first(sent, "create", "stepruns"), _first(sent, "create", "jobs")
    return sum(at - created[name] >= _LATE_SECONDS for name, at in jobs.items() if name in created)


def _more_rounds(sent: Sequence[Sent]) -> int:
    """Rounds in which an Engram is counted, beside the first; each is two seconds after the one before.

    A step that ends is counted in a later round than another only if they have not ended in the same second; and one
    that has not ended is counted as begun.
    """
    began, ends = _first(sent, "create", "stepruns"), sorted(_ends(sent).values())
    if not began or not ends:
        return 0
    seconds = int(ends[-1]) - int(ends[0] - _RECORDED_SECONDS)
    span = ends[-1] - min(began.values()) + _SEEN_SECONDS
    return min(len(ends) - 1, seconds) + int(span / _ROUND_SECONDS)


def _refused(request: Request, sent: Sequence[Sent]) -> int:
    return sum(
        each.request.sender is request.sender
        and each.request.resource == request.resource
        and (each.is_repeated or each.code == 403)
        for each in sent
    )


def _questions_about_a_pod(sent: Sequence[Sent]) -> int:
    """Asked after the Job of a failed attempt was deleted, and before its Pod is gone."""
    deleted = _first(sent, "delete", "jobs").values()
    started = max(
        (each.at for each in sent if (each.request.verb, each.request.target) == ("create", "jobs")), default=0
    )
    gone = [each.done for each in sent if each.request == Request(Sender.CLUSTER, "delete", "pods")]
    last = max((at for at in gone if at <= started), default=0.0)
    asked = [each.at for each in sent if each.request == Request(Sender.OPERATOR, "list", "pods")]
    return sum(min(deleted) <= at <= last for at in asked) if deleted else 0


def _pauses(sent: Sequence[Sent]) -> int:
    return sum(later.at - each.done >= _LONG_SECONDS for each, later in pairwise(_of_runs(sent)))


def _of_runs(sent: Iterable[Sent]) -> list[Sent]:
    """Those of ours that are not about definitions."""
    return [
        each for each in sent if each.request.sender.is_ours and each.request.resource not in ("stories", "engrams")
    ]


def _first(sent: Iterable[Sent], verb: str, target: str) -> dict[str, float]:
    """When the first such request about each name was received."""
    found: dict[str, float] = {}
    for each in sent:
        if (each.request.verb, each.request.target) == (verb, target):
            found.setdefault(each.name, each.at)
    return found


def _ends(sent: Iterable[Sent]) -> dict[str, float]:
    """When the operator has written the status of each StepRun last."""
    end = Request(Sender.OPERATOR, "patch", "stepruns/status")
    return {each.name: each.at for each in sent if each.request == end and not each.is_repeated}


def _status_writes(sent: Iterable[Sent]) -> dict[str, list[Sent]]:
    """The operator's writes of the status of each run."""
    found: dict[str, list[Sent]] = {}
    for each in sent:
        if each.request == Request(Sender.OPERATOR, "patch", "storyruns/status") and not each.is_repeated:
            found.setdefault(each.name, []).append(each)
    return found
