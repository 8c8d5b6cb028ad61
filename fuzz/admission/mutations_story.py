"""Mistakes in the references of a Story, and in its fields beside the steps."""

from __future__ import annotations

from core.api.objects import Object
from core.api.resource import ENGRAM, ENGRAM_TEMPLATE, STORY, TRANSPORT
from fuzz.admission import strategies_values as values
from fuzz.admission.chance import Chance
from fuzz.admission.mutations import (
    ALWAYS_ON,
    BAD_DURATIONS,
    NOT_ALLOWED,
    NOWHERE,
    Draft,
    bad_schema,
    breaks,
    enlarge,
    insert,
    malformed,
    out_of_reach,
    section,
    somewhere,
)
from fuzz.admission.mutations_steps import Found, a_step, any_step, plant, steps_of
from fuzz.admission.strategies_world import ANY_TRANSPORT, written
from webhooks.validate.story import MAX_STORY_BYTES


def _worker(chance: Chance, draft: Draft, *, quiet: bool = False) -> tuple[Found, Object, Object]:
    """A step with its Engram and that Engram's template; ``quiet``: without ``runtime``, which can cause a warning."""
    there = [f for f in steps_of(draft) if "ref" in f.step and not (quiet and "runtime" in f.step)]
    if there and not chance.yes(4):
        found = chance.pick(there)
    else:
        number, mode = len(draft.objects), "deployment" if draft.spec.get("pattern") == "realtime" else "job"
        spec = {"version": "v1", "supportedModes": [mode], "secretSchema": {"api": {}}}
        draft.objects.append(written(ENGRAM_TEMPLATE, "", f"t-{number}", spec))
        spec = {"templateRef": {"name": f"t-{number}"}, "mode": mode, "version": "v1"}
        draft.objects.append(written(ENGRAM, draft.namespace, f"e-{number}", spec))
        found = plant(chance, draft, {"ref": {"name": f"e-{number}"}})
    engram = draft.referred("Engram", found.step["ref"])
    return found, engram, draft.find("EngramTemplate", engram["spec"]["templateRef"]["name"])


# --- Engrams ---------------------------------------------------------------------------------------------------------


@breaks("story/engram-denied", "Story", policies=NOT_ALLOWED)
def _engram_out_of_reach(chance: Chance, draft: Draft) -> str:
    found, _engram, _template = _worker(chance, draft, quiet=True)
    found.step["ref"]["namespace"] = NOWHERE
    return f"{found.path}.ref"


@breaks("story/engram-missing", "Story")
def _engram_gone(chance: Chance, draft: Draft) -> str:
    found, engram, _template = _worker(chance, draft, quiet=True)
    draft.remove(engram)
    return f"{found.path}.ref"


@breaks("story/engram-version", "Story")
def _other_engram(chance: Chance, draft: Draft) -> str:
    found, engram, _template = _worker(chance, draft)
    if chance.yes():
        found.step["ref"]["version"] = "another"
    else:
        found.step["ref"]["version"] = "v1"
        engram["spec"].pop("version")
    return f"{found.path}.ref.version"


@breaks("story/engram-template-missing", "Story")
def _engram_template_gone(chance: Chance, draft: Draft) -> str:
    found, _engram, template = _worker(chance, draft)
    draft.remove(template)
    return f"{found.path}.ref"


@breaks("story/engram-not-streaming", "Story", realtime=True)
def _engram_that_ends(chance: Chance, draft: Draft) -> str:
    # A step with needs may have such an Engram: each packet starts a Job.
    there = [f for f in steps_of(draft) if "ref" in f.step and f.list_name == "steps" and not f.step.get("needs")]
    found = chance.pick(there) if there else None
    if found is None:
        draft.objects.append(written(ENGRAM, draft.namespace, "ends", {"templateRef": {"name": "t-ends"}}))
        draft.objects.append(written(ENGRAM_TEMPLATE, "", "t-ends", {"version": "v1", "supportedModes": ["job"]}))
        found = plant(chance, draft, {"ref": {"name": "ends"}}, lists=("steps",))
    spec = draft.referred("Engram", found.step["ref"])["spec"]
    spec["mode"] = chance.pick(("job", None))
    return f"{found.path}.ref"


