"""The engine asks ``core.engine.streams`` what concerns streams, and the traits of executors what concerns executors.

So its other modules have no names of their own for either, but for those listed here.
"""

from __future__ import annotations

import re
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ENGINE: Final = Path(__file__).parents[4] / "core" / "engine"
WORDS: Final = re.compile(r"(?<!down)(?<!up)stream|realtime|worker", re.IGNORECASE)
EVERYWHERE: Final = frozenset({"streams", "Streams", "is_realtime", "AWAITING_WORKER"})
"""The neighbour, what a plan says of its Story, and a reason of the API."""
OWN: Final = {
    "plan.py": {"serves_stream", "realtime"},  # what the Story declares
    "ports.py": {"STREAM", "WORKER", "LiveStream", "worker"},  # what an executor is asked for, and what it shows
    "primitives/running_mark.py": {"LiveStream"},
    "run/adopted_plan.py": {"serves_stream", "has_streams"},
    "run/restored.py": {"serves_stream"},
    "step/record.py": {"worker"},  # a field of ``status.attempt``
    # what the StepRun of a warm worker says
    "step/assignment.py": {"worker", "worker_uid", "WorkerExit", "worker_exit_of", "LABEL_WORKER"},
    "step/worker_observation.py": {"WORKER_LOST", "WorkerExit", "observe_worker", "worker", "worker_exit_of"},
}


def names_in(module: Path) -> Iterator[str]:
    """The names in the code of a module, without those in its import statements."""
    statement = ""
    with module.open("rb") as file:
        for token in tokenize.tokenize(file.readline):
            if token.type in (tokenize.NEWLINE, tokenize.NL, tokenize.COMMENT, tokenize.INDENT, tokenize.DEDENT):
                statement = "" if token.type == tokenize.NEWLINE else statement
            elif token.type == tokenize.NAME:
                statement = statement or token.string
                if statement not in ("from", "import"):
                    yield token.string


def test_only_the_neighbours_of_the_engine_name_streams_and_workers() -> None:
    found: dict[str, set[str]] = {}
    for module in ENGINE.rglob("*.py"):
        place = module.relative_to(ENGINE)
        if place.parts[0] != "streams":
            names = {name for name in names_in(module) if WORDS.search(name)} - EVERYWHERE
            if names:
                found[place.as_posix()] = names

    assert found == OWN
