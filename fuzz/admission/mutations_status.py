"""Mistakes in writes to the status subresource: the writer has no right to it, or the content is invalid."""

from __future__ import annotations

from typing import Final

from core.api.loops import MAX_ITEMS
from core.api.objects import Object
from core.api.sizes import MAX_STEP_STATUS_BYTES
from fuzz.admission.chance import Chance
from fuzz.admission.mutations import NOT_ALLOWED, Draft, breaks, enlarge, malformed, out_of_reach, section, somewhere
from webhooks.caller import ADMINISTRATORS, Caller, service_account

_PERSON: Final = Caller("ann", frozenset({"people"}))
_FIELDS: Final[dict[str, Object]] = {
    "StoryRun": {"phase": "Succeeded", "stepStates": {"a": {"phase": "Failed"}}, "output": {"x": 1}, "message": "m"},
    "StepRun": {"phase": "Succeeded", "output": {"x": 1}, "exitCode": 0, "error": {"type": "unknown", "message": "m"}},
    "StoryTrigger": {"decision": "Created", "reason": "Because"},
    "EffectClaim": {"phase": "Completed"},
}


def _trusted(chance: Chance) -> Caller:
    return chance.pick((Caller("op", is_operator=True), Caller("root", frozenset({ADMINISTRATORS}))))


def _runner(draft: Draft) -> Caller:
    """A container of the StepRun, under any account of its namespace."""
    account = service_account(draft.namespace, "any-engram-runner")
    return Caller(account, pod=f"{draft.new['metadata']['name']}-"[:58] + "x7k2p")


def _write(draft: Draft, status: Object, before: Object | None = None) -> Object:
    """Set ``status`` as a write over ``before``; returns the new status, to which a mistake may be added."""
    draft.old = {**draft.new, "status": before or {}}
    draft.new["status"] = {**(before or {}), **status}
    written: Object = draft.new["status"]
    return written


@breaks("status/writer", *_FIELDS, update=False)
def _written_by_a_stranger(chance: Chance, draft: Draft) -> list[str]:
    fields = _FIELDS[draft.new["kind"]]
    keys = chance.some(tuple(fields), 3, 1)
    written = {key: fields[key] for key in keys}
    if draft.new["kind"] == "StoryRun" and chance.yes():
        written["gates"] = {}
    _write(draft, written)
    if chance.yes(3):
        assert draft.old is not None
        draft.new["status"], draft.old["status"] = draft.old["status"], draft.new["status"]
    draft.caller = chance.pick((_PERSON, Caller(service_account(draft.namespace, "another-engram-runner"))))
    return [f"status.{key}" for key in sorted(keys)]


@breaks("status/operator-field", "StepRun", update=False)
def _of_the_operator(chance: Chance, draft: Draft) -> list[str]:
    values: Object = {
        "conditions": [{"type": "Ready", "status": "True"}],
        "retries": 2,
        "nextRetryAt": "2026-01-01T00:00:00Z",
        "lastOutputAt": "2026-01-01T00:00:00Z",
        "handoff": {"phase": "ready"},
    }
    keys = chance.some(tuple(values), 3, 1)
    _write(draft, {"phase": "Succeeded", **{key: values[key] for key in keys}}, {"phase": "Running", "retries": 0})
    draft.caller = _runner(draft)
    return [f"status.{key}" for key in keys]


@breaks("status/phase", "StepRun", update=False)
def _not_to_be_reported(chance: Chance, draft: Draft) -> str:
    _write(draft, {"phase": chance.pick(("Skipped", "Finished", "Compensated", "Blocked"))}, {"phase": "Running"})
    draft.caller = _runner(draft)
    return "status.phase"


@breaks("status/ended", "StepRun", update=False)
def _result_of_a_recorded_end(chance: Chance, draft: Draft) -> list[str]:
    phase = chance.pick(("Succeeded", "Failed", "Timeout", "Canceled", "Aborted"))
    recorded = {"phase": phase, "conditions": [{"type": "Progressing", "status": "False"}]}
    fields: Object = {
        "output": {"x": 1},
        "exitCode": 3,
        "error": {"type": "unknown"},
        "signals": {"k": {"v": 1}},
        "phase": "Running",
    }
    late: Object = {"logs": {"k": 1}, "effects": [], "workerExit": {"attempt": 0}}
    keys = chance.some(tuple(fields), 3, 1)
    _write(
        draft, {key: fields[key] for key in keys} | {key: late[key] for key in chance.some(tuple(late), 2)}, recorded
    )
    draft.caller = _runner(draft)
    return [f"status.{key}" for key in keys]


