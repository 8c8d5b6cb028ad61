"""A person's request to run a run again: all of it, or from one step on. Pure.

A request is an annotation whose value differs from the one that is recorded as answered. The process that answers it
records ``answered(run)`` in the same write that starts the rerun, or that refuses it. Source: StoryRun contract 1.3 and
18.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from core.api import keys
from core.api.objects import Object


@dataclass(frozen=True, slots=True)
class FullRedrive:
    """Run everything again."""

    token: str


@dataclass(frozen=True, slots=True)
class RedriveFrom:
    """Run ``step`` and what follows from it again. The Story decides whether there is such a step."""

    step: str
    token: str


@dataclass(frozen=True, slots=True)
class Malformed:
    """A request that cannot be understood. It is reported and recorded as answered, so that others can follow."""

    annotation: str
    value: str
    why: str


RedriveRequest: TypeAlias = FullRedrive | RedriveFrom | Malformed


def pending_redrive(run: Object) -> RedriveRequest | None:
    """The request that has not been answered yet; of two, the one for a full redrive, which answers both."""
    token = _unanswered(run, keys.ANNOTATION_REDRIVE_TOKEN, keys.ANNOTATION_REDRIVE_OBSERVED)
    if token:
        return FullRedrive(token)
    value = _unanswered(run, keys.ANNOTATION_REDRIVE_FROM_STEP, keys.ANNOTATION_REDRIVE_FROM_STEP_OBSERVED)
    if not value:
        return None
    step, colon, token = (part.strip() for part in value.partition(":"))
    if not colon or not step or not token:
        missing = "a colon" if not colon else "the step before the colon" if not step else "the token after the colon"
        why = f"{missing} is missing; write <step>:<token>, with a token that was not used before"
        return Malformed(keys.ANNOTATION_REDRIVE_FROM_STEP, value, why)
    return RedriveFrom(step, token)


def answered(run: Object) -> dict[str, str]:
    """The annotations that record every request of ``run`` as answered; those that record it already are left out."""
    pairs = (
        (keys.ANNOTATION_REDRIVE_TOKEN, keys.ANNOTATION_REDRIVE_OBSERVED),
        (keys.ANNOTATION_REDRIVE_FROM_STEP, keys.ANNOTATION_REDRIVE_FROM_STEP_OBSERVED),
    )
    return {observed: value for asked, observed in pairs if (value := _unanswered(run, asked, observed))}


def _unanswered(run: Object, asked: str, observed: str) -> str:
    """The value of the annotation ``asked``, trimmed; empty if it is blank or has been answered."""
    annotations = (run.get("metadata") or {}).get("annotations")
    if not isinstance(annotations, Mapping):
        return ""
    value = str(annotations.get(asked) or "").strip()
    return "" if value == str(annotations.get(observed) or "").strip() else value
