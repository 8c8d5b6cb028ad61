"""Mistakes in StoryRuns, StoryTriggers, StepRuns and EffectClaims."""

from __future__ import annotations

from typing import Final

from bubu_contract.submission import claim_name, input_hash
from core.api.keys import (
    ANNOTATION_CACHE_REUSE,
    ANNOTATION_TRIGGER_INPUT_HASH,
    ANNOTATION_TRIGGER_TOKEN,
    LABEL_MATERIALIZE,
)
from core.api.objects import Object
from core.api.resource import ENGRAM
from fuzz.admission import strategies_values as values
from fuzz.admission.chance import Chance
from fuzz.admission.mutations import (
    ALWAYS_ON,
    NOT_ALLOWED,
    NOWHERE,
    Draft,
    breaks,
    enlarge,
    insert,
    malformed,
    out_of_reach,
    section,
    somewhere,
)
from fuzz.admission.strategies_runs import identify_run, trigger_name
from fuzz.admission.strategies_world import written
from webhooks.validate.steprun import MAX_STEP_RUN_BYTES

_ASKING: Final = ("StoryRun", "StoryTrigger")
_TOKEN: Final = f'metadata.annotations["{ANNOTATION_TRIGGER_TOKEN}"]'
_HASH: Final = f'metadata.annotations["{ANNOTATION_TRIGGER_INPUT_HASH}"]'


def _identified(draft: Draft) -> None:
    """Set the name and the hash that follow from the current content."""
    if draft.new["kind"] == "StoryTrigger":
        identity = draft.spec["deliveryIdentity"]
        if "inputHash" in identity:
            identity["inputHash"] = input_hash(draft.spec.get("inputs"))
        draft.new["metadata"]["name"] = trigger_name(draft.spec, draft.namespace)
    else:
        annotations = draft.new["metadata"].get("annotations") or {}
        if ANNOTATION_TRIGGER_TOKEN in annotations:
            identify_run(draft.new, annotations[ANNOTATION_TRIGGER_TOKEN], draft.namespace)


def _story(draft: Draft) -> Object:
    return draft.referred("Story", draft.spec["storyRef"])


# --- requests for a run ----------------------------------------------------------------------------------------------


@breaks("submission/story-denied", *_ASKING, policies=NOT_ALLOWED)
def _story_out_of_reach(chance: Chance, draft: Draft) -> str:
    found = _story(draft)
    draft.spec["storyRef"]["namespace"] = NOWHERE
    draft.objects.append({**found, "metadata": {**found["metadata"], "namespace": NOWHERE}})
    _identified(draft)
    return "spec.storyRef"


@breaks("submission/story-missing", *_ASKING)
def _story_gone(chance: Chance, draft: Draft) -> str:
    draft.remove(_story(draft))
    return "spec.storyRef.name"


@breaks("submission/story-always-on", *_ASKING)
def _story_that_is_always_on(chance: Chance, draft: Draft) -> str:
    _story(draft)["spec"] |= ALWAYS_ON
    return "spec.storyRef.name"


@breaks("submission/story-version", *_ASKING)
def _another_story(chance: Chance, draft: Draft) -> str:
    draft.spec["storyRef"]["version"] = "another"
    return "spec.storyRef.version"


def _inputs(draft: Draft) -> Object:
    """The inputs, without a schema that restricts them."""
    _story(draft)["spec"].pop("inputsSchema", None)
    return section(draft.spec, "inputs")


@breaks("submission/inputs-reference", *_ASKING)
def _malformed_reference(chance: Chance, draft: Draft) -> str:
    wrong, below = malformed(chance)
    place = somewhere(chance, _inputs(draft), "spec.inputs", wrong)
    _identified(draft)
    return f"{place}.{below}"


@breaks("submission/inputs-namespace", *_ASKING, policies=NOT_ALLOWED)
def _reference_out_of_reach(chance: Chance, draft: Draft) -> str:
    wrong, below = out_of_reach(chance)
    place = somewhere(chance, _inputs(draft), "spec.inputs", wrong)
    _identified(draft)
    return f"{place}.{below}"


@breaks("submission/inputs-schema", *_ASKING)
def _inputs_that_it_does_not_take(chance: Chance, draft: Draft) -> str:
    schema = section(_story(draft), "spec", "inputsSchema")
    schema["additionalProperties"] = True
    inputs = section(draft.spec, "inputs")
    inputs.pop("ref", None)
    if "$bubuStorageRef" in str(inputs):
        inputs.clear()
    if chance.yes():
        schema.setdefault("required", []).append("wanted")
        path = "spec.inputs"
    else:
        section(schema, "properties")["wanted"] = {"type": "integer"}
        inputs["wanted"] = "three"
        path = "spec.inputs.wanted"
    _identified(draft)
    return path


