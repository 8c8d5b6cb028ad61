"""Findings of validators, and the rules that they belong to.

A rule is declared once, as a constant of the module that enforces it; ``webhooks.validate.catalogue`` lists them all.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from core.api.errors import FieldError


class Severity(StrEnum):
    """An error refuses the object; a warning is shown and does not refuse it."""

    ERROR = "error"
    WARNING = "warning"


class CauseType(StrEnum):
    """The reason of one cause in a 422 answer, with the values of the built-in kinds."""

    REQUIRED = "FieldValueRequired"
    INVALID = "FieldValueInvalid"
    DUPLICATE = "FieldValueDuplicate"
    NOT_FOUND = "FieldValueNotFound"
    FORBIDDEN = "FieldValueForbidden"


@dataclass(frozen=True, slots=True)
class Rule:
    """``id`` has the form ``kind/what-is-wrong``; ``section`` is that of the admission contract."""

    id: str
    section: str
    cause: CauseType = CauseType.INVALID
    severity: Severity = Severity.ERROR

    def at(self, path: str, message: str, remedy: str = "", excerpt: str = "") -> Finding:
        """A finding: the value at ``path`` breaks this rule."""
        return Finding(self, path, message, remedy, excerpt)


@dataclass(frozen=True, slots=True)
class Finding:
    """One error in an object, or one probable error.

    ``path`` is a JSON field path such as ``spec.steps[2].with``, empty for the object as a whole; ``excerpt`` shows the
    place inside the field's text, on separate lines.
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
    """The findings that refuse the object."""
    return [finding for finding in findings if finding.severity is Severity.ERROR]