@breaks("story/step-input", "Story")
def _input_of_another_type(chance: Chance, draft: Draft) -> str:
    found, _engram, template = _worker(chance, draft)
    properties = section(template["spec"], "inputSchema", "properties")
    template["spec"]["inputSchema"]["additionalProperties"] = True
    key = chance.pick(tuple(properties) or ("n",))
    properties.setdefault(key, {"type": "integer"})
    section(found.step, "with")[key] = values.unfitting(key)
    return f"{found.path}.with.{key}"


@breaks("story/step-input-unknown", "Story")
def _input_by_another_name(chance: Chance, draft: Draft) -> str:
    found, engram, template = _worker(chance, draft, quiet=True)
    engram["spec"].pop("with", None)
    template["spec"].pop("configSchema", None)
    template["spec"]["inputSchema"] = {"properties": {"wanted": {}}}
    found.step["with"] = {"watned": 1}
    return f"{found.path}.with.watned"


@breaks("story/step-input", "Story")
def _input_lacking(chance: Chance, draft: Draft) -> str:
    found, _engram, template = _worker(chance, draft)
    section(template["spec"], "inputSchema").setdefault("required", []).append("wanted")
    return f"{found.path}.with"


@breaks("story/with-inline", "Story")
def _large_input(chance: Chance, draft: Draft) -> str:
    found, engram, _template = _worker(chance, draft)
    limit = (found.step.get("execution") or {}).get("maxInlineSize") or 4096
    given, before = section(found.step, "with"), engram["spec"].get("with") or {}
    merged = {**before, **given}
    enlarge(merged, limit)
    given["pad"] = merged["pad"]
    return f"{found.path}.with"


@breaks("story/secret-unknown", "Story")
def _secret_that_nobody_declares(chance: Chance, draft: Draft) -> str:
    found, _engram, _template = _worker(chance, draft)
    section(found.step, "secrets")["nobodys"] = "keys"
    return f"{found.path}.secrets.nobodys"


@breaks("story/runtime-in-batch", "Story", realtime=False)
def _packets_for_a_job(chance: Chance, draft: Draft) -> str:
    if chance.yes():
        found = a_step(chance, draft, lambda f: bool(f.type) and "transport" not in f.step, {"type": "stop"})
    else:
        found, engram, _template = _worker(chance, draft)
        engram["spec"]["mode"] = "job"
        found.step.pop("transport", None)
    found.step["runtime"] = {}
    return f"{found.path}.runtime"


@breaks("story/runtime-doubtful", "Story", realtime=False)
def _packets_for_whatever_it_is(chance: Chance, draft: Draft) -> str:
    found, engram, _template = _worker(chance, draft)
    draft.remove(engram)
    found.step.pop("transport", None)
    found.step["runtime"] = {"x": 1}
    return f"{found.path}.runtime"


# --- calls -----------------------------------------------------------------------------------------------------------


def a_call(chance: Chance, draft: Draft) -> tuple[Object, str]:
    """The settings of a step that executes an existing Story."""
    there = [f for f in steps_of(draft) if f.type == "executeStory"]
    if there and not chance.yes(4):
        found = chance.pick(there)
    else:
        name = f"called-{len(draft.objects)}"
        draft.objects.append(written(STORY, draft.namespace, name, {"version": "v1", "steps": [_STOP]}))
        found = plant(chance, draft, {"type": "executeStory", "with": {"storyRef": {"name": name}}})
    settings: Object = found.step["with"]
    return settings, f"{found.path}.with"


_STOP: Object = {"name": "x", "type": "stop"}


@breaks("story/call-target", "Story")
def _call_nothing(chance: Chance, draft: Draft) -> str:
    settings, path = a_call(chance, draft)
    settings["storyRef"] = chance.pick((None, "other", {}, {"name": " "}, {"name": 3}, []))
    return f"{path}.storyRef.name"


@breaks("story/call-settings", "Story")
def _call_badly(chance: Chance, draft: Draft) -> str:
    settings, path = a_call(chance, draft)
    choices = ["version", "waitForCompletion"]
    choices += ["with"] if "steps" not in str(settings.get("with")) else []
    choices += ["namespace"] if "namespace" not in settings["storyRef"] else []
    key = chance.pick(choices)
    if key in ("version", "namespace"):
        settings["storyRef"][key] = chance.pick((3, True, {}))
        return f"{path}.storyRef.{key}"
    settings[key] = chance.pick(("no", 0, []))
    return f"{path}.{key}"


