"""A run like an earlier one: the same Story and inputs. Pure."""

from __future__ import annotations

from typing import Final

from cli.runs import run_manifest, with_annotation
from core.api import keys
from core.api.objects import Object

_KEPT_OF_REFERENCE: Final = ("name", "namespace", "version")
"""Not the UID: a Story that was deleted and created again is the right one, too."""


def like(run: Object, *, name: str = "") -> Object:
    """The manifest of the new run."""
    reference = run["spec"].get("storyRef") or {}
    inputs = run["spec"].get("inputs") or {}
    manifest = run_manifest(reference.get("name", ""), run["metadata"]["namespace"], inputs, name=name)
    manifest["spec"]["storyRef"] = {key: reference[key] for key in _KEPT_OF_REFERENCE if reference.get(key)}
    return manifest


def reusing(manifest: Object, earlier: Object) -> Object:
    """The manifest with the annotation by which the new run may take outputs of ``earlier``."""
    return with_annotation(manifest, keys.ANNOTATION_CACHE_REUSE, earlier["metadata"]["name"])


def why_nothing_is_reused(earlier: Object) -> str:
    """Why a run has no outputs that another one could take, for people; empty if it may have some."""
    name, cleaned_at = earlier["metadata"]["name"], (earlier.get("status") or {}).get("childrenCleanedAt")
    return f"nothing can be reused: the StepRuns of {name} were deleted at {cleaned_at}" if cleaned_at else ""
