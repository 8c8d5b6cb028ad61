"""Random Transports, TransportBindings, and settings of streams."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from core.api.binding import AudioBinding, BinaryBinding, TransportBindingSpec, VideoBinding
from core.api.objects import Object
from core.api.resource import TRANSPORT, TRANSPORT_BINDING
from core.api.streaming import FlowControl, Lane, Routing, RoutingRule, Streaming
from core.api.transport import TransportSpec
from fuzz.admission import strategies_values as values
from fuzz.admission.chance import Chance
from fuzz.admission.strategies_models import fill
from fuzz.admission.strategies_world import Surroundings, new_object

_AUDIO: Final = ("opus", "pcm16", "aac", "g711-mu")
_VIDEO: Final = ("vp9", "h264", "raw-rgb")
_MIME: Final = ("application/json", "text/plain", "a/b", "application/vnd.x+json; charset=utf-8")
_DRAWN: Final = (
    *("supportedAudio", "supportedVideo", "supportedBinary", "configSchema", "defaultSettings", "streaming"),
)
_LANES: Final = ("audio", "video", "binary", "payload", "control")


def streaming(chance: Chance, steps: Sequence[str]) -> Object:
    """Settings of streams, with rules about ``steps``."""
    found = fill(chance, Streaming, leave=("fanIn", "lanes", "routing", "flowControl"))
    replay = (found.get("delivery") or {}).get("replay") or {}
    if replay.get("mode") == "durable":  # of the schema, and refused
        replay["mode"] = "memory"
    if chance.yes(3):
        mode = chance.pick(("all", "any", "quorum"))
        found["fanIn"] = {"mode": mode, "timeoutSeconds": 3} | ({"quorum": 2} if mode == "quorum" else {})
    if chance.yes(3):
        kinds = chance.some(_LANES, 3)
        found["lanes"] = [fill(chance, Lane, {"name": f"l{kind}", "kind": kind}) for kind in kinds]
    if chance.yes(3):
        found["flowControl"] = _flow_control(chance)
    if chance.yes():
        rules = [_rule(chance, steps) for _ in range(chance.number(0, 2))]
        found["routing"] = fill(chance, Routing, {"rules": rules, "maxDownstreams": chance.number(20, 100)})
    return found


def _rule(chance: Chance, steps: Sequence[str]) -> Object:
    given: Object = {}
    if chance.yes():
        given["when"] = chance.pick(("{{ eq packet.lang `en` }}", 'packet.metadata.lang == "en"', "inputs.all", " "))
    if chance.yes():
        given["target"] = {"steps": [chance.pick(("{}", " {}")).format(step) for step in chance.some(steps, 2)]}
    return fill(chance, RoutingRule, given, leave=("when", "target"))


def _flow_control(chance: Chance) -> Object:
    found = fill(chance, FlowControl, leave=("pauseThreshold", "resumeThreshold", "ackEvery"))
    pause = chance.number(50, 100)
    if chance.yes():
        found["pauseThreshold"] = {"bufferPct": pause}
        found["resumeThreshold"] = {"bufferPct": chance.number(0, pause)}
    if chance.yes():
        found["ackEvery"] = {"maxDelay": chance.pick((*values.SAFE_DURATIONS, "")), "messages": chance.number(0, 9)}
    return found


def transport_spec(chance: Chance) -> Object:
    given: Object = {"driver": chance.pick(("bobravoz-grpc", "d", " livekit")), "provider": "p"}
    offers = chance.some(("supportedAudio", "supportedVideo", "supportedBinary"), 3, 1)
    if "supportedAudio" in offers:
        given["supportedAudio"] = [
            _codec(chance, name, "sampleRateHz", "channels") for name in chance.some(_AUDIO, 3, 1)
        ]
        if chance.yes(3):
            given["supportedAudio"] += [
                {"name": "flac", "sampleRateHz": 48000},
                {"name": "flac", "sampleRateHz": 16000},
            ]
    if "supportedVideo" in offers:
        given["supportedVideo"] = [
            {"name": name} | ({"profile": "Main"} if chance.yes(3) else {}) for name in chance.some(_VIDEO, 3, 1)
        ]
    if "supportedBinary" in offers:
        given["supportedBinary"] = chance.some(_MIME, 3, 1)
    if chance.yes(3):
        given["configSchema"] = values.schema(chance)
    if chance.yes(3):
        given["defaultSettings"] = values.settings(chance)
    if chance.yes():
        given["streaming"] = streaming(chance, ("a", "b", "elsewhere"))
    return fill(chance, TransportSpec, given, leave=_DRAWN)


def _codec(chance: Chance, name: str, *numbers: str) -> Object:
    return {"name": name, **{key: chance.pick((0, 1, 2, 48000)) for key in chance.some(numbers, 2)}}


def transport(chance: Chance, around: Surroundings) -> Object:
    return new_object(chance, around, TRANSPORT, transport_spec(chance))


def binding(chance: Chance, around: Surroundings) -> Object:
    offered = transport_spec(chance)
    name = around.transport(offered)
    given: Object = {
        "transportRef": chance.pick(("{}", "  {}  ")).format(name),
        "driver": chance.pick(("{}", "{} ")).format(offered["driver"].strip()),
    }
    for lane in chance.some(("audio", "video", "binary"), 3, 1):
        given[lane] = _lane(chance, lane, offered)
    if chance.yes(3):
        given["rawSettings"] = values.settings(chance)
    if chance.yes():
        given["storyRunRef"] = {"name": "r"} | ({"namespace": around.namespace} if chance.yes() else {})
    spec = fill(chance, TransportBindingSpec, given, leave=("audio", "video", "binary", "rawSettings", "storyRunRef"))
    return new_object(chance, around, TRANSPORT_BINDING, spec)


def _lane(chance: Chance, lane: str, offered: Object) -> Object:
    match lane:
        case "audio":
            wishes = [
                dict(chance.pick((offer, {"name": offer["name"]}))) for offer in offered.get("supportedAudio", ())
            ]
            return fill(chance, AudioBinding, {"codecs": chance.some(wishes, 2)})
        case "video":
            wishes = [dict(offer) for offer in offered.get("supportedVideo", ())]
            return fill(chance, VideoBinding, {"codecs": chance.some(wishes, 2)})
        case _:
            types = [chance.pick((kind, f" {kind.upper()}")) for kind in offered.get("supportedBinary", ())]
            return fill(chance, BinaryBinding, {"mimeTypes": chance.some(types, 2)})
