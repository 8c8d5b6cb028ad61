"""Objects as they may leave a cluster: without data of the run, without secrets, without what only Kubernetes needs.

Data of a run are its inputs and outputs, and whatever was made of them: variables and arguments of containers. Of these
only the shape stays, unless the user asks for them. Definitions stay, because they are the program. Pure.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from cli.dump.secret_text import SecretValues, is_secret_name, without_secrets
from core.api import keys
from core.api.objects import Object
from core.telemetry.logs import REDACTED

_KINDS_WITH_DATA: Final = frozenset(
    {"StoryRun", "StepRun", "StoryTrigger", "EffectClaim", "Job", "Pod", "Deployment", "StatefulSet"}
)
_DATA: Final = frozenset(
    {
        *("inputs", "input", "output", "outputs", "with", "config", "data", "details", "payload", "signals"),
        *("command", "args", "script", "httpHeaders", "signalEvents", "triggerData"),
    }
)
"""Names of fields with data, in objects of these kinds."""
_TERMINATION: Final = ("terminated", "message")
"""What a container has written at its end: its output, or the end of its log."""
_DATA_VARIABLES: Final = ("DATA", "CONFIG", "CONTEXT", "INPUT", "OUTPUT", "PAYLOAD", "ARGS", "SCRIPT")
_OURS: Final = "BUBU_"
_DATA_ANNOTATIONS: Final = frozenset({keys.ANNOTATION_INPUTS, keys.ANNOTATION_RESULT})
_KNOWN_ANNOTATIONS: Final = ("bubustack.io", "kubernetes.io", "k8s.io")
_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"
_LONGEST_ANNOTATION: Final = 512
_DEEPEST: Final = 40


@dataclass
class Redaction:
    """How one dump treats objects and texts; ``values`` are the secrets that it has met.

    Args:
        key: see ``shape_of``.
        with_data: data stays, without secrets.
    """

    key: bytes
    with_data: bool = False
    values: SecretValues = field(default_factory=SecretValues)
    removed: int = 0
    """How many values were left out since it was last asked for."""

    def take_removed(self) -> int:
        found, self.removed = self.removed, 0
        return found

    def text(self, text: str) -> str:
        """A text, for example of a log."""
        found, count = without_secrets(text, self.values.learn)
        self.removed += count
        return found

    def object(self, obj: Object) -> Object:
        """An object of the API."""
        has_data = obj.get("kind") in _KINDS_WITH_DATA
        first = {name: obj[name] for name in ("apiVersion", "kind", "metadata") if name in obj}
        return {name: self._part(name, value, has_data, 0) for name, value in (first | obj).items()}

    def data(self, value: Any) -> Any:
        """Data of the run."""
        self._learn(value, "")
        if not self.with_data:
            self.removed += 1
            return shape_of(value, self.key)
        return self._without_secrets(value, 0)

    def _part(self, name: str, value: Any, has_data: bool, depth: int) -> Any:
        """A field of an object. Structures under the name of a secret are kept: they refer to Secrets by name."""
        if depth > _DEEPEST:
            self.removed += 1
            return left_out(value, "nested too deep")
        if has_data and name in _DATA:
            return self.data(value)
        match value:
            case Mapping() if name == "annotations":
                return {each: self._annotation(each, child) for each, child in value.items()}
            case Mapping():
                return {
                    each: self.data(child)
                    if (name, each) == _TERMINATION
                    else self._part(each, child, has_data, depth + 1)
                    for each, child in value.items()
                    if each != "managedFields"
                }
            case list() if name == "env":
                return [self._variable(each) if isinstance(each, Mapping) else each for each in value]
            case list():
                return [self._part("" if has_data else name, each, has_data, depth + 1) for each in value]
            case str() if is_secret_name(name) and value and "{{" not in value:
                return self._hidden(value)
            case str():
                return self.text(value)
            case _:
                return value

    def _variable(self, variable: Mapping[str, Any]) -> Object:
        """A variable of a container. Only the operator's own are kept; what users set may be anything."""
        name, value = str(variable.get("name") or ""), variable.get("value")
        if not value:
            return dict(variable)
        if is_secret_name(name):
            return {**variable, "value": self._hidden(str(value))}
        is_ours = name.startswith(_OURS) and not any(word in name for word in _DATA_VARIABLES)
        if is_ours or self.with_data:
            return {**variable, "value": self.text(str(value))}
        self._learn_text(str(value))
        self.removed += 1
        return {**variable, "value": left_out(value, "variable")}

    def _annotation(self, name: str, value: Any) -> Any:
        domain = name.partition("/")[0]
        if name in _DATA_ANNOTATIONS:
            self._learn_text(str(value))
            return self.text(str(value)) if self.with_data else self._replaced(value, "data")
        if name == _APPLIED or not domain.endswith(_KNOWN_ANNOTATIONS) or len(str(value)) > _LONGEST_ANNOTATION:
            self._learn_text(str(value))
            return self._replaced(value, "annotation")
        if is_secret_name(name.partition("/")[2]):
            return self._hidden(str(value))
        return self.text(str(value))

    def _replaced(self, value: Any, why: str) -> str:
        self.removed += 1
        return left_out(value, why)

    def _hidden(self, value: str) -> str:
        self.values.learn(value)
        self.removed += 1
        return REDACTED

    def _without_secrets(self, value: Any, depth: int) -> Any:
        """Data that the user asked for: everything under the name of a secret is left out."""
        match value:
            case _ if depth > _DEEPEST:
                self.removed += 1
                return left_out(value, "nested too deep")
            case Mapping():
                return {name: self._field(str(name), each, depth) for name, each in value.items()}
            case list():
                return [self._without_secrets(each, depth + 1) for each in value]
            case str():
                return self.text(value)
            case _:
                return value

    def _field(self, name: str, value: Any, depth: int) -> Any:
        if not is_secret_name(name):
            return self._without_secrets(value, depth + 1)
        if value in (None, "", {}, []):
            return value
        self.removed += 1
        return REDACTED

    def _learn(self, value: Any, name: str, depth: int = 0) -> None:
        """Learn the secrets in data that is left out: logs may have them, too."""
        if depth > _DEEPEST:
            return
        match value:
            case Mapping():
                for each, child in value.items():
                    inner = name or (str(each) if is_secret_name(str(each)) else "")
                    self._learn(child, inner, depth + 1)
            case list():
                for each in value:
                    self._learn(each, name, depth + 1)
            case str() if name:
                self.values.learn(value)
            case str():
                self._learn_text(value)

    def _learn_text(self, text: str) -> None:
        """Learn from a text that is JSON."""
        if text[:1] in "{[" and len(text) < 1 << 20:
            try:
                self._learn(json.loads(text), "")
            except (ValueError, RecursionError):
                return


