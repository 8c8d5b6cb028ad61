"""Random valid StoryRuns, StepRuns, StoryTriggers and EffectClaims, with the names that the rules demand."""

from __future__ import annotations

from typing import Final

from bubu_contract import submission
from bubu_contract.submission import input_hash, story_run_name
from core.api.effectclaim import EffectClaimSpec
from core.api.keys import ANNOTATION_TRIGGER_INPUT_HASH, ANNOTATION_TRIGGER_TOKEN, LABEL_MATERIALIZE
from core.api.objects import Object
from core.api.resource import EFFECT_CLAIM, ENGRAM, STEP_RUN, STORY, STORY_RUN, STORY_TRIGGER, Resource
from core.api.steprun import StepRunSpec
from fuzz.admission import strategies_values as values
from fuzz.admission.chance import Chance
from fuzz.admission.strategies_models import fill, retry_policy
from fuzz.admission.strategies_world import Surroundings, new_object

_TOKENS: Final = ("Daily Digest", "daily-digest", "***", " x ", "ünï", "a" * 300)
_ENDPOINTS: Final = ("svc:7000", "[::1]:1", "http://svc:65535/x", "svc.ns.svc.cluster.local:80", " svc:7 ")


def story_run(chance: Chance, around: Surroundings) -> Object:
    spec = _asked(chance, around, STORY_RUN)
    new = new_object(chance, around, STORY_RUN, spec)
    if chance.yes(3):
        spec["cancelRequested"] = chance.yes()
    if chance.yes():
        identify_run(new, chance.pick(_TOKENS), around.namespace)
    return new


def identify_run(new: Object, token: str, namespace: str) -> None:
    """Give the run a trigger token, and the name and hash that follow from it."""
    reference = new["spec"]["storyRef"]
    new["metadata"].setdefault("annotations", {}).update(
        {
            ANNOTATION_TRIGGER_TOKEN: token,
            ANNOTATION_TRIGGER_INPUT_HASH: input_hash(new["spec"].get("inputs")),
        }
    )
    name = story_run_name(reference.get("namespace") or namespace, reference["name"], token.strip())
    new["metadata"]["name"] = name


def story_trigger(chance: Chance, around: Surroundings) -> Object:
    spec = _asked(chance, around, STORY_TRIGGER)
    identity: Object = {"submissionId": chance.pick(("sub-1", " x ", "ünï", "s" * 253))}
    mode = chance.pick((None, "none", "token", "key"))
    if mode:
        identity["mode"] = mode
    if mode in ("token", "key"):
        identity["key"] = chance.pick(("customer-42", " k "))
    if "key" in identity or chance.yes():
        identity["inputHash"] = input_hash(spec.get("inputs"))
    spec["deliveryIdentity"] = identity
    return new_object(chance, around, STORY_TRIGGER, spec, trigger_name(spec, around.namespace))


def trigger_name(spec: Object, namespace: str) -> str:
    """The name that the rules demand for the trigger."""
    reference, identity = spec["storyRef"], spec["deliveryIdentity"]
    asked_by = str(identity.get("key") or "").strip() or identity["submissionId"].strip()
    return submission.trigger_name(reference.get("namespace") or namespace, reference["name"], asked_by)


def _asked(chance: Chance, around: Surroundings, source: Resource) -> Object:
    """Creates a Story; returns a spec that refers to it, with inputs that it accepts."""
    schema = values.schema(chance) if chance.yes() else None
    spec: Object = {"storyRef": around.reference(source, STORY, around.story(schema=schema))}
    if schema is not None:
        inputs = values.document(chance, schema, ["{{ inputs.x }}"], stored=False)
        spec |= {"inputs": inputs} if inputs or chance.yes() else {}
    elif chance.yes():
        spec["inputs"] = values.payload(chance, depth=1)
        if chance.yes(3):
            spec["inputs"]["ref"] = around.payload_reference(source)
    if chance.yes(4):
        spec["impulseRef"] = {"name": "anything", "namespace": "elsewhere"}
    return spec


def step_run(chance: Chance, around: Surroundings) -> Object:
    run = {"storyRef": {"name": "gone"}}
    given: Object = {"storyRunRef": around.reference(STEP_RUN, STORY_RUN, run, versioned=False), "stepId": "fetch"}
    if chance.yes():
        given["engramRef"] = around.reference(STEP_RUN, ENGRAM, around.engram(streaming=False))
    elif chance.yes():
        given["script"] = {"run": chance.pick(("true", "cat '{{'", "print(1)\n")), "image": "busybox:1"}
    if chance.yes():
        given["input"] = values.payload(chance, values.templates())
        if chance.yes(3):
            given["input"]["ref"] = around.payload_reference(STEP_RUN)
    if chance.yes():
        given["downstreamTargets"] = [
            {"grpc": {"endpoint": chance.pick(_ENDPOINTS)}} if chance.yes() else {"terminate": {"stopMode": "success"}}
            for _ in range(chance.number(0, 2))
        ]
    if chance.yes(3):
        given["retry"] = retry_policy(chance)
    spec = fill(chance, StepRunSpec, given, leave=("engramRef", "script", "input", "downstreamTargets"))
    new = new_object(chance, around, STEP_RUN, spec)
    if chance.yes(4):
        new["metadata"].setdefault("labels", {})[LABEL_MATERIALIZE] = chance.pick(("true", " True "))
        spec["input"] = {"large": "x" * 5_000}
    return new


def effect_claim(chance: Chance, around: Surroundings) -> Object:
    name = chance.pick(("run-1-charge", "s" * 240, "a"))
    there = around.put(STEP_RUN, around.namespace, name, {"storyRunRef": {"name": "run-1"}, "stepId": "charge"})
    there["metadata"]["uid"] = "u1"
    reference: Object = {"name": name}
    reference |= ({"uid": "u1"} if chance.yes() else {}) | ({"namespace": around.namespace} if chance.yes(3) else {})
    given: Object = {"stepRunRef": reference, "effectKey": chance.pick(("deliver", " deliver ", "ünï", "k" * 256))}
    times = {"acquireTime": "2026-01-01T00:00:01.500000Z", "renewTime": "2026-01-01T00:00:02.900000Z"}
    if chance.yes():
        given |= times if chance.yes() else {"acquireTime": times["acquireTime"]}
    status = chance.pick((None, "completed", "released", "abandoned"))
    if status:
        given["completionStatus"] = status
    if status == "completed" or (status and chance.yes()):
        given["completedAt"] = "2026-01-01T00:00:02Z"
    left = ("acquireTime", "renewTime", "completedAt", "completionStatus", "details")
    spec = fill(chance, EffectClaimSpec, given, leave=left)
    key = spec["effectKey"].strip()
    return new_object(chance, around, EFFECT_CLAIM, spec, submission.claim_name(around.namespace, name, key))
