"""One kind at a time, by its name: only the models of that kind are built, which takes a hundredth of a second.

Building those of all kinds takes ten times as long; ``core.api.kinds`` is for code that needs all of them.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Final

from core.api.kind import Kind, KindModel

_MODULES: Final[Mapping[str, tuple[str, str]]] = {
    "Story": ("story", "STORY_KIND"),
    "Engram": ("engram", "ENGRAM_KIND"),
    "Impulse": ("impulse", "IMPULSE_KIND"),
    "EngramTemplate": ("templates", "ENGRAM_TEMPLATE_KIND"),
    "ImpulseTemplate": ("templates", "IMPULSE_TEMPLATE_KIND"),
    "StoryRun": ("storyrun", "STORY_RUN_KIND"),
    "StepRun": ("steprun", "STEP_RUN_KIND"),
    "StoryTrigger": ("storytrigger", "STORY_TRIGGER_KIND"),
    "EffectClaim": ("effectclaim", "EFFECT_CLAIM_KIND"),
    "Transport": ("transport", "TRANSPORT_KIND"),
    "TransportBinding": ("binding", "TRANSPORT_BINDING_KIND"),
    "ReferenceGrant": ("grant", "REFERENCE_GRANT_KIND"),
}
"""Module of ``core.api`` and its constant, in the order of ``core.api.resource.OUR_RESOURCES``."""

KIND_NAMES: Final = tuple(_MODULES)


def kind_named(name: str) -> Kind | None:
    """The kind of that name, e.g. ``Story``, for any version."""
    if name not in _MODULES:
        return None
    module, constant = _MODULES[name]
    found: Kind = getattr(importlib.import_module(f"core.api.{module}"), constant)
    return found


def model_for(api_version: str, name: str) -> type[KindModel] | None:
    """The model of a kind in one version, e.g. ``bubustack.io/v1alpha1`` and ``Story``."""
    kind = kind_named(name)
    if kind is None:
        return None
    group = kind.resource.group
    return next((each.model for each in kind.versions if f"{group}/{each.name}" == api_version), None)


def api_versions(kind: Kind) -> tuple[str, ...]:
    """Every ``group/version`` of the kind, the stored one first."""
    versions = sorted(kind.versions, key=lambda version: not version.stored)
    return tuple(f"{kind.resource.group}/{version.name}" for version in versions)