@breaks("story/call-denied", "Story", policies=NOT_ALLOWED)
def _call_out_of_reach(chance: Chance, draft: Draft) -> str:
    settings, path = a_call(chance, draft)
    settings["storyRef"]["namespace"] = NOWHERE
    return f"{path}.storyRef"


@breaks("story/call-self", "Story")
def _call_itself(chance: Chance, draft: Draft) -> str:
    settings, path = a_call(chance, draft)
    explicit = {"namespace": draft.namespace} if chance.yes() else {}
    settings["storyRef"] = {"name": draft.new["metadata"]["name"], **explicit}
    return f"{path}.storyRef"


@breaks("story/call-circle", "Story")
def _call_each_other(chance: Chance, draft: Draft) -> str:
    settings, path = a_call(chance, draft)
    last = draft.referred("Story", settings["storyRef"])
    for number in range(chance.number(0, 2)):
        name = f"between-{number}"
        _let_call(chance, last, {"name": name, "namespace": draft.namespace})
        last = written(STORY, draft.namespace, name, {"steps": [_STOP]})
        draft.objects.append(last)
    _let_call(chance, last, {"name": draft.new["metadata"]["name"], "namespace": draft.namespace})
    return f"{path}.storyRef"


def _let_call(chance: Chance, story: Object, target: Object) -> None:
    step: Object = {"name": "call", "type": "executeStory", "with": {"storyRef": target}}
    if chance.yes(3):
        step = {"name": "around", "type": "parallel", "with": {"steps": [step]}}
    story["spec"][chance.pick(("steps", "finally"))] = [step]


@breaks("story/call-missing", "Story")
def _call_what_is_gone(chance: Chance, draft: Draft) -> str:
    settings, path = a_call(chance, draft)
    draft.remove(draft.referred("Story", settings["storyRef"]))
    return f"{path}.storyRef"


@breaks("story/call-version", "Story")
def _call_another_version(chance: Chance, draft: Draft) -> str:
    settings, path = a_call(chance, draft)
    settings["storyRef"]["version"] = "another"
    return f"{path}.storyRef.version"


@breaks("story/call-input-unknown", "Story")
def _call_with_another_name(chance: Chance, draft: Draft) -> str:
    settings, path = a_call(chance, draft)
    draft.referred("Story", settings["storyRef"])["spec"]["inputsSchema"] = {"properties": {"wanted": {}}}
    settings["with"] = {"watned": 1}
    return f"{path}.with.watned"


@breaks("story/call-realtime", "Story", realtime=False)
def _call_a_stream(chance: Chance, draft: Draft) -> str:
    settings, path = a_call(chance, draft)
    draft.referred("Story", settings["storyRef"])["spec"]["pattern"] = "realtime"
    return f"{path}.storyRef"


@breaks("story/call-always-on", "Story", realtime=True)
def _call_what_is_always_on(chance: Chance, draft: Draft) -> str:
    settings, path = a_call(chance, draft)
    draft.referred("Story", settings["storyRef"])["spec"] |= ALWAYS_ON
    return f"{path}.storyRef"


# --- Stories that are always on --------------------------------------------------------------------------------------


@breaks("story/strategy-pattern", "Story", realtime=False)
def _strategy_of_a_batch_story(chance: Chance, draft: Draft) -> str:
    draft.spec["streamingStrategy"] = chance.pick(("PerStory", "PerStoryRun"))
    return "spec.streamingStrategy"


@breaks("story/strategy-inputs", "Story", realtime=True)
def _inputs_that_nobody_gives(chance: Chance, draft: Draft) -> str:
    draft.spec["streamingStrategy"] = "PerStory"
    name = chance.pick(("room", "a.b", "ünï"))
    draft.spec["inputsSchema"] = {"type": "object", "required": [name], "properties": {name: {"type": "string"}}}
    return "spec.inputsSchema"


# --- the Story as a whole --------------------------------------------------------------------------------------------


