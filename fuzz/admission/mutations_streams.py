"""Mistakes in settings of streams in all kinds that have them, and in Transports and TransportBindings."""

from __future__ import annotations

from typing import Any

from core.api.objects import Object
from core.api.resource import TRANSPORT
from core.policy.stream_problems import SECURITY_MODE
from fuzz.admission.chance import Chance
from fuzz.admission.mutations import BAD_DURATIONS, NOWHERE, Draft, bad_schema, breaks, insert, section
from fuzz.admission.strategies_world import ANY_TRANSPORT, written

_KINDS = ("Story", "Transport")


def _declared(chance: Chance, draft: Draft) -> tuple[Object, str]:
    """The object that has settings of streams, and its path."""
    if draft.new["kind"] == "Transport":
        return draft.spec, "spec"
    if not draft.spec.get("transports"):
        draft.objects.append(written(TRANSPORT, "", "planted", dict(ANY_TRANSPORT)))
        draft.spec["transports"] = [{"name": "planted", "transportRef": "planted"}]
    index = chance.number(0, len(draft.spec["transports"]) - 1)
    return draft.spec["transports"][index], f"spec.transports[{index}]"


def _streaming(chance: Chance, draft: Draft) -> tuple[Object, str]:
    parent, path = _declared(chance, draft)
    return section(parent, "streaming"), f"{path}.streaming"


def _a_rule(chance: Chance, draft: Draft) -> tuple[Object, str]:
    settings, path = _streaming(chance, draft)
    routing = section(settings, "routing")
    if not routing.get("rules"):
        routing["rules"] = []
        insert(chance, routing, "rules", {})
    index = chance.number(0, len(routing["rules"]) - 1)
    return routing["rules"][index], f"{path}.routing.rules[{index}]"


@breaks("stream/duration", *_KINDS)
def _no_duration(chance: Chance, draft: Draft) -> str:
    settings, path = _streaming(chance, draft)
    keys = chance.pick((("flowControl", "ackEvery", "maxDelay"), ("delivery", "replay", "checkpointInterval")))
    section(settings, *keys[:-1])[keys[-1]] = chance.pick((*BAD_DURATIONS, "0s"))
    return f"{path}.{'.'.join(keys)}"


@breaks("stream/durable", *_KINDS)
def _kept_for_ever(chance: Chance, draft: Draft) -> str:
    settings, path = _streaming(chance, draft)
    section(settings, "delivery", "replay")["mode"] = "durable"
    return f"{path}.delivery.replay.mode"


@breaks("stream/sample-policy", *_KINDS)
def _no_sample_policy(chance: Chance, draft: Draft) -> str:
    settings, path = _streaming(chance, draft)
    section(settings, "observability", "tracing")["samplePolicy"] = chance.pick(("some", "off", "rate,random"))
    return f"{path}.observability.tracing.samplePolicy"


@breaks("stream/blank", *_KINDS)
def _blank(chance: Chance, draft: Draft) -> str:
    settings, path = _streaming(chance, draft)
    if chance.yes():
        section(settings, "partitioning")["key"] = chance.pick(("", " "))
        return f"{path}.partitioning.key"
    index = insert(chance, section(settings, "recording"), "redactFields", chance.pick(("", " ")))
    return f"{path}.recording.redactFields[{index}]"


@breaks("stream/lane-taken", *_KINDS)
def _lane_twice(chance: Chance, draft: Draft) -> str:
    settings, path = _streaming(chance, draft)
    settings["lanes"] = (settings.get("lanes") or [])[:2] or [{"name": "l", "kind": "audio"}]
    first = chance.pick(settings["lanes"])
    free = next(
        kind for kind in ("audio", "video", "binary") if all(lane["kind"] != kind for lane in settings["lanes"])
    )
    key = chance.pick(("name", "kind"))
    twin = {"name": "twin", "kind": free, key: first[key]}
    insert(chance, settings, "lanes", twin)
    later = max(index for index, lane in enumerate(settings["lanes"]) if lane[key] == twin[key])
    return f"{path}.lanes[{later}].{key}"


