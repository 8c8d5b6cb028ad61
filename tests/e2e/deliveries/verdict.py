"""What is wrong at the end of a campaign: a delivery that was lost, doubled, or answered in two ways. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from bubu_contract.submission import story_run_name, trigger_name
from core.workloads.keyed_request import Decision
from tests.e2e.deliveries.ledger import StoredAnswer
from tests.e2e.deliveries.sender import Receipt

_EXAMPLES: Final = 3


class StoredRun(NamedTuple):
    """A StoryRun at the end."""

    name: str
    uid: str
    key: str
    phase: str


class StoredTrigger(NamedTuple):
    """A StoryTrigger at the end."""

    name: str
    key: str


@dataclass(frozen=True)
class DeliveryFacts:
    """What is known at the end."""

    namespace: str
    story: str
    keys: Sequence[str]
    """Those of all deliveries."""
    receipts: Mapping[str, Sequence[Receipt]]
    """By client."""
    runs: Sequence[StoredRun]
    triggers: Sequence[StoredTrigger]
    runs_created: Mapping[str, int]
    """How often etcd saw a run of this name created."""
    triggers_created: Mapping[str, int]
    deleted: Sequence[str]
    answers: Mapping[str, Sequence[StoredAnswer]]
    """By StoryTrigger, every answer that etcd has stored."""
    log: Sequence[str]
    """Errors in the operator's log, and lines that nothing of ours writes."""


def problems(facts: DeliveryFacts) -> list[str]:
    """Every statement that does not hold, with examples; empty if each delivery started its run, once."""
    return [
        *_of_clients(facts),
        *_of_triggers(facts),
        *_of_runs(facts),
        *_of_answers(facts),
        *_if_any("errors in the operator's log", facts.log),
    ]


def _of_clients(facts: DeliveryFacts) -> Iterator[str]:
    for client, receipts in facts.receipts.items():
        refused = [f"{receipt.key}: {receipt.problem}" for receipt in receipts if not receipt.trigger]
        yield from _if_any(f"deliveries of client {client} were not accepted", refused)
        yield from _difference(f"deliveries of client {client}", facts.keys, (receipt.key for receipt in receipts))
    names: dict[str, set[str]] = {}
    for receipts in facts.receipts.values():
        for receipt in receipts:
            if receipt.trigger:
                names.setdefault(receipt.key, set()).add(receipt.trigger)
    several = [f"{key}: {sorted(found)}" for key, found in names.items() if len(found) > 1]
    yield from _if_any("deliveries got several names", several)
    stored = {trigger.name for trigger in facts.triggers}
    lost = [f"{key}: {name}" for key, found in names.items() for name in found - stored]
    yield from _if_any("accepted deliveries have no StoryTrigger", lost)


def _of_triggers(facts: DeliveryFacts) -> Iterator[str]:
    yield from _difference("StoryTriggers by key", facts.keys, (trigger.key for trigger in facts.triggers))
    expected = [trigger_name(facts.namespace, facts.story, key) for key in facts.keys]
    yield from _difference("StoryTriggers by name", expected, (trigger.name for trigger in facts.triggers))
    yield from _difference("creations of StoryTriggers", expected, Counter(facts.triggers_created).elements())


def _of_runs(facts: DeliveryFacts) -> Iterator[str]:
    yield from _difference("StoryRuns by key", facts.keys, (run.key for run in facts.runs))
    expected = [story_run_name(facts.namespace, facts.story, key) for key in facts.keys]
    yield from _difference("StoryRuns by name", expected, (run.name for run in facts.runs))
    yield from _difference("creations of StoryRuns", expected, Counter(facts.runs_created).elements())
    yield from _if_any("objects were deleted", facts.deleted)
    failed = [f"{run.name}: {run.phase or 'no phase'}" for run in facts.runs if run.phase != "Succeeded"]
    yield from _if_any("runs did not succeed", failed)


def _of_answers(facts: DeliveryFacts) -> Iterator[str]:
    uids = {run.name: run.uid for run in facts.runs}
    runs = {trigger_name(facts.namespace, facts.story, key): key for key in facts.keys}
    unanswered, changed, wrong = [], [], []
    for trigger, key in runs.items():
        answers = facts.answers.get(trigger) or ()
        if not answers:
            unanswered.append(trigger)
            continue
        if len(answers) > 1:
            changed.append(f"{trigger}: {list(answers)}")
        run = story_run_name(facts.namespace, facts.story, key)
        if (answers[-1].decision, answers[-1].run, answers[-1].run_uid) != (Decision.CREATED, run, uids.get(run)):
            wrong.append(f"{trigger}: {answers[-1]}")
    yield from _if_any("StoryTriggers have no answer", unanswered)
    yield from _if_any("StoryTriggers were answered more than once", changed)
    yield from _if_any("StoryTriggers have another answer than Created with their run", wrong)


def _difference(what: str, expected: Iterable[str], found: Iterable[str]) -> Iterator[str]:
    wanted, there = Counter(expected), Counter(found)
    yield from _if_any(f"{what}: missing", sorted((wanted - there).elements()))
    yield from _if_any(f"{what}: too many", sorted((there - wanted).elements()))


def _if_any(what: str, found: Sequence[str]) -> Iterator[str]:
    if found:
        more = f" and {len(found) - _EXAMPLES} more" if len(found) > _EXAMPLES else ""
        yield f"{what}: {len(found)}: {'; '.join(found[:_EXAMPLES])}{more}"