@breaks("story/total-size", "Story")
def _large_story(chance: Chance, draft: Draft) -> str:
    enlarge(section(draft.new, "metadata", "annotations"), MAX_STORY_BYTES, draft.new)
    return ""


def _payload(chance: Chance, draft: Draft) -> tuple[Object, str]:
    keys = chance.pick((("output",), ("policy", "with")))
    return section(draft.spec, *keys), ".".join(("spec", *keys))


@breaks("story/output-size", "Story")
def _large_output(chance: Chance, draft: Draft) -> str:
    enlarge(section(draft.spec, "output"), 65_536)
    return "spec.output"


@breaks("story/policy-size", "Story")
def _large_policy(chance: Chance, draft: Draft) -> str:
    enlarge(section(draft.spec, "policy", "with"), 65_536)
    return "spec.policy.with"


@breaks("story/payload-reference-form", "Story")
def _malformed_reference_beside_steps(chance: Chance, draft: Draft) -> str:
    (value, path), (wrong, below) = _payload(chance, draft), malformed(chance)
    return f"{somewhere(chance, value, path, wrong)}.{below}"


@breaks("story/payload-reference-namespace", "Story", policies=NOT_ALLOWED)
def _reference_out_of_reach_beside_steps(chance: Chance, draft: Draft) -> str:
    (value, path), (wrong, below) = _payload(chance, draft), out_of_reach(chance)
    return f"{somewhere(chance, value, path, wrong)}.{below}"


@breaks("story/policy-duration", "Story")
def _policy_duration(chance: Chance, draft: Draft) -> str:
    positive = (*(("timeouts", key) for key in ("story", "step", "cleanup")), ("execution", "timeout"))
    others = (
        ("timeouts", "gracefulShutdownTimeout"),
        *(("retries", "stepRetryPolicy", key) for key in ("delay", "maxDelay")),
        *(("execution", "retry", key) for key in ("delay", "maxDelay")),
    )
    keys = chance.pick((*positive, *others))
    wrong = (*BAD_DURATIONS, "0s") if keys in positive else BAD_DURATIONS
    section(draft.spec, "policy", *keys[:-1])[keys[-1]] = chance.pick(wrong)
    return f"spec.policy.{'.'.join(keys)}"


@breaks("story/priority-bounded", "Story")
def _priority_beyond_the_bound(chance: Chance, draft: Draft) -> str:
    section(draft.spec, "policy")["priority"] = chance.pick((101, 1000, 2**31 - 1))
    return "spec.policy.priority"


@breaks("story/schema", "Story")
def _no_schema(chance: Chance, draft: Draft) -> str:
    key = chance.pick(("inputsSchema", "outputsSchema"))
    draft.spec[key] = bad_schema(chance)
    return f"spec.{key}"


# --- transports ------------------------------------------------------------------------------------------------------


def _transport(chance: Chance, draft: Draft) -> tuple[Object, str]:
    declared = draft.spec.setdefault("transports", [])
    if not declared or chance.yes(4):
        name = f"new-{len(draft.objects)}"
        draft.objects.append(written(TRANSPORT, "", name, dict(ANY_TRANSPORT)))
        insert(chance, draft.spec, "transports", {"name": name, "transportRef": name})
    index = chance.number(0, len(declared) - 1)
    return declared[index], f"spec.transports[{index}]"


@breaks("story/transports-none", "Story", realtime=True)
def _no_transports(chance: Chance, draft: Draft) -> str:
    if not any("ref" in step for step in draft.spec.get("steps") or ()):
        _engram_that_streams(chance, draft)
    for found in steps_of(draft):
        found.step.pop("transport", None)
    draft.spec.pop("transports", None)
    return "spec.transports"


def _engram_that_streams(chance: Chance, draft: Draft) -> None:
    engram = {"templateRef": {"name": "t-lives"}, "mode": "deployment"}
    draft.objects.append(written(ENGRAM, draft.namespace, "lives", engram))
    draft.objects.append(written(ENGRAM_TEMPLATE, "", "t-lives", {"version": "v1", "supportedModes": ["deployment"]}))
    step = {"name": f"planted-{len(draft.objects)}", "ref": {"name": "lives"}, "needs": []}
    insert(chance, draft.spec, "steps", step)  # at the top: only there it streams


