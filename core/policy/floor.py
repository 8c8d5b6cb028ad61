"""The minimum security settings of tenants' workloads, and the taints that they may tolerate. Pure.

The operator's settings are a minimum, unless an EngramTemplate lowers them; the requirements of a template are a
minimum, too. ``security.lowered-by`` decides whose lower values are used at all, ``security.tolerations`` which taints
a workload may tolerate. A value that is not allowed stops nothing: the stricter value is used, and a note says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from core.api.objects import ReadOnlyObject
from core.policy.config_values import ANY_TOLERATION, KEYED_TOLERATIONS
from core.policy.settings import LoweredBy, OperatorSettings

LOWERED_BY_KEY: Final = "security.lowered-by"
TOLERATIONS_KEY: Final = "security.tolerations"

STRICT: Final = {"run_as_non_root": True, "read_only_root_filesystem": True, "allow_privilege_escalation": False}
"""Setting → its strict value."""
FIELDS: Final = {
    "run_as_non_root": "runAsNonRoot",
    "read_only_root_filesystem": "readOnlyRootFilesystem",
    "allow_privilege_escalation": "allowPrivilegeEscalation",
}
REQUIREMENTS: Final = {
    "run_as_non_root": ("requiresNonRoot", True),
    "read_only_root_filesystem": ("requiresReadOnlyRoot", True),
    "allow_privilege_escalation": ("requiresNoPrivilegeEscalation", False),
}
"""Setting → its name in a template, and the value of the setting that ``true`` there means."""


class Lowered(NamedTuple):
    """A value that is not used; ``field`` is relative to the block that contains it."""

    field: str
    value: Any
    floor: Any
    remedy: str


def may_lower(settings: OperatorSettings, *, is_template: bool) -> bool:
    allowed = settings.security.lowered_by
    return allowed is LoweredBy.EVERYBODY or (is_template and allowed is LoweredBy.TEMPLATES)


def floor_of(settings: OperatorSettings, template: ReadOnlyObject | None) -> dict[str, bool]:
    """The minimum values for tenants' workloads; without a template those of the operator."""
    security = settings.security
    floor = {name: bool(getattr(security, name)) for name in STRICT}
    declared = (((template or {}).get("spec") or {}).get("execution") or {}).get("security") or {}
    for name, (requirement, value) in REQUIREMENTS.items():
        required = declared.get(requirement)
        if required is None:
            continue
        wanted = value if required else not value
        if wanted == STRICT[name] or may_lower(settings, is_template=True):
            floor[name] = wanted
    return floor


def lowered(security: ReadOnlyObject, floor: Mapping[str, bool], settings: OperatorSettings) -> Iterator[Lowered]:
    """The values of a tenant's ``security`` block that are not used."""
    if may_lower(settings, is_template=False):
        return
    for name, field in FIELDS.items():
        value = security.get(field)
        if value is not None and value != STRICT[name] and floor[name] == STRICT[name]:
            remedy = f"remove it; {LOWERED_BY_KEY} in the operator's ConfigMap decides who may lower it"
            yield Lowered(field, value, floor[name], remedy)


def why_not_tolerated(toleration: ReadOnlyObject, settings: OperatorSettings) -> str:
    """Why a workload may not have this toleration; empty when it may."""
    allowed = settings.security.tolerations
    key = toleration.get("key") or ""
    if ANY_TOLERATION in allowed:
        return ""
    if not key:
        return "tolerates every taint"
    if KEYED_TOLERATIONS in allowed or key in allowed:
        return ""
    return f"tolerates {key!r}, which {TOLERATIONS_KEY} does not list"


def toleration_remedy() -> str:
    return f"name the key of a taint; {TOLERATIONS_KEY} in the operator's ConfigMap decides which are allowed"
