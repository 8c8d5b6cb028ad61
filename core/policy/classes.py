"""Who may name a PriorityClass or a RuntimeClass. Pure.

A Pod with a high priority evicts the Pods of others, and a runtime decides how well containers are separated. So the
operator's settings list the classes that Engrams, Stories and steps may name; administrators write the templates, which
may name any. A class that is not allowed is ignored, with a note.
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import Any, Final, NamedTuple

from core.policy.settings import OperatorSettings, SecuritySettings

_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LONGEST_NAME: Final = 253


class ClassField(NamedTuple):
    """A setting that names a class: its field, and the key of the operator's ConfigMap that lists allowed names."""

    field: str
    key: str


CLASSES: Final = {
    "priority_class_name": ClassField("priorityClassName", "security.priority-classes"),
    "runtime_class_name": ClassField("runtimeClassName", "security.runtime-classes"),
}
"""Setting → its field."""


def why_not_named(setting: str, name: Any, settings: OperatorSettings) -> str:
    """Why a definition that is not a template may not name this class; empty when it may."""
    if any(fnmatchcase(str(name), pattern) for pattern in _allowed(setting, settings.security)):
        return ""
    return f"names {name!r}, which {CLASSES[setting].key} does not list"


def class_remedy(setting: str) -> str:
    return f"let the template name it, or add it to {CLASSES[setting].key} in the operator's ConfigMap"


def is_class_name(name: Any) -> bool:
    return isinstance(name, str) and len(name) <= _LONGEST_NAME and _NAME.fullmatch(name) is not None


def _allowed(setting: str, security: SecuritySettings) -> tuple[str, ...]:
    return security.priority_classes if setting == "priority_class_name" else security.runtime_classes