@breaks("submission/name", "StoryTrigger", "EffectClaim", update=False)
def _another_name(chance: Chance, draft: Draft) -> str:
    return _renamed(chance, draft)


def _renamed(chance: Chance, draft: Draft) -> str:
    if chance.yes():
        draft.new["metadata"]["name"] = chance.pick((draft.new["metadata"]["name"][:-1], "mine", ""))
        return "metadata.name"
    draft.new["metadata"]["generateName"] = "some-"
    return "metadata.generateName"


@breaks("submission/name", "StoryRun", update=False)
def _another_name_of_a_run(chance: Chance, draft: Draft) -> str:
    identify_run(draft.new, "Daily Digest", draft.namespace)
    return _renamed(chance, draft)


# --- StoryRuns -------------------------------------------------------------------------------------------------------


@breaks("submission/input-unknown", *_ASKING)
def _inputs_that_it_does_not_know(chance: Chance, draft: Draft) -> str:
    _story(draft)["spec"]["inputsSchema"] = {"properties": {"wanted": {}}}
    draft.spec["inputs"] = {"watned": 1}
    _identified(draft)
    return "spec.inputs.watned"


@breaks("run/inputs-size", "StoryRun")
def _large_inputs(chance: Chance, draft: Draft) -> str:
    enlarge(_inputs(draft), 1024)
    _identified(draft)
    return "spec.inputs"


@breaks("run/inputs-offloaded", "StoryRun")
def _inputs_in_storage(chance: Chance, draft: Draft) -> str:
    _story(draft)["spec"]["inputsSchema"] = {"type": "object"}
    somewhere(chance, section(draft.spec, "inputs"), "", {"$bubuStorageRef": values.STORED})
    _identified(draft)
    return "spec.inputs"


@breaks("run/hash-required", "StoryRun")
def _without_a_hash(chance: Chance, draft: Draft) -> str:
    identify_run(draft.new, "Daily Digest", draft.namespace)
    draft.new["metadata"]["annotations"].pop(ANNOTATION_TRIGGER_INPUT_HASH)
    return _HASH


@breaks("run/hash", "StoryRun")
def _another_hash(chance: Chance, draft: Draft) -> str:
    inputs = _inputs(draft)
    if "$bubuStorageRef" in str(inputs):
        inputs.clear()
    identify_run(draft.new, "Daily Digest", draft.namespace)
    inputs["later"] = chance.number(0, 9)
    return _HASH


@breaks("run/hash-unchecked", "StoryRun")
def _hash_of_what_is_stored(chance: Chance, draft: Draft) -> str:
    somewhere(chance, _inputs(draft), "", {"$bubuStorageRef": values.STORED})
    identify_run(draft.new, "Daily Digest", draft.namespace)
    draft.new["metadata"]["annotations"][ANNOTATION_TRIGGER_INPUT_HASH] = "0" * 64
    return _HASH


@breaks("run/reuse", "StoryRun")
def _reuses_no_run(chance: Chance, draft: Draft) -> str:
    annotations = section(draft.new, "metadata", "annotations")
    annotations[ANNOTATION_CACHE_REUSE] = chance.pick(("", "a.b", "Nightly", "team/nightly", "-"))
    return f'metadata.annotations["{ANNOTATION_CACHE_REUSE}"]'


@breaks("run/token-frozen", "StoryRun", update=True)
def _another_token(chance: Chance, draft: Draft) -> str:
    assert draft.old is not None
    spoilt = chance.pick((draft.old, draft.new))
    annotations = section(spoilt, "metadata", "annotations")
    if ANNOTATION_TRIGGER_TOKEN in annotations and chance.yes():
        del annotations[ANNOTATION_TRIGGER_TOKEN]
    else:
        annotations[ANNOTATION_TRIGGER_TOKEN] = "another"
    return _TOKEN


