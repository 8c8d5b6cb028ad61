"""Secrets of a template may not set variables that control the program. See ``core.workloads.variables``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from core.api.objects import ReadOnlyObject
from core.workloads.variables import can_only_be_reserved, reserved_among
from webhooks.finding import CauseType, Finding, Rule
from webhooks.validate.change import fields_of

RESERVED: Final = Rule("template/secret-variable", "7", CauseType.FORBIDDEN)


def check(spec: ReadOnlyObject) -> Iterator[Finding]:
    """Checks prefixes and listed keys in ``spec.secretSchema``; other keys of a Secret are checked when it is used."""
    for name, definition in fields_of(spec.get("secretSchema")).items():
        fields = fields_of(definition)
        if (fields.get("mountType") or "env") == "file":
            continue
        prefix = fields.get("envPrefix") or f"{name}_"
        path = f"spec.secretSchema.{name}"
        keys = [key for key in fields.get("expectedKeys") or () if isinstance(key, str)]
        if names := reserved_among(prefix, keys):
            message = f"would set {', '.join(names)}: such variables control the program and are reserved"
            yield RESERVED.at(f"{path}.expectedKeys", message, "choose another envPrefix, or set mountType: file")
        elif not keys and can_only_be_reserved(prefix):
            message = f"the prefix {prefix} is reserved: such variables control the program"
            yield RESERVED.at(f"{path}.envPrefix", message, "choose another envPrefix, or set mountType: file")
