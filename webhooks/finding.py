"""Findings of validators, and the rules that they come from.

A rule is declared once, as a constant of the module that enforces it; ``webhooks.validate.catalogue`` lists them all.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from core.api.errors import FieldError


class Severity(StrEnum):
    """An error refuses the object, a warning is shown and lets it pass."""

    ERROR = "error"
    WARNING = "warning"


class CauseType(StrEnum):
    """The reason of one cause of a 422 answer, as the built-in kinds give it."""

    REQUIRED = "FieldValueRequired"
    INVALID = "FieldValueInvalid"
    DUPLICATE = "FieldValueDuplicate"
    NOT_FOUND = "FieldValueNotFound"
    FORBIDDEN = "FieldValueForbidden"


@dataclass(frozen=True, slots=True)
class Rule:
    """``id`` reads ``kind/what-is-wrong``; ``section`` is the one of the admission contract."""

    id: str
    section: str
    cause: CauseType = CauseType.INVALID
    severity: Severity = Severity.ERROR

    def at(self, path: str, message: str, remedy: str = "", excerpt: str = "") -> Finding:
        """This rule, broken at ``path``."""
        return Finding(self, path, message, remedy, excerpt)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing wrong with an object, or probably wrong.

    ``path`` is a JSON field path such as ``spec.steps[2].with``, empty for the object as a whole; ``excerpt`` shows the
    place inside the field's text, on lines of its own.
    """

    rule: Rule
    path: str
    message: str
    remedy: str = ""
    excerpt: str = ""

    @property
    def severity(self) -> Severity:
        return self.rule.severity

    def __str__(self) -> str:
        return str(FieldError(self.path, self.message, self.remedy, self.excerpt))


def errors_among(findings: Iterable[Finding]) -> list[Finding]:
    """Those that refuse the object."""
    return [finding for finding in findings if finding.severity is Severity.ERROR]
