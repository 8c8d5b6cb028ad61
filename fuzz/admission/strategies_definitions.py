"""Random valid Engrams, Impulses, templates and ReferenceGrants."""

from __future__ import annotations

from typing import Final

from core.api.delivery import DeliveryPolicy, DeliveryRetry
from core.api.engram import EngramSpec
from core.api.impulse import ImpulseSpec, ImpulseWorkload
from core.api.objects import Object
from core.api.resource import (
    ENGRAM,
    ENGRAM_TEMPLATE,
    IMPULSE,
    IMPULSE_TEMPLATE,
    REFERENCE_GRANT,
    STEP_RUN,
    STORY,
    STORY_RUN,
    STORY_TRIGGER,
    Resource,
)
from core.api.templates import EngramTemplateSpec, ImpulseTemplateSpec
from fuzz.admission import strategies_values as values
from fuzz.admission.chance import Chance
from fuzz.admission.strategies_models import fill
from fuzz.admission.strategies_world import Surroundings, new_object

_ASKED: Final[dict[Resource, tuple[Resource, ...]]] = {
    STORY: (ENGRAM, STORY),
    IMPULSE: (STORY,),
    STORY_RUN: (STORY,),
    STORY_TRIGGER: (STORY,),
    STEP_RUN: (STORY_RUN, ENGRAM),
}
_KEYS: Final = ("api", "db", "spare")


def engram(chance: Chance, around: Surroundings) -> Object:
    given, modes = _of_template(chance, around, ENGRAM, ENGRAM_TEMPLATE, ("job", "deployment", "statefulset"))
    if "job" not in modes or chance.yes():
        given["mode"] = chance.pick(modes)
    spec = fill(chance, EngramSpec, given, leave=("mode", "with", "secrets"))
    return new_object(chance, around, ENGRAM, spec)


def impulse(chance: Chance, around: Surroundings) -> Object:
    given, modes = _of_template(chance, around, IMPULSE, IMPULSE_TEMPLATE, ("deployment", "statefulset"))
    given["storyRef"] = around.reference(IMPULSE, STORY, around.story())
    if "deployment" not in modes or chance.yes():
        given["workload"] = fill(chance, ImpulseWorkload, {"mode": chance.pick(modes)})
    if chance.yes():
        given["deliveryPolicy"] = delivery_policy(chance)
    if chance.yes(3):
        given["throttle"] = {key: chance.number(0, 9) for key in ("burst", "maxInFlight", "ratePerSecond")}
    leave = ("with", "secrets", "mapping", "deliveryPolicy", "throttle", "workload")
    return new_object(chance, around, IMPULSE, fill(chance, ImpulseSpec, given, leave=leave))


def delivery_policy(chance: Chance) -> Object:
    given: Object = {}
    if chance.yes():
        mode = chance.pick(("none", "token", "key"))
        given["dedupe"] = {"mode": mode} | ({"keyTemplate": "{{ .inputs.id }}"} if mode == "key" else {})
    if chance.yes():
        retry = fill(chance, DeliveryRetry, leave=("baseDelay", "maxDelay"))
        delays = chance.pick(({}, {"baseDelay": "1s"}, {"baseDelay": " 1s", "maxDelay": "5m"}, {"maxDelay": "1ms"}))
        given["retry"] = {**retry, **delays}
    return fill(chance, DeliveryPolicy, given, leave=("dedupe", "retry"))


_MODES = ("job", "deployment", "statefulset", "worker")


def _of_template(
    chance: Chance, around: Surroundings, source: Resource, target: Resource, modes: tuple[str, ...]
) -> tuple[Object, list[str]]:
    """Creates a template; returns the fields that depend on it (reference, configuration, secrets) and its modes."""
    supported = chance.some(modes, 3, 1)
    spec: Object = {"version": chance.pick(values.VERSIONS), "image": "img", "supportedModes": supported}
    given: Object = {}
    if chance.yes():
        spec["configSchema"] = values.schema(chance)
        given["with"] = values.document(chance, spec["configSchema"], values.templates())
    elif chance.yes():
        given["with"] = values.payload(chance, values.templates())
    if "with" in given and chance.yes(3):
        given["with"]["ref"] = around.payload_reference(source)
    if chance.yes():
        declared = chance.some(_KEYS, 3)
        spec["secretSchema"] = {key: {"required": True} if chance.yes() else {} for key in declared}
        required = [key for key in declared if spec["secretSchema"][key]]
        mapped = dict.fromkeys([*required, *chance.some(declared, 2)], "keys")
        if mapped:
            around.secret("keys")
            given["secrets"] = mapped
    name = around.name(target)
    around.put(target, "", name, spec)
    given["templateRef"] = {"name": chance.pick(("{}", " {} ")).format(name)}
    if chance.yes(3):
        given["templateRef"]["version"] = spec["version"]
    return given, supported


def engram_template(chance: Chance, around: Surroundings) -> Object:
    given = _described(chance, ("inputSchema", "outputSchema", "configSchema"), _MODES)
    if given["supportedModes"] == ["job"] and chance.yes():
        given["container"] = _container(chance)
    leave = ("inputSchema", "outputSchema", "configSchema", "container")
    return new_object(chance, around, ENGRAM_TEMPLATE, fill(chance, EngramTemplateSpec, given, leave=leave))


def _container(chance: Chance) -> Object:
    """The call of an image without an SDK; every part may be missing."""
    texts = ("-s", "{{ inputs.a }}", "{{ step.name }}-{{ run.name }}", "$(x)", "")
    names = chance.some(("CITY", "a.b", "X_1"), 2)
    results = (
        {"from": "stdout"},
        {"from": "terminationMessage", "format": "json"},
        {"from": "file", "path": "/dev/shm/result"},
        {"from": "exitCode"},
    )
    parts: Object = {
        "command": ["run"],
        "args": [chance.pick(texts) for _ in range(chance.number(0, 2))],
        "env": [{"name": name, "value": chance.pick(texts)} for name in names],
        "inputsFile": chance.pick(("/var/run/bubu/inputs.json", "/in")),
        "result": chance.pick(results),
        "exitCodes": chance.pick(({"retry": [75, 1]}, {"terminal": [137], "rateLimited": [29]}, {})),
    }
    return {key: parts[key] for key in chance.some(tuple(parts), 6)}


def impulse_template(chance: Chance, around: Surroundings) -> Object:
    given = _described(chance, ("configSchema", "contextSchema"), ("deployment", "statefulset"))
    spec = fill(chance, ImpulseTemplateSpec, given, leave=("configSchema", "contextSchema"))
    return new_object(chance, around, IMPULSE_TEMPLATE, spec)


def _described(chance: Chance, schemas: tuple[str, ...], modes: tuple[str, ...]) -> Object:
    found: Object = {"version": chance.pick(values.VERSIONS), "image": "registry.example/t:1"}
    found["supportedModes"] = chance.some(modes, len(modes), 1)
    return found | {key: values.schema(chance) for key in chance.some(schemas, 2)}


def reference_grant(chance: Chance, around: Surroundings) -> Object:
    sources = chance.some(tuple(_ASKED), 2, 1)
    wanted = list(dict.fromkeys(target for source in sources for target in _ASKED[source]))
    spec = {
        "from": [{**_pair(source), "namespace": chance.pick(values.NAMESPACES)} for source in sources],
        "to": [{**_pair(target), **({"name": "x"} if chance.yes() else {})} for target in chance.some(wanted, 2, 1)],
    }
    return new_object(chance, around, REFERENCE_GRANT, spec)


def _pair(resource: Resource) -> Object:
    return {"group": resource.group, "kind": resource.kind}