@breaks("stream/target-blank", *_KINDS)
def _blank_target(chance: Chance, draft: Draft) -> str:
    rule, path = _a_rule(chance, draft)
    index = insert(chance, section(rule, "target"), "steps", chance.pick(("", " ")))
    return f"{path}.target.steps[{index}]"


@breaks("stream/target-taken", *_KINDS)
def _target_twice(chance: Chance, draft: Draft) -> str:
    rule, path = _a_rule(chance, draft)
    targets = section(rule, "target").setdefault("steps", [])
    if not targets:
        targets.append(draft.spec["steps"][0]["name"] if "steps" in draft.spec else "a")
    twin = chance.pick(targets).strip()
    insert(chance, rule["target"], "steps", chance.pick(("{}", " {} ")).format(twin))
    later = max(index for index, target in enumerate(rule["target"]["steps"]) if target.strip() == twin)
    return f"{path}.target.steps[{later}]"


@breaks("stream/thresholds", *_KINDS)
def _resumes_before_it_pauses(chance: Chance, draft: Draft) -> str:
    settings, path = _streaming(chance, draft)
    flow = section(settings, "flowControl")
    pause = chance.pick((None, 0, 50, 99))
    flow["pauseThreshold"] = {} if pause is None else {"bufferPct": pause}
    flow["resumeThreshold"] = {"bufferPct": (90 if pause is None else pause) + 1}
    return f"{path}.flowControl.resumeThreshold.bufferPct"


@breaks("stream/condition", *_KINDS)
def _no_condition(chance: Chance, draft: Draft) -> str:
    rule, path = _a_rule(chance, draft)
    rule["when"] = chance.pick(("{{ packet.lang", "{{ trigger.x }}", "packet.lang = 'en'", "perhaps", "{{ nope }}"))
    return f"{path}.when"


@breaks("stream/quorum", *_KINDS)
def _quorum_of_nobody(chance: Chance, draft: Draft) -> str:
    settings, path = _streaming(chance, draft)
    settings["fanIn"] = chance.pick(
        ({"mode": "quorum"}, {"mode": "any", "quorum": 2}, {"quorum": 1}, {"mode": "all", "quorum": 1})
    )
    return f"{path}.fanIn.quorum"


@breaks("stream/insecure", *_KINDS, "TransportBinding")
def _insecure(chance: Chance, draft: Draft) -> str:
    key = {"Story": "settings", "Transport": "defaultSettings"}.get(draft.new["kind"], "rawSettings")
    parent, path = (draft.spec, "spec") if key == "rawSettings" else _declared(chance, draft)
    settings = section(parent, key)
    if chance.yes(3):
        settings["env"] = chance.pick(("none", [], 3))
        return f"{path}.{key}.env"
    section(settings, "env")[SECURITY_MODE] = chance.pick(("plaintext", "", None, 1, True, "tls1.3"))
    return f"{path}.{key}.env.{SECURITY_MODE}"


# --- Transports ------------------------------------------------------------------------------------------------------


@breaks("transport/driver", "Transport")
def _blank_driver(chance: Chance, draft: Draft) -> str:
    draft.spec["driver"] = chance.pick((" ", "\t\n"))
    return "spec.driver"


@breaks("transport/capability", "Transport")
def _carries_nothing(chance: Chance, draft: Draft) -> str:
    for key in ("supportedAudio", "supportedVideo", "supportedBinary"):
        if key in draft.spec:
            draft.spec[key] = []
    return "spec"


