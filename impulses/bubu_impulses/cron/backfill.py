"""Makes the starts of a range, with the keys that they have in the schedule: what was made before is not made again.

    python -m bubu_impulses.cron backfill --from 2026-01-01 --to 2026-02-01 --schedule nightly

It runs in the container of the Impulse, or elsewhere with ``--impulse`` and ``--namespace`` and a kubeconfig. Deadlines
and the concurrency policy do not apply; the throttle and the retries of the Impulse do.
"""

from __future__ import annotations

import argparse
from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from bubu_contract import canonical
from bubu_impulses.cron.ports import Starter
from bubu_impulses.cron.schedule import Schedule, Start
from bubu_sdk import EngramError, TriggerPendingError
from bubu_sdk.kube import ENGRAMS_API, Cluster, KubeError

DEFAULT_LIMIT: Final = 1000


@dataclass(frozen=True)
class Range:
    """What the command line asks for."""

    start: str
    """A date, or an instant in ISO 8601; without an offset it is in the time zone of each schedule."""
    end: str
    """Not included."""
    schedules: tuple[str, ...] = ()
    """Names; empty for all."""
    dry_run: bool = False
    limit: int = DEFAULT_LIMIT
    impulse: str = ""
    namespace: str = ""


class BackfillError(ValueError):
    """*user*: the range cannot be used."""


def parse(arguments: Sequence[str]) -> Range:
    """The range of a command line; ends the process if it is not valid."""
    parser = argparse.ArgumentParser(
        prog="python -m bubu_impulses.cron backfill", description="Submit the starts that a schedule has missed."
    )
    parser.add_argument("--from", dest="start", required=True, metavar="DATE", help="date or instant (ISO 8601)")
    parser.add_argument("--to", dest="end", required=True, metavar="DATE", help="date or instant; not included")
    parser.add_argument(
        "--schedule", dest="schedules", action="append", default=[], metavar="NAME", help="default: all"
    )
    parser.add_argument("--dry-run", action="store_true", help="print the keys and submit nothing")
    parser.add_argument(
        "--limit", type=int, default=DEFAULT_LIMIT, help=f"refuse a range with more starts; default {DEFAULT_LIMIT}"
    )
    parser.add_argument(
        "--impulse", default="", metavar="NAME", help="name of the Impulse; only outside of its container"
    )
    parser.add_argument("--namespace", default="default", help="namespace of that Impulse")
    given = parser.parse_args(arguments)
    return Range(
        given.start,
        given.end,
        tuple(given.schedules),
        given.dry_run,
        given.limit,
        given.impulse,
        given.namespace if given.impulse else "",
    )


def starts(schedules: Sequence[Schedule], wanted: Range) -> list[Start]:
    """The starts of the range, in order of time. Pure.

    Raises:
        BackfillError: a name or an instant cannot be used, or there are more starts than the limit.
    """
    known = {schedule.name: schedule for schedule in schedules}
    if unknown := [name for name in wanted.schedules if name not in known]:
        raise BackfillError(f"there is no schedule {', '.join(unknown)}; there are {', '.join(sorted(known))}")
    found: list[Start] = []
    for name in wanted.schedules or sorted(known):
        schedule = known[name]
        first, last = _instant(wanted.start, schedule), _instant(wanted.end, schedule)
        if first >= last:
            raise BackfillError("--to must be after --from")
        found += map(schedule.start, schedule.all_between(first, last, wanted.limit))
    if len(found) > wanted.limit:
        raise BackfillError(f"the range has more than {wanted.limit} starts; choose a shorter one, or raise --limit")
    return sorted(found, key=lambda start: (start.instant, start.schedule))


async def make(found: Sequence[Start], starter: Starter) -> int:
    """Submit the starts one after the other, and print what became of each; returns the number of failures."""
    failures = 0
    for start in found:
        try:
            decision = await starter.submit(start)
            print(f"{start.key}: {decision.outcome} {decision.story_run}", flush=True)
        except TriggerPendingError:
            print(f"{start.key}: submitted, still undecided", flush=True)
        except (EngramError, KubeError) as error:
            failures += 1
            print(f"{start.key}: failed: {error}", flush=True)
    return failures


def adopt(environ: MutableMapping[str, str], cluster: Cluster, wanted: Range) -> None:
    """Set the variables that the container of the Impulse has.

    Raises:
        KubeError: the Impulse cannot be read.
    """
    path = f"{ENGRAMS_API}/namespaces/{wanted.namespace}/impulses/{wanted.impulse}"
    spec: dict[str, Any] = cluster.request("GET", path).get("spec") or {}
    story = spec.get("storyRef") or {}
    own = {
        "BUBU_IMPULSE_NAME": wanted.impulse,
        "BUBU_IMPULSE_NAMESPACE": wanted.namespace,
        "BUBU_TARGET_STORY_NAME": str(story.get("name", "")),
        "BUBU_TARGET_STORY_NAMESPACE": str(story.get("namespace") or wanted.namespace),
        "BUBU_STEP_CONFIG": canonical.encode(spec.get("with") or {}).decode(),
    }
    environ.update(own)


def _instant(text: str, schedule: Schedule) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise BackfillError(f"{text!r} is neither a date nor an instant, for example 2026-01-31T12:00:00Z") from error
    return (found if found.tzinfo is not None else found.replace(tzinfo=schedule.zone)).astimezone(UTC)