@breaks("run/hash-frozen", "StoryRun", update=True)
def _hash_removed(chance: Chance, draft: Draft) -> str:
    assert draft.old is not None
    for each in (draft.old, draft.new):
        section(each, "metadata", "annotations")[ANNOTATION_TRIGGER_TOKEN] = "t"
        each["metadata"]["annotations"].setdefault(ANNOTATION_TRIGGER_INPUT_HASH, "0" * 64)
    annotations = draft.new["metadata"]["annotations"]
    if chance.yes():
        del annotations[ANNOTATION_TRIGGER_INPUT_HASH]
    else:
        annotations[ANNOTATION_TRIGGER_INPUT_HASH] = "1" * 64
    return _HASH


@breaks("run/spec-frozen", "StoryRun", update=True)
def _another_run(chance: Chance, draft: Draft) -> list[str]:
    assert draft.old is not None
    keys = chance.some(("storyRef", "inputs", "impulseRef", "cancelRequested"), 3, 1)
    for key in keys:
        draft.spec[key] = {"name": "changed"}
        if key == "cancelRequested":
            draft.old["spec"][key] = True
            draft.spec.pop(key) if chance.yes() else draft.spec.update({key: False})
    return [f"spec.{key}" for key in sorted(keys)]


# --- StoryTriggers ---------------------------------------------------------------------------------------------------


def _identity(draft: Draft) -> Object:
    found: Object = draft.spec["deliveryIdentity"]
    return found


@breaks("trigger/submission-id", "StoryTrigger")
def _blank_submission(chance: Chance, draft: Draft) -> str:
    _identity(draft)["submissionId"] = " "
    _identified(draft)
    return "spec.deliveryIdentity.submissionId"


@breaks("trigger/key-required", "StoryTrigger")
def _without_a_key(chance: Chance, draft: Draft) -> str:
    _identity(draft)["mode"] = chance.pick(("token", "key"))
    _identity(draft)["key"] = chance.pick((" ", ""))
    _identified(draft)
    return "spec.deliveryIdentity.key"


@breaks("trigger/key-unused", "StoryTrigger")
def _with_a_key_for_nothing(chance: Chance, draft: Draft) -> str:
    _identity(draft).update(mode=chance.pick(("none", None)), key="k", inputHash="")
    _identified(draft)
    return "spec.deliveryIdentity.key"


@breaks("trigger/hash-required", "StoryTrigger")
def _without_a_hash_of_inputs(chance: Chance, draft: Draft) -> str:
    _identity(draft).update(mode=chance.pick(("token", "key")), key="k")
    _identity(draft).pop("inputHash", None)
    _identified(draft)
    return "spec.deliveryIdentity.inputHash"


@breaks("trigger/hash", "StoryTrigger")
def _another_hash_of_inputs(chance: Chance, draft: Draft) -> str:
    _identity(draft)["inputHash"] = chance.pick(("0" * 64, "x", input_hash({"other": 1})))
    return "spec.deliveryIdentity.inputHash"


@breaks("trigger/spec-frozen", "StoryTrigger", update=True)
def _another_request(chance: Chance, draft: Draft) -> list[str]:
    keys = chance.some(("storyRef", "inputs", "impulseRef"), 3, 1)
    for key in keys:
        draft.spec[key] = {"name": "changed"}
    return [f"spec.{key}" for key in sorted(keys)]


# --- StepRuns --------------------------------------------------------------------------------------------------------


@breaks("step-run/run-denied", "StepRun", policies=NOT_ALLOWED)
def _run_out_of_reach(chance: Chance, draft: Draft) -> str:
    found = draft.referred("StoryRun", draft.spec["storyRunRef"])
    draft.objects.append({**found, "metadata": {**found["metadata"], "namespace": NOWHERE}})
    draft.spec["storyRunRef"]["namespace"] = NOWHERE
    return "spec.storyRunRef"


@breaks("step-run/run-missing", "StepRun")
def _run_gone(chance: Chance, draft: Draft) -> str:
    draft.remove(draft.referred("StoryRun", draft.spec["storyRunRef"]))
    return "spec.storyRunRef.name"


def _engram(draft: Draft) -> Object:
    if "engramRef" not in draft.spec:
        draft.spec["engramRef"] = {"name": "planted"}
        draft.objects.append(written(ENGRAM, draft.namespace, "planted", {"templateRef": {"name": "t"}}))
    return draft.referred("Engram", draft.spec["engramRef"])


@breaks("step-run/engram-denied", "StepRun", policies=NOT_ALLOWED)
def _engram_out_of_reach(chance: Chance, draft: Draft) -> str:
    found = _engram(draft)
    draft.objects.append({**found, "metadata": {**found["metadata"], "namespace": NOWHERE}})
    draft.spec["engramRef"]["namespace"] = NOWHERE
    return "spec.engramRef"


