"""Cases that once failed and are kept: each is a file in ``fuzz/corpus/engine``, with the reason as text.

A file, JSON or YAML, has ``why``, ``spec`` and, if they matter, ``stories``, ``scripts``, ``cancelAfterSeconds``,
``storyAfterSeconds``, ``rivals`` (further runs), ``schedule`` (the actions and their instants), ``kills``, ``faults``,
``deliveries``, ``lags``, ``secondLags``, ``latencySeconds``, ``heals`` and ``seed``; if clients take part,
``submissions``, ``strays``, ``times``, ``clientKills``, ``clientFreezes`` and ``clientFaults``. Engrams and inputs are
those of the strategies.
"""

from __future__ import annotations

import dataclasses
import io
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML

from fuzz.engine.actions import action_from_wire, action_to_wire
from fuzz.engine.answers import USUAL_TIMES, TriggerTimes
from fuzz.engine.case import Case, Rival
from fuzz.engine.cases import Trouble
from fuzz.engine.clients.effects import Effect, Stray
from fuzz.engine.clients.submissions import Submission
from fuzz.engine.process import Fault
from fuzz.engine.strategies import ENGRAMS
from fuzz.engine.strategies_story import INPUTS
from fuzz.engine.strategies_streams import ENGRAMS as STREAMING_ENGRAMS
from fuzz.engine.watches import Delivery
from fuzz.engine.worker import Act, Script

FOLDER: Final = Path(__file__).parent.parent / "corpus" / "engine"
FOUND: Final = "found.yaml"
"""The file of the newest failure until it gets a name; Hypothesis writes the smallest failure last."""


@dataclass(frozen=True)
class Pinned:
    name: str
    why: str
    case: Case
    trouble: Trouble
    seed: int


_MAY_BE_ZERO: Final = ("cancelAfterSeconds", "seed")


def pinned_cases() -> list[Pinned]:
    paths = sorted([*FOLDER.glob("*.json"), *FOLDER.glob("*.yaml")])
    return [read_case(path) for path in paths]


def read_case(path: Path) -> Pinned:
    text = path.read_text()
    entry = json.loads(text) if path.suffix == ".json" else YAML(typ="safe").load(text)
    scripts = {
        step: tuple(_script_from(attempt) for attempt in attempts)
        for step, attempts in entry.get("scripts", {}).items()
    }
    case = Case(
        entry["spec"],
        scripts,
        STREAMING_ENGRAMS if entry["spec"].get("pattern") == "realtime" else ENGRAMS,
        INPUTS,
        cancel_after_seconds=entry.get("cancelAfterSeconds"),
        story_after_seconds=entry.get("storyAfterSeconds", 0.0),
        stories=entry.get("stories", {}),
        actions=tuple(action_from_wire(action) for action in entry.get("schedule", ())),
        rivals=tuple(_rival_from(one) for one in entry.get("rivals", ())),
        submissions=tuple(Submission(**one) for one in entry.get("submissions", ())),
        strays=tuple(Stray(**(one | {"effect": Effect(**one.get("effect", {}))})) for one in entry.get("strays", ())),
        times=TriggerTimes(**entry.get("times", {})),
    )
    trouble = Trouble(
        kills=tuple(entry.get("kills", ())),
        faults=tuple({int(k): Fault(v) for k, v in calls.items()} for calls in entry.get("faults", ())),
        deliveries={int(k): Delivery(v) for k, v in entry.get("deliveries", {}).items()},
        lags=entry.get("lags", {}),
        second_lags=entry.get("secondLags", {}),
        latency_seconds=entry.get("latencySeconds", 0.0),
        heals=entry.get("heals", False),
        client_kills=tuple(entry.get("clientKills", ())),
        client_freezes={int(stop): float(seconds) for stop, seconds in entry.get("clientFreezes", {}).items()},
        client_faults={int(k): Fault(v) for k, v in entry.get("clientFaults", {}).items()},
    )
    return Pinned(path.stem, entry["why"], case, trouble, entry.get("seed", 0))


def case_to_wire(case: Case, trouble: Trouble, seed: int, why: str) -> dict[str, Any]:
    """The content of a file; empty entries are left out."""
    entry: dict[str, Any] = {
        "why": why,
        "spec": _plain(case.spec),
        "stories": _plain(case.stories),
        "scripts": {step: [_script(one) for one in attempts] for step, attempts in case.scripts.items()},
        "cancelAfterSeconds": case.cancel_after_seconds,
        "storyAfterSeconds": case.story_after_seconds,
        "rivals": [_rival(one) for one in case.rivals],
        "schedule": [_plain(action_to_wire(action)) for action in sorted(case.actions, key=lambda one: one.at)],
        "kills": list(trouble.kills),
        "faults": [{number: str(fault) for number, fault in calls.items()} for calls in trouble.faults],
        "deliveries": {number: str(delivery) for number, delivery in trouble.deliveries.items()},
        "lags": dict(trouble.lags),
        "secondLags": dict(trouble.second_lags),
        "latencySeconds": trouble.latency_seconds,
        "heals": trouble.heals,
        "submissions": [_slim(one) for one in case.submissions],
        "strays": [_slim(one) for one in case.strays],
        "times": {} if case.times == USUAL_TIMES else case.times._asdict(),
        "clientKills": list(trouble.client_kills),
        "clientFreezes": dict(trouble.client_freezes),
        "clientFaults": {number: str(fault) for number, fault in trouble.client_faults.items()},
        "seed": seed,
    }
    if not any(entry["faults"]):
        del entry["faults"]
    return {key: value for key, value in entry.items() if value or key == "why" or (key in _MAY_BE_ZERO and value == 0)}


def keep_failure(case: Case, trouble: Trouble, seed: int, broken: list[str]) -> str:
    """The case as YAML; also written into the corpus for the next test run, unless that is switched off."""
    stream = io.StringIO()
    yaml = YAML()
    yaml.default_flow_style = None
    yaml.width = 120
    yaml.dump(case_to_wire(case, trouble, seed, "; ".join(broken)[:1000]), stream)
    if os.environ.get("BOBRAPET_FUZZ_KEEP", "yes") == "yes":
        (FOLDER / FOUND).write_text(stream.getvalue())
    return stream.getvalue()


def _rival(rival: Rival) -> dict[str, Any]:
    participant = {} if rival.participant is None else {"participant": rival.participant}
    return {"at": rival.at, **participant, **({"reuses": True} if rival.reuses else {})}


def _rival_from(one: Mapping[str, Any]) -> Rival:
    return Rival(float(one["at"]), one.get("participant"), one.get("reuses", False))


def _script(script: Script) -> dict[str, Any]:
    return {"act": str(script.act)} | {key: value for key, value in _slim(script).items() if key != "act"}


def _script_from(wire: Mapping[str, Any]) -> Script:
    effect = Effect(**wire["effect"]) if wire.get("effect") is not None else None
    return Script(**{**wire, "act": Act(wire["act"]), "effect": effect})


def _slim(record: Any) -> dict[str, Any]:
    """The fields of a frozen record that differ from their defaults."""
    found = {}
    for field in dataclasses.fields(record):
        value = getattr(record, field.name)
        is_default = value == (field.default_factory() if callable(field.default_factory) else field.default)
        if not is_default:
            found[field.name] = _slim(value) if dataclasses.is_dataclass(value) else _plain(value)
    return found


def _plain(value: Any) -> Any:
    """Plain containers, so that the YAML has no tags and no anchors."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
