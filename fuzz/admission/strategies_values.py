"""Random valid values of fields: names, durations, payloads, schemas with documents that fit them, expressions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from core.api.objects import Object
from core.policy.stream_problems import SECURITY_MODE
from fuzz.admission.chance import Chance

NAMES: Final = (
    *("a", "b", "c", "d", "e", "fetch", "join", "send", "x1", "0", "9z", "fetch-feed", "a-b", "a--b", "in", "true"),
    *("if", "not", "steps", "inputs", "n" * 63, "m" + "-" * 61 + "m", "status", "null", "item", "previous"),
)
"""DNS labels; some are keywords of an expression language."""
NAMESPACES: Final = ("team", "shared", "other", "0")
STORED: Final = "{{ inputs.x }}"
"""The key of a stored object; it is not known to be of another namespace."""
VERSIONS: Final = ("v1", "v2", "1.0.0", "2026-01")
WORDS: Final = ("x", "some text", "ünï", "a.b/c", "0", "true", "500m", "128Mi", "/var/run", "no: yes", "#", "- a")
SAFE_DURATIONS: Final = (
    "1s",
    "1ms",
    "250ms",
    "90s",
    "5m",
    "1h30m",
    "1.5h",
    "72h3m0.5s",
    "1us",
    "2000000h",
    " 5m ",
    "+1s",
)
INSTANTS: Final = tuple(f"2026-01-01T00:{minute:02}:{second:02}Z" for minute in (0, 7, 59) for second in (0, 1, 30, 59))

_PLAIN_NAME: Final = re.compile(r"[a-z][a-z0-9]*")
_RESERVED: Final = ("in", "true", "null", "if", "not")
_MOST_SMALL: Final = 1_000


def name(chance: Chance) -> str:
    return chance.pick(NAMES)


def duration(chance: Chance) -> str:
    """A duration greater than zero."""
    return chance.pick(SAFE_DURATIONS)


def duration_or_none(chance: Chance) -> str:
    """A duration of zero or more, or a blank string."""
    return chance.pick((*SAFE_DURATIONS, "0", "0s", "-0s", "", " "))


def payload(chance: Chance, expressions: Sequence[str] = (), depth: int = 2) -> Object:
    """A JSON object; it may contain ``expressions``, and references in all their forms."""
    keys = chance.some(("x", "url", "some key", "a.b", "0", "list", "deep"), 3)
    return {key: _json(chance, expressions, depth) for key in keys}


def reference_map(chance: Chance, namespace: str = "") -> Object:
    """A reference to storage, or to a Secret or ConfigMap of ``namespace``."""
    if chance.yes(3):
        more = chance.some(("$bubuStoragePath", "$bubuStorageContentType", "$bubuStorageSchema"), 2)
        return {"$bubuStorageRef": STORED, **dict.fromkeys(more, "x")}
    kind = chance.pick(("$bubuSecretRef", "$bubuConfigMapRef"))
    place = namespace if namespace and chance.yes(3) else ""
    if chance.yes():
        return {kind: f"{place}/keys:token" if place else "keys:token"}
    target: Object = {"name": "keys", "key": "token"}
    if place:
        target["namespace"] = place
    if chance.yes(3):
        target["format"] = chance.pick(("auto", "json", "RAW", " "))
    return {kind: target}


def settings(chance: Chance) -> Object:
    """Settings of a transport's provider; they do not weaken its security."""
    found = payload(chance, depth=1)
    if chance.yes(3):
        found["env"] = {"A": 1} | ({SECURITY_MODE: chance.pick(("tls", " TLS "))} if chance.yes() else {})
    return found


def _json(chance: Chance, expressions: Sequence[str], depth: int) -> Any:
    match chance.number(0, 9):
        case 7 if expressions:
            return chance.pick(expressions)
        case 8 if expressions:
            return {"$bubuTemplate": chance.pick(expressions)}
        case 5 if depth:
            return [_json(chance, expressions, depth - 1) for _ in range(chance.number(0, 2))]
        case 6 if depth:
            return payload(chance, expressions, depth - 1)
        case 9:
            return reference_map(chance)
        case 4:
            return chance.number(-_MOST_SMALL, _MOST_SMALL)
        case _:
            return chance.pick(("", "text", None, True, False, 0, 1.5, 10**15, "ünï", "steps.a == 1", [], {}))


# --- schemas ---------------------------------------------------------------------------------------------------------

_TYPES: Final[dict[str, tuple[Object, tuple[Any, ...], Any]]] = {
    "url": ({"type": "string"}, ("", "u", "ünï"), 3),
    "n": ({"type": "integer", "minimum": 0}, (0, 3, 10**6), "three"),
    "ratio": ({"type": "number", "maximum": 1}, (0.5, -2, 1), []),
    "on": ({"type": "boolean"}, (True, False), "yes"),
    "mode": ({"enum": ["fast", "slow"]}, ("fast", "slow"), "medium"),
    "tags": ({"type": "array", "items": {"type": "string"}, "maxItems": 3}, ([], ["a"], ["a", "b"]), {}),
    "code": ({"type": "string", "pattern": "^[a-z]+$"}, ("a", "abc"), "ABC"),
    "inner": (
        {"type": "object", "properties": {"k": {"type": "integer"}}, "required": ["k"], "additionalProperties": True},
        ({"k": 1}, {"k": 2, "more": None}),
        7,
    ),
}
"""Property → schema, values that fit, one value that does not fit."""


