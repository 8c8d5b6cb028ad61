"""Errors of a document, field by field.

ManifestError   user   one document, all its field errors at once
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, order=True)
class FieldError:
    """One finding: place, problem, and remedy.

    ``path`` is a JSON field path such as ``spec.steps[2].with``; empty for the document as a whole. ``excerpt`` shows
    the place inside the field's text, on separate lines.
    """

    path: str
    message: str
    remedy: str = ""
    excerpt: str = ""
    is_unknown: bool = field(default=False, compare=False)
    """Whether the kind does not have this field."""

    def __str__(self) -> str:
        text = f"{self.path}: {self.message}" if self.path else self.message
        text = f"{text} ({self.remedy})" if self.remedy else text
        return f"{text}\n{self.excerpt}" if self.excerpt else text


class ManifestError(ValueError):
    """A document does not fit its kind; ``errors`` has every finding."""

    def __init__(self, errors: Sequence[FieldError]) -> None:
        self.errors = tuple(errors)
        super().__init__("; ".join(str(error) for error in self.errors))