@breaks("step-run/engram-missing", "StepRun")
def _engram_gone(chance: Chance, draft: Draft) -> str:
    draft.remove(_engram(draft))
    return "spec.engramRef.name"


@breaks("step-run/engram-version", "StepRun")
def _another_engram(chance: Chance, draft: Draft) -> str:
    _engram(draft)
    draft.spec["engramRef"]["version"] = "another"
    return "spec.engramRef.version"


@breaks("step-run/input-size", "StepRun")
def _large_input(chance: Chance, draft: Draft) -> str:
    (draft.new["metadata"].get("labels") or {}).pop(LABEL_MATERIALIZE, None)
    limit = chance.pick((4096, 9000))
    if limit > 4096:
        section(_engram(draft), "spec", "overrides")["maxInlineSize"] = limit
    draft.spec["input"] = {}
    enlarge(draft.spec["input"], limit)
    return "spec.input"


@breaks("step-run/input-reference", "StepRun")
def _malformed_input(chance: Chance, draft: Draft) -> str:
    wrong, below = malformed(chance)
    return f"{somewhere(chance, section(draft.spec, 'input'), 'spec.input', wrong)}.{below}"


@breaks("step-run/input-namespace", "StepRun", policies=NOT_ALLOWED)
def _input_out_of_reach(chance: Chance, draft: Draft) -> str:
    wrong, below = out_of_reach(chance)
    return f"{somewhere(chance, section(draft.spec, 'input'), 'spec.input', wrong)}.{below}"


@breaks("step-run/expression", "StepRun")
def _no_template(chance: Chance, draft: Draft) -> str:
    wrong = chance.pick(("{{ env `HOME` }}", "{{ inputs.a", "{{ nope }}"))
    return somewhere(chance, section(draft.spec, "input"), "spec.input", wrong)


@breaks("step-run/total-size", "StepRun")
def _large_step_run(chance: Chance, draft: Draft) -> str:
    enlarge(section(draft.new, "metadata", "annotations"), MAX_STEP_RUN_BYTES, draft.new)
    return ""


@breaks("step-run/target", "StepRun")
def _no_target(chance: Chance, draft: Draft) -> str:
    wrong: Object = chance.pick(({}, {"grpc": {"endpoint": "svc:7"}, "terminate": {"stopMode": "success"}}))
    return f"spec.downstreamTargets[{insert(chance, draft.spec, 'downstreamTargets', wrong)}]"


@breaks("step-run/endpoint", "StepRun")
def _no_endpoint(chance: Chance, draft: Draft) -> str:
    bad = ("svc:70000", "svc", ":70", "svc:0", "", " ", "http://svc", "u@svc:7", "svc:7/x", "[::1", "svc:-1", "svc:7 x")
    target = {"grpc": {"endpoint": chance.pick(bad)}}
    return f"spec.downstreamTargets[{insert(chance, draft.spec, 'downstreamTargets', target)}].grpc.endpoint"


@breaks("step-run/identity-frozen", "StepRun", update=True)
def _another_step(chance: Chance, draft: Draft) -> list[str]:
    assert draft.old is not None
    keys = chance.some(("storyRunRef", "stepId", "engramRef"), 3, 1)
    for key in keys:
        draft.old["spec"][key] = "before" if key == "stepId" else {"name": "before"}
    return [f"spec.{key}" for key in ("storyRunRef", "stepId", "engramRef") if key in keys]


# --- EffectClaims ----------------------------------------------------------------------------------------------------


@breaks("claim/effect-key", "EffectClaim")
def _blank_effect(chance: Chance, draft: Draft) -> str:
    draft.spec["effectKey"] = chance.pick((" ", "\t "))
    return "spec.effectKey"


@breaks("claim/completion", "EffectClaim")
def _half_an_end(chance: Chance, draft: Draft) -> str:
    if chance.yes():
        draft.spec.pop("completedAt", None)
        draft.spec["completionStatus"] = "completed"
        return "spec.completedAt"
    draft.spec.pop("completionStatus", None)
    draft.spec["completedAt"] = "2026-01-01T00:00:03Z"
    return "spec.completionStatus"