def _gate(chance: Chance, draft: Draft) -> str:
    """Adds a gate to the run's Story, perhaps among the branches of a step, or for each item; returns its name."""
    gate: Object = {"name": "ask", "type": "gate"}
    name = "ask"
    if chance.yes():
        gate, name = {"name": "around", "type": "parallel", "with": {"steps": [gate]}}, "around/ask"
    if chance.yes():
        number, inner = chance.number(0, MAX_ITEMS - 1), "/ask" if name != "ask" else ""
        gate = {"name": "each", "type": "parallel", "with": {"forEach": [1], "steps": [gate]}}
        name = f"each/{number}{inner}"
    draft.referred("Story", draft.spec["storyRef"])["spec"]["steps"].append(gate)
    return name


@breaks("status/gate-decided", "StoryRun", update=False)
def _decided_again(chance: Chance, draft: Draft) -> str:
    name = _gate(chance, draft)
    states = chance.some(("Approved", "Rejected"), 2, 2)
    after: Object = chance.pick(({name: {"state": states[1]}}, {name: {"state": "Pending"}}, {}))
    _write(draft, {"gates": after}, {"gates": {name: {"state": states[0]}}})
    draft.caller = _PERSON
    return f"status.gates.{name}"


@breaks("status/gate-time", "StoryRun", update=False)
def _decided_before_the_run(chance: Chance, draft: Draft) -> str:
    name = _gate(chance, draft)
    draft.new["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z"
    at = chance.pick(("2025-12-31T23:54:59Z", "2001-01-01T00:00:00Z"))
    _write(draft, {"gates": {name: {"state": chance.pick(("Approved", "Rejected")), "updatedAt": at}}})
    draft.caller = _PERSON
    return f"status.gates.{name}.updatedAt"


@breaks("status/gate-data", "StoryRun", update=False)
def _data_nobody_reads(chance: Chance, draft: Draft) -> str:
    name = _gate(chance, draft)
    wrong: Object = {
        "state": "Approved",
        "data": {chance.pick(("$bubuSecretRef", "a.b", "1st", "", "a-b", "k" * 64, "ä", "k\n")): "v"},
    }
    early: Object = {"state": chance.pick(("Rejected", "Pending")), "data": {"k": "v"}}
    _write(draft, {"gates": {name: chance.pick((wrong, early))}})
    draft.caller = chance.pick((_PERSON, _trusted(chance)))
    return f"status.gates.{name}.data"


@breaks("status/gate-unknown", "StoryRun", update=False)
def _decided_for_nothing(chance: Chance, draft: Draft) -> str:
    name = _gate(chance, draft)
    state = chance.pick(("Approved", "Rejected", "Pending"))
    nowhere = chance.pick(("asc", f"{name}/x", f"x/{name}", "each", f"each/{MAX_ITEMS}", f"each/{MAX_ITEMS}/ask"))
    _write(draft, {"gates": {nowhere: {"state": state}, name: {"state": state}}})
    draft.caller = chance.pick((_PERSON, _trusted(chance)))
    return f"status.gates.{nowhere}"


@breaks("status/generation", *_FIELDS, update=False)
def _older_generation(chance: Chance, draft: Draft) -> str:
    _write(draft, {"observedGeneration": chance.number(0, 6)}, {"observedGeneration": 7})
    if chance.yes(3):
        del draft.new["status"]["observedGeneration"]
    draft.caller = _trusted(chance)
    return "status.observedGeneration"


def _output(chance: Chance, draft: Draft) -> Object:
    """The output that a step reports."""
    before = {"output": {"x": 0}} if chance.yes() else {}
    written = _write(draft, {"phase": "Succeeded", "output": {"x": 1}}, before)
    draft.caller = chance.pick((_runner(draft), _trusted(chance)))
    output: Object = section(written, "output")
    return output


@breaks("status/output-size", "StepRun", update=False)
def _large_output(chance: Chance, draft: Draft) -> str:
    enlarge(_output(chance, draft), 4096)
    return "status.output"


@breaks("status/size", "StepRun", update=False)
def _large_status(chance: Chance, draft: Draft) -> str:
    written = _write(draft, {"phase": "Failed", "lastFailureMsg": "x"}, {})
    draft.caller = chance.pick((_runner(draft), _trusted(chance)))
    written["lastFailureMsg"] = "x" * (MAX_STEP_STATUS_BYTES + chance.number(0, 100))
    return "status"


@breaks("status/output-reference", "StepRun", update=False)
def _malformed_output(chance: Chance, draft: Draft) -> str:
    wrong, below = malformed(chance)
    return f"{somewhere(chance, _output(chance, draft), 'status.output', wrong)}.{below}"


@breaks("status/output-namespace", "StepRun", update=False, policies=NOT_ALLOWED)
def _output_out_of_reach(chance: Chance, draft: Draft) -> str:
    wrong, below = out_of_reach(chance)
    return f"{somewhere(chance, _output(chance, draft), 'status.output', wrong)}.{below}"
