"""Cases that once failed, kept for ever: one JSON file each under ``fuzz/corpus/engine``, with the reason in words.

A file has ``why``, ``spec`` and, where they matter, ``scripts``, ``cancelAfterSeconds``, ``storyAfterSeconds``,
``kills``, ``faults``, ``deliveries`` and ``seed``. Engrams are those of ``strategies``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fuzz.engine.adapters import Fault
from fuzz.engine.cases import Case, Trouble
from fuzz.engine.strategies import ENGRAMS, INPUTS
from fuzz.engine.watches import Delivery
from fuzz.engine.worker import Act, Script

FOLDER: Final = Path(__file__).parent.parent / "corpus" / "engine"


@dataclass(frozen=True)
class Pinned:
    name: str
    why: str
    case: Case
    trouble: Trouble
    seed: int


def pinned_cases() -> list[Pinned]:
    return [_read(path) for path in sorted(FOLDER.glob("*.json"))]


def _read(path: Path) -> Pinned:
    entry = json.loads(path.read_text())
    scripts = {
        step: tuple(Script(**(attempt | {"act": Act(attempt["act"])})) for attempt in attempts)
        for step, attempts in entry.get("scripts", {}).items()
    }
    case = Case(
        entry["spec"],
        scripts,
        ENGRAMS,
        INPUTS,
        cancel_after_seconds=entry.get("cancelAfterSeconds"),
        story_after_seconds=entry.get("storyAfterSeconds", 0.0),
    )
    trouble = Trouble(
        kills=tuple(entry.get("kills", ())),
        faults=tuple({int(k): Fault(v) for k, v in calls.items()} for calls in entry.get("faults", ())),
        deliveries={int(k): Delivery(v) for k, v in entry.get("deliveries", {}).items()},
    )
    return Pinned(path.stem, entry["why"], case, trouble, entry.get("seed", 0))