@breaks("transport/offer-taken", "Transport")
def _offer_twice(chance: Chance, draft: Draft) -> str:
    key = chance.pick(("supportedAudio", "supportedVideo", "supportedBinary"))
    if key == "supportedBinary":
        first = chance.pick(draft.spec.setdefault(key, []) or ["a/b"])
        twin: Any = chance.pick((first, f" {first.upper()}"))
    else:
        first = chance.pick(draft.spec.setdefault(key, []) or [{"name": "raw" if key == "supportedAudio" else "av1"}])
        twin = dict(first)
    if first not in draft.spec[key]:
        draft.spec[key].append(first)
    before = draft.spec[key].index(first)
    index = chance.number(before + 1, len(draft.spec[key]))
    draft.spec[key].insert(index, twin)
    return f"spec.{key}[{index}]" + ("" if key == "supportedBinary" else ".name")


@breaks("transport/rate", "Transport")
def _negative(chance: Chance, draft: Draft) -> str:
    offers, key = draft.spec.setdefault("supportedAudio", []), chance.pick(("sampleRateHz", "channels"))
    if not offers:
        offers.append({"name": "raw"})
    index = chance.number(0, len(offers) - 1)
    offers[index][key] = -chance.number(1, 9)
    return f"spec.supportedAudio[{index}].{key}"


@breaks("transport/mime-type", "Transport")
def _no_mime_type(chance: Chance, draft: Draft) -> str:
    return f"spec.supportedBinary[{insert(chance, draft.spec, 'supportedBinary', chance.pick(('json', '', ' ')))}]"


@breaks("transport/schema", "Transport")
def _no_schema(chance: Chance, draft: Draft) -> str:
    draft.spec["configSchema"] = bad_schema(chance)
    return "spec.configSchema"


# --- TransportBindings -----------------------------------------------------------------------------------------------


@breaks("binding/frozen", "TransportBinding", update=True)
def _another_connection(chance: Chance, draft: Draft) -> list[str]:
    assert draft.old is not None
    keys = chance.some(("transportRef", "driver"), 2, 1)
    for key in keys:
        draft.old["spec"][key] = "before"
    return [f"spec.{key}" for key in ("transportRef", "driver") if key in keys]


@breaks("binding/lane", "TransportBinding")
def _connects_nothing(chance: Chance, draft: Draft) -> str:
    for lane in ("audio", "video", "binary"):
        draft.spec.pop(lane, None)
    return "spec"


@breaks("binding/blank", "TransportBinding")
def _blank_name(chance: Chance, draft: Draft) -> str:
    key = chance.pick(("transportRef", "driver"))
    draft.spec[key] = " "
    return f"spec.{key}"


@breaks("binding/transport-missing", "TransportBinding")
def _transport_gone(chance: Chance, draft: Draft) -> str:
    draft.objects.clear()
    return "spec.transportRef"


@breaks("binding/driver", "TransportBinding")
def _another_driver(chance: Chance, draft: Draft) -> str:
    draft.spec["driver"] = chance.pick((draft.spec["driver"].upper(), "another"))
    return "spec.driver"


@breaks("binding/unsupported", "TransportBinding")
def _nothing_that_it_carries(chance: Chance, draft: Draft) -> str:
    wishes: dict[tuple[str, str], Any] = {
        ("audio", "codecs"): chance.pick(({"name": "mp3"}, {"name": "opus", "sampleRateHz": 7})),
        ("video", "codecs"): chance.pick(({"name": "av1"}, {"name": "vp9", "profile": "Other"})),
        ("binary", "mimeTypes"): "x/y",
    }
    lane, key = chance.pick(tuple(wishes))
    index = insert(chance, draft.spec.setdefault(lane, {"direction": "publish"}), key, wishes[lane, key])
    return f"spec.{lane}.{key}[{index}]"


@breaks("binding/run-namespace", "TransportBinding")
def _run_elsewhere(chance: Chance, draft: Draft) -> str:
    draft.spec["storyRunRef"] = {"name": "r", "namespace": NOWHERE}
    return "spec.storyRunRef.namespace"
