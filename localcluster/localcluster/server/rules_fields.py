"""Finds fields that a CEL rule names and its schema does not have.

Pure. The CEL engine does not know schemas and would report such a rule only when it runs. Only paths that begin with a
variable are checked, not those that begin with the variable of a macro (``self.parts.all(p, p.nothing)``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from localcluster.server.rules_cel import without_literals
from localcluster.server.rules_values import escaped

_PATH = re.compile(r"(?<![\w.])([A-Za-z]+)((?:\.\??[A-Za-z_]\w*)+)(\s*\()?")
_IMPLIED = frozenset({"apiVersion", "kind", "metadata"})
"""Every whole object has them, even if they are not declared."""


def undefined(source: str, schema: Mapping[str, Any], variables: tuple[str, ...] = ("self", "oldSelf")) -> list[str]:
    """Names of fields that ``source`` reads from an object that does not declare them; each once."""
    found: list[str] = []
    for variable, path, call in _PATH.findall(without_literals(source)):
        if variable not in variables:
            continue
        steps = [step.lstrip("?") for step in path[1:].split(".")]
        name = _first_undefined(steps[:-1] if call else steps, schema)
        if name and name not in found:
            found.append(name)
    return found


def _first_undefined(steps: list[str], schema: Mapping[str, Any]) -> str:
    inner: Any = schema
    for step in steps:
        if not isinstance(inner, Mapping) or inner.get("type") != "object":
            return ""
        declared = inner.get("properties") or {}
        properties = {**declared, **{escaped(name): sub for name, sub in declared.items()}}
        if step in properties:
            inner = properties[step]
        elif isinstance(inner.get("additionalProperties"), Mapping):
            inner = inner["additionalProperties"]
        elif step in _IMPLIED or inner.get("additionalProperties"):
            return ""
        else:
            return step
    return ""