_DEEPEST_SHAPE: Final = 6
_MOST_FIELDS: Final = 40
_MARK: Final = "leftOut"


def shape_of(value: Any, key: bytes) -> Any:
    """The shape of ``value``: lists have the shape of their first item.

    Args:
        key: digests of equal values are equal under the same key. Without the key nobody can find the value by trying,
            so it must be random and forgotten afterwards.
    """
    return {_MARK: "data", "bytes": len(_text(value)), "digest": _digest(value, key), "shape": _shape(value, key, 0)}


def left_out(value: Any, why: str) -> str:
    """A short text in place of a value."""
    return f"[{why}, {len(_text(value))} bytes]"


def _shape(value: Any, key: bytes, depth: int) -> Any:
    match value:
        case None | bool():
            return "null" if value is None else "boolean"
        case int() | float():
            return "number"
        case str():
            return f"string, {len(value.encode())} bytes, {_digest(value, key)}"
        case Mapping():
            if depth >= _DEEPEST_SHAPE:
                return f"object, {len(value)} fields"
            shown = {str(name)[:100]: _shape(each, key, depth + 1) for name, each in list(value.items())[:_MOST_FIELDS]}
            return shown | ({"...": f"{len(value) - _MOST_FIELDS} more"} if len(value) > _MOST_FIELDS else {})
        case list() | tuple():
            items = {"items": len(value)}
            return {**items, "first": _shape(value[0], key, depth + 1)} if value and depth < _DEEPEST_SHAPE else items
        case _:
            return type(value).__name__


def _digest(value: Any, key: bytes) -> str:
    return hmac.digest(key, _text(value), "sha256").hex()[:12]


def _text(value: Any) -> bytes:
    if isinstance(value, str):
        return value.encode()
    return json.dumps(value, sort_keys=True, default=str).encode()