@breaks("claim/times", "EffectClaim")
def _times_the_wrong_way_round(chance: Chance, draft: Draft) -> str:
    for key in ("acquireTime", "renewTime", "completedAt", "completionStatus"):
        draft.spec.pop(key, None)
    early, late, latest = (f"2026-01-01T00:00:0{second}.7Z" for second in (1, 2, 3))
    ended = {"completionStatus": chance.pick(("completed", "released"))}
    variants: list[tuple[Object, str]] = [
        ({"renewTime": early}, "renewTime"),
        ({"acquireTime": late, "renewTime": early}, "renewTime"),
        ({"acquireTime": late, "completedAt": early, **ended}, "completedAt"),
        ({"acquireTime": early, "renewTime": latest, "completedAt": late, **ended}, "completedAt"),
    ]
    given, key = chance.pick(variants)
    draft.spec.update(given)
    return f"spec.{key}"


@breaks("claim/namespace", "EffectClaim")
def _claim_elsewhere(chance: Chance, draft: Draft) -> str:
    reference = draft.spec["stepRunRef"]
    reference["namespace"] = NOWHERE
    name = claim_name(NOWHERE, reference["name"], draft.spec["effectKey"].strip())
    draft.new["metadata"]["name"] = name
    return "spec.stepRunRef.namespace"


@breaks("claim/step-run-missing", "EffectClaim")
def _step_run_gone(chance: Chance, draft: Draft) -> str:
    draft.objects.clear()
    return "spec.stepRunRef.name"


@breaks("claim/step-run-uid", "EffectClaim")
def _another_step_run(chance: Chance, draft: Draft) -> str:
    draft.spec["stepRunRef"]["uid"] = "u0"
    return "spec.stepRunRef.uid"


@breaks("claim/identity-frozen", "EffectClaim", update=True)
def _another_claim(chance: Chance, draft: Draft) -> list[str]:
    keys = chance.some(("name", "namespace", "uid"), 2), chance.some(("effectKey", "idempotencyKey"), 2, 1)
    for key in keys[0]:
        draft.spec["stepRunRef"][key] = "changed"
    for key in keys[1]:
        draft.spec[key] = "changed"
    first = [f"spec.stepRunRef.{key}" for key in ("name", "namespace", "uid") if key in keys[0]]
    return first + [f"spec.{key}" for key in ("effectKey", "idempotencyKey") if key in keys[1]]


_DONE: Final[Object] = {
    "holderIdentity": "a",
    "leaseDurationSeconds": 10,
    "completionStatus": "completed",
    "acquireTime": "2026-01-01T00:00:01Z",
    "renewTime": "2026-01-01T00:00:02Z",
    "completedAt": "2026-01-01T00:00:03Z",
}


@breaks("claim/completed-frozen", "EffectClaim", update=True)
def _taken_up_again(chance: Chance, draft: Draft) -> str:
    assert draft.old is not None
    draft.old["spec"] = {**draft.spec, **_DONE}
    draft.spec.update(_DONE)
    key, changed = chance.pick(
        (
            ("holderIdentity", "b"),
            ("leaseDurationSeconds", 11),
            ("leaseTransitions", 77),
            ("acquireTime", "2026-01-01T00:00:02Z"),
            ("renewTime", "2026-01-01T00:00:03Z"),
            ("completionStatus", "released"),
        )
    )
    draft.spec[key] = changed
    return f"spec.{key}"


@breaks("claim/completed-back", "EffectClaim", update=True)
def _completed_earlier(chance: Chance, draft: Draft) -> str:
    assert draft.old is not None
    draft.old["spec"] = {**draft.spec, **_DONE}
    draft.spec.update(_DONE)
    if chance.yes():
        draft.spec["completedAt"] = "2026-01-01T00:00:02Z"
    else:
        draft.old["spec"]["completionStatus"] = draft.spec["completionStatus"] = "released"
        del draft.spec["completedAt"]
    return "spec.completedAt"


@breaks("claim/lease-held", "EffectClaim", update=True)
def _taken_too_early(chance: Chance, draft: Draft) -> str:
    assert draft.old is not None
    for spec in (draft.old["spec"], draft.spec):
        for key in _DONE:
            spec.pop(key, None)
    times = ("acquireTime", "renewTime") if chance.yes() else ("acquireTime",)
    held = dict.fromkeys(times, "2026-01-01T00:00:01Z")
    draft.old["spec"].update(held, holderIdentity="a", leaseDurationSeconds=chance.number(2, 60))
    draft.spec.update(acquireTime="2026-01-01T00:00:02Z", holderIdentity="b")
    return "spec.holderIdentity"
