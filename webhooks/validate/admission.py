"""Whether an object may be stored: the entry point to the validators of all kinds.

Pure; depends on neither time nor I/O. Source: admission contract 1.5.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from core.api import manifest, named_kinds
from core.api.fieldpath import is_within
from core.api.objects import ReadOnlyObject
from core.api.sound_part import SoundPart, sound_part
from webhooks.cluster_view import ClusterView
from webhooks.finding import CauseType, Finding, Rule, Severity
from webhooks.validate import (
    change,
    dependency,
    effectclaim,
    engram,
    expression,
    grant,
    impulse,
    naming,
    steprun,
    story,
    storyrun,
    storytrigger,
    template,
    transport,
    transportbinding,
)

Validator = Callable[[ReadOnlyObject, ReadOnlyObject | None, ClusterView], list[Finding]]

SHAPE: Final = Rule("any/shape", "1.3")
TOO_DEEP: Final = Rule("any/too-deep", "1.3")

TOO_MANY: Final = Rule("any/too-many", "1.4", severity=Severity.WARNING)

MAX_FINDINGS: Final = 500
"""Findings in one answer; the size of an answer to the API server is limited."""
MAX_DEPTH: Final = 128
"""Levels of objects and lists inside ``spec``; expressions are not resolved below this level either."""

_AUTHORED: Final = frozenset(
    ("Story", "Engram", "Impulse", "EngramTemplate", "ImpulseTemplate", "Transport", "ReferenceGrant")
)
"""The kinds that people write; other objects are hardly readable in parts."""
_REINTERPRETING: Final = frozenset(("spec.pattern", "spec.streamingStrategy", "spec.mode", "spec.supportedModes"))
"""Fields on which the meaning of all others depends."""
_WITHOUT_NAMES: Final = re.compile(r"spec\.(?:steps|compensations|finally)\[\d+\]\.(?!(?:name|type|with)\b)")
"""Fields of steps in which nothing is named that other fields refer to."""
_OF_RELATIONS: Final = frozenset((expression.STEP_UNREACHED, dependency.REQUIRE_UNREACHED))

_VALIDATORS: Final[Mapping[str, Validator]] = {
    "Story": story.validate,
    "Engram": engram.validate,
    "Impulse": impulse.validate,
    "EngramTemplate": template.validate,
    "ImpulseTemplate": template.validate,
    "StoryRun": storyrun.validate,
    "StepRun": steprun.validate,
    "EffectClaim": effectclaim.validate,
    "Transport": transport.validate,
    "TransportBinding": transportbinding.validate,
    "StoryTrigger": storytrigger.validate,
    "ReferenceGrant": grant.validate,
}


def validate(new: ReadOnlyObject, old: ReadOnlyObject | None, world: ClusterView) -> list[Finding]:
    """All errors and warnings about ``new``; empty if it may be stored without a warning.

    A new object that does not match its schema also gets the findings about the rest of it (``validate_part``). The
    status is not checked here, but in ``webhooks.validate.status``.

    Args:
        new: the object that will be stored, in its wire form.
        old: the stored object; ``None`` when it is created.
        world: the other objects.
    """
    validator = _VALIDATORS.get(str(new.get("kind")))
    unchanged = validator is not None and old is not None and not change.is_spec_changed(new, old)
    if not unchanged:
        shape = _shape(new)
        if shape or validator is None:
            part = _sound_part(new) if old is None else None
            return _most_important([*shape, *(validate_part(part, world) if part is not None else ())])
        new = {**new, "spec": _sorted(new["spec"])}
    assert validator is not None  # ``_shape`` has refused objects of other kinds
    return _most_important(list(dict.fromkeys((*naming.check(new, old), *validator(new, old, world)))))


def validate_part(part: SoundPart, world: ClusterView) -> list[Finding]:
    """The findings about an object that remain true, whatever the values that were removed from it should have been."""
    if _REINTERPRETING.intersection(part.removed) or part.document.get("kind") not in _AUTHORED:
        return []
    found = validate(part.document, None, world)
    if any(finding.rule is SHAPE or finding.rule is TOO_DEEP for finding in found):
        return []
    return [finding for finding in found if not _may_follow(finding, part.removed)]


def _may_follow(finding: Finding, removed: Collection[str]) -> bool:
    """Whether the finding may be wrong with the removed values: it is about one of them, or about what belongs
    together.
    """
    if finding.rule in _OF_RELATIONS:
        return True
    if finding.rule.cause is CauseType.NOT_FOUND and not all(map(_WITHOUT_NAMES.match, removed)):
        return True
    path = finding.path
    return any(is_within(path, gone) or is_within(gone, path) for gone in removed)


def _sound_part(new: ReadOnlyObject) -> SoundPart | None:
    model = named_kinds.model_for(str(new.get("apiVersion")), str(new.get("kind")))
    kind = named_kinds.kind_named(str(new.get("kind")))
    is_stored_version = kind is not None and kind.resource.api_version == new.get("apiVersion")
    if model is None or not is_stored_version or _too_deep(new.get("spec")) is not None:
        return None
    return sound_part(model, {key: value for key, value in new.items() if key != "status"})


def _most_important(findings: list[Finding]) -> list[Finding]:
    """The findings for one answer; if there are too many, errors come first."""
    if len(findings) <= MAX_FINDINGS:
        return findings
    kept = sorted(findings, key=lambda finding: finding.severity is not Severity.ERROR)[:MAX_FINDINGS]
    message = f"{len(findings) - MAX_FINDINGS} more findings are not shown"
    return [*kept, TOO_MANY.at("", message, "correct those above first")]


def _shape(new: ReadOnlyObject) -> list[Finding]:
    path = _too_deep(new.get("spec"))
    if path is not None:
        return [TOO_DEEP.at(path, f"is nested deeper than {MAX_DEPTH} levels", "flatten it")]
    without_status = {key: value for key, value in new.items() if key != "status"}
    found = (
        SHAPE.at(error.path, error.message, error.remedy or "correct the value")
        for error in manifest.errors_of(without_status)
    )
    return sorted(found, key=lambda finding: finding.path)


def _sorted(value: Any) -> Any:
    """The value with the keys of all objects sorted, as API servers send them: findings do not depend on key order."""
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(item) for item in value] if isinstance(value, list) else value


def _too_deep(spec: Any) -> str | None:
    """The first field of ``spec`` that is too deep; breadth first, so that deep nesting cannot exhaust the stack."""
    for field, value in spec.items() if isinstance(spec, dict) else ():
        level = [value]
        for _ in range(MAX_DEPTH):
            level = [child for item in level for child in _children(item)]
        if level:
            return f"spec.{field}"
    return None


def _children(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []
