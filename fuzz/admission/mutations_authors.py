"""Writes by users who may not create, change or annotate the objects that the operator acts on."""

from __future__ import annotations

import copy
from typing import Any, Final

from core.api.keys import RUN_ANNOTATIONS_OF_OPERATOR
from fuzz.admission.chance import Chance
from fuzz.admission.mutations import Draft, breaks, section
from webhooks.caller import Caller, service_account

_PERSON: Final = Caller("ann", frozenset({"people"}))
_STEP_MARKS: Final = ("bubustack.io/queue", "bubustack.io/story-name", "runs.bubustack.io/step-path")


def _stranger(chance: Chance, draft: Draft) -> Caller:
    """A user, or the container of another run or step."""
    account = service_account(draft.namespace, "another-engram-runner")
    return chance.pick((_PERSON, Caller(account), Caller(account, pod="another-step-x7k2p")))


def _stay_alike(draft: Draft) -> None:
    """Make the stored object equal to the written one, before a mistake is added."""
    assert draft.old is not None
    draft.old |= {part: copy.deepcopy(draft.new[part]) for part in ("metadata", "spec")}


@breaks("author/step-run-made", "StepRun", update=False)
def _step_run_of_a_stranger(chance: Chance, draft: Draft) -> str:
    draft.author = _stranger(chance, draft)
    return "metadata.name"


def _other_overrides(draft: Draft) -> dict[str, Any]:
    """Overrides that differ from those of the StepRun."""
    now = draft.new["spec"].get("executionOverrides") or {}
    return {"debug": not now.get("debug")}


@breaks("author/step-run-spec", "StepRun", update=True)
def _step_run_changed(chance: Chance, draft: Draft) -> list[str]:
    _stay_alike(draft)
    assert draft.old is not None
    fields = chance.some(("timeout", "idempotencyKey", "executionOverrides"), 3, 1)
    for field in fields:
        draft.old["spec"][field] = _other_overrides(draft) if field == "executionOverrides" else "before"
    draft.author = _stranger(chance, draft)
    return [f"spec.{field}" for field in fields]


@breaks("author/impulse-spec", "Impulse", update=True)
def _impulse_changed_by_its_container(chance: Chance, draft: Draft) -> str:
    _stay_alike(draft)
    assert draft.old is not None
    draft.old["spec"]["throttle"] = {"burst": 7, "maxInFlight": 77}
    name = chance.pick((draft.new["metadata"].get("name") or "x", "another"))
    draft.author = Caller(service_account(draft.namespace, f"{name}-impulse-runner"))
    return "spec.throttle"


@breaks("author/mark", "StepRun", update=True)
def _step_marked(chance: Chance, draft: Draft) -> list[str]:
    _stay_alike(draft)
    assert draft.old is not None
    part, keys = chance.pick(("labels", "annotations")), chance.some(_STEP_MARKS, 3, 1)
    where = section(chance.pick((draft.new, draft.old)), "metadata", part)
    where.update(dict.fromkeys(keys, "other"))
    draft.author = _stranger(chance, draft)
    return [f'metadata.{part}["{key}"]' for key in keys]


@breaks("author/mark", "StoryRun")
def _run_marked(chance: Chance, draft: Draft) -> list[str]:
    keys = chance.some(RUN_ANNOTATIONS_OF_OPERATOR, 3, 1)
    section(draft.new, "metadata", "annotations").update(dict.fromkeys(keys, "other"))
    draft.author = _stranger(chance, draft)
    return [f'metadata.annotations["{key}"]' for key in keys]


@breaks("author/controller", "StoryRun")
def _controlled(chance: Chance, draft: Draft) -> str:
    group = "runs.bubustack.io/v1alpha1"
    kind = chance.pick(("StoryRun", "StepRun"))
    owner = {"apiVersion": group, "kind": kind, "name": "p", "uid": "u1", "controller": True}
    draft.new["metadata"]["ownerReferences"] = [owner]
    draft.author = _stranger(chance, draft)
    return "metadata.ownerReferences"


@breaks("claim/author", "EffectClaim")
def _claim_of_a_stranger(chance: Chance, draft: Draft) -> str:
    if draft.old is not None:
        draft.old["spec"] = {key: draft.spec[key] for key in draft.spec if key in _CLAIM_IDENTITY}
        draft.spec.pop("completedAt", None)
        draft.spec.pop("completionStatus", None)
        draft.spec["details"] = {"changed": True}
    draft.author = _stranger(chance, draft)
    return "spec.stepRunRef.name"


_CLAIM_IDENTITY: Final = ("stepRunRef", "effectKey", "idempotencyKey")