def schema(chance: Chance) -> Object:
    """A JSON Schema of objects; ``document`` makes an object that fits it."""
    names = chance.some(tuple(_TYPES), 4)
    properties = {name: dict(_TYPES[name][0]) for name in names}
    found: Object = {"type": "object", "properties": properties, "additionalProperties": True}
    required = chance.some(names, 2)
    if required:
        found["required"] = required
    defaulted = next((name for name in names if chance.yes(4)), None)
    if defaulted:
        properties[defaulted]["default"] = _TYPES[defaulted][1][0]
    if "inner" in properties and chance.yes(3):
        properties["inner"] = {"$ref": "#/$defs/I"}
        found["$defs"] = {"I": dict(_TYPES["inner"][0])}
    return found


def inputs_schema(chance: Chance) -> Object:
    """A schema of inputs, with all those that expressions here read."""
    found = schema(chance)
    for read in ("x", "a", "e-f", "n", "items", "env", "ready"):
        found["properties"].setdefault(read, {})
    return found


def document(chance: Chance, schema: Object, expressions: Sequence[str] = (), *, stored: bool = True) -> Object:
    """An object that fits ``schema``, with templates as some values; ``stored``: also with references to storage."""
    properties = schema["properties"]
    needed = [key for key in schema.get("required", ()) if "default" not in properties[key]]
    keys = dict.fromkeys([*needed, *chance.some(tuple(properties), 2)])
    found = {key: _fitting(chance, key, expressions, stored=stored) for key in keys}
    if chance.yes(3):
        found["more"] = chance.number(0, 9)
    return found


def unfitting(key: str) -> Any:
    """A value that does not fit the property."""
    return _TYPES[key][2]


def _fitting(chance: Chance, key: str, expressions: Sequence[str], *, stored: bool) -> Any:
    match chance.number(0, 5):
        case 4 if expressions and whole(expressions):
            return chance.pick(whole(expressions))
        case 5 if stored:
            return {"$bubuStorageRef": STORED}
        case _:
            return chance.pick(_TYPES[key][1])


# --- expressions -----------------------------------------------------------------------------------------------------

_OF_INPUTS: Final = (
    "{{ inputs.x }}",
    "{{ .inputs.a.b }}",
    "{{ inputs['e-f'] }}",
    "n-{{ inputs.n }}-{{ len inputs.items }}",
    "{{ range $i, $x := .inputs.items }}{{ $x.name }}{{ end }}",
    "{{ $x := inputs }}{{ $x.a | default `b` | upper }}",
    "{{ if inputs.env }}a{{ else }}b{{ end }}",
)
_UNFORESEEN: Final = ("{{ now }}", "{{ uuidv4 }}")
_OF_PACKET: Final = ("{{ packet.id }}", "{{ get packet `lang` }}")


def of_step(step: str) -> str:
    """A reference to the step in an expression of both dialects."""
    return f"steps.{step}" if _PLAIN_NAME.fullmatch(step) and step not in _RESERVED else f'steps["{step}"]'


def whole(expressions: Sequence[str]) -> list[str]:
    """Those that are one action, and so may give any type."""
    return [text for text in expressions if text.startswith("{{") and text.count("{{") == 1 and text.endswith("}}")]


def static_templates() -> list[str]:
    """Templates that are evaluated before a stream begins."""
    return list(_OF_INPUTS)


def templates(steps: Sequence[str] = (), *, packet: bool = False) -> list[str]:
    """Templates with inputs and ``steps``, and with ``packet`` if it is true."""
    return [
        *_OF_INPUTS,
        *(f"{{{{ {of_step(step)}.output.x }}}}" for step in steps),
        *(f'{{{{ index .steps "{step}" "output" "y" }}}}' for step in steps[:2]),
        *(_OF_PACKET if packet else ()),
        *_UNFORESEEN,
    ]


def condition(chance: Chance, steps: Sequence[str] = (), *, packet: bool = False) -> str:
    """A condition in one of the two dialects."""
    choices = [
        "inputs.ready",
        "size(inputs.items) > 0",
        "{{ inputs.ready }}",
        "{{ and inputs.a (gt inputs.n 1) }}",
    ]
    if steps:
        step = of_step(chance.pick(steps))
        choices += [
            f"{step}.output.ok == true",
            f"inputs.a && {step}.output.n > 1.0",
            f"{{{{ eq {step}.output.ok true }}}}",
        ]
    if packet:
        choices += ["packet.id == 1", "{{ eq packet.lang `en` }}"]
    return chance.pick(choices)


def handed_on(chance: Chance) -> dict[str, Any]:
    """A rule that both templates and Engrams may have."""
    return {
        "apiGroups": [""],
        "resources": [chance.pick(("configmaps", "secrets"))],
        "verbs": ["get"],
        "resourceNames": [chance.pick(NAMES)],
    }