@breaks("story/transport-settings", "Story")
def _quorum_without_its_mode(chance: Chance, draft: Draft) -> str:
    found, path = _transport(chance, draft)
    offered = draft.find("Transport", found["transportRef"])["spec"]
    offered["streaming"] = {"fanIn": {"mode": "quorum", "quorum": 2}}
    found["streaming"] = {"fanIn": {"mode": chance.pick(("all", "any"))}}
    return path


@breaks("story/lane-unsupported", "Story")
def _lane_that_nobody_carries(chance: Chance, draft: Draft) -> str:
    found, path = _transport(chance, draft)
    offered = draft.find("Transport", found["transportRef"])["spec"]
    kind, offer = chance.pick((("audio", "supportedAudio"), ("video", "supportedVideo"), ("binary", "supportedBinary")))
    offered.pop(offer, None)
    found["streaming"] = {"lanes": [{"name": "l", "kind": kind}]}
    return f"{path}.streaming.lanes[0].kind"


@breaks("story/transport-taken", "Story")
def _transport_twice(chance: Chance, draft: Draft) -> str:
    first, _path = _transport(chance, draft)
    twin = {"name": first["name"], "transportRef": first["transportRef"]}
    insert(chance, draft.spec, "transports", twin)
    later = max(index for index, found in enumerate(draft.spec["transports"]) if found["name"] == twin["name"])
    return f"spec.transports[{later}].name"


@breaks("story/transport-ref", "Story")
def _transport_of_no_name(chance: Chance, draft: Draft) -> str:
    found, path = _transport(chance, draft)
    found["transportRef"] = chance.pick((" ", "\t"))
    return f"{path}.transportRef"


@breaks("story/transport-missing", "Story")
def _transport_gone(chance: Chance, draft: Draft) -> str:
    found, path = _transport(chance, draft)
    draft.remove(draft.find("Transport", found["transportRef"]))
    return f"{path}.transportRef"


@breaks("story/transport-undeclared", "Story")
def _transport_that_nobody_declares(chance: Chance, draft: Draft) -> str:
    found = any_step(chance, draft)
    found.step["transport"] = "nobodys"
    return f"{found.path}.transport"


@breaks("story/hook-unknown", "Story", realtime=True)
def _waits_for_a_hook_of_nobody(chance: Chance, draft: Draft) -> str:
    if not any("ref" in step for step in draft.spec.get("steps") or ()):
        _transport(chance, draft)
        _engram_that_streams(chance, draft)
    found = chance.pick(
        [each for each in steps_of(draft) if "ref" in each.step and each.list_name == "steps" and not each.depth]
    )
    event = chance.pick(("storyrun.redy", "steprun.ended", "story.ready", "StepRun.ready"))
    found.step["if"] = chance.pick((f"packet.type == '{event}'", f"{{{{ eq packet.type `{event}` }}}}"))
    return f"{found.path}.if"


@breaks("story/route-unknown", "Story")
def _route_to_a_ghost(chance: Chance, draft: Draft) -> str:
    found, path = _transport(chance, draft)
    routing = section(found, "streaming", "routing")
    rule: Object = {"action": "deny", "target": {"steps": ["ghost"]}}
    return f"{path}.streaming.routing.rules[{insert(chance, routing, 'rules', rule)}].target.steps[0]"


@breaks("story/max-downstreams", "Story", realtime=True)
def _more_followers_than_get_a_packet(chance: Chance, draft: Draft) -> str:
    found, _ = _transport(chance, draft)
    named = next(each for each in draft.spec["transports"] if each["name"] == found["name"])
    most = chance.number(1, 4)
    named.setdefault("streaming", {})["routing"] = {"maxDownstreams": most, "rules": []}
    _engram_that_streams(chance, draft)
    source: Object = {"name": "wide", "ref": {"name": "lives"}, "needs": [], "transport": named["name"]}
    insert(chance, draft.spec, "steps", source)
    for number in range(most + 1):
        step: Object = {"name": f"follows-{number}", "ref": {"name": "lives"}, "needs": ["wide"]}
        insert(chance, draft.spec, "steps", step)
    return f"spec.steps[{draft.spec['steps'].index(source)}]"
