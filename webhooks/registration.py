"""All webhooks, in one table: the server routes them, and the webhook configurations name them.

Names and paths are those of the admission contract, 1.1; kinds that have no webhook there follow its pattern. Status
subresources have paths of their own, because other rules apply to them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from core.api.resource import (
    EFFECT_CLAIM,
    ENGRAM,
    ENGRAM_TEMPLATE,
    IMPULSE,
    IMPULSE_TEMPLATE,
    REFERENCE_GRANT,
    STEP_RUN,
    STORY,
    STORY_RUN,
    STORY_TRIGGER,
    TRANSPORT,
    TRANSPORT_BINDING,
    Resource,
)

CONVERT_PATH: Final = "/convert"


@dataclass(frozen=True, slots=True)
class Hook:
    """One entry of a webhook configuration. ``subresource`` is ``status`` or empty."""

    name: str
    path: str
    resource: Resource
    mutating: bool = False
    subresource: str = ""
    only_creations: bool = False

    @property
    def operations(self) -> tuple[str, ...]:
        if self.only_creations:
            return ("CREATE",)
        return ("UPDATE",) if self.subresource else ("CREATE", "UPDATE")

    @property
    def target(self) -> str:
        """The name in a webhook rule: ``storyruns/status``."""
        return f"{self.resource.plural}/{self.subresource}" if self.subresource else self.resource.plural


def _path(verb: str, resource: Resource) -> str:
    return f"/{verb}-{resource.group.replace('.', '-')}-{resource.version}-{resource.kind.lower()}"


def _validating(resource: Resource, *, versioned: bool = True) -> Hook:
    version = f"-{resource.version}" if versioned else ""
    return Hook(f"v{resource.kind.lower()}{version}.kb.io", _path("validate", resource), resource)


def _status(resource: Resource) -> Hook:
    return Hook(
        f"v{resource.kind.lower()}status-{resource.version}.kb.io",
        f"{_path('validate', resource)}-status",
        resource,
        subresource="status",
    )


MUTATING: Final[tuple[Hook, ...]] = (
    Hook("mstory-v1alpha1.kb.io", _path("mutate", STORY), STORY, mutating=True),
    Hook("mstoryrun-v1alpha1.kb.io", _path("mutate", STORY_RUN), STORY_RUN, mutating=True, only_creations=True),
    Hook(
        "mstorytrigger-v1alpha1.kb.io",
        _path("mutate", STORY_TRIGGER),
        STORY_TRIGGER,
        mutating=True,
        only_creations=True,
    ),
    Hook(
        "mstoryrunstatus-v1alpha1.kb.io",
        f"{_path('mutate', STORY_RUN)}-status",
        STORY_RUN,
        mutating=True,
        subresource="status",
    ),
)
"""Only Stories have defaults that the schema cannot set, only new runs get the metadata that the operator would
otherwise add, only they and new StoryTriggers get the time of their creation (``webhooks.defaults.created``), and only
decisions on gates get an author."""

VALIDATING: Final[tuple[Hook, ...]] = (
    *(_validating(resource) for resource in (STORY, ENGRAM, IMPULSE, ENGRAM_TEMPLATE, IMPULSE_TEMPLATE)),
    *(_validating(resource) for resource in (STORY_RUN, STEP_RUN, STORY_TRIGGER, EFFECT_CLAIM)),
    *(_validating(resource, versioned=False) for resource in (TRANSPORT, TRANSPORT_BINDING)),
    _validating(REFERENCE_GRANT),
    *(_status(resource) for resource in (STORY_RUN, STEP_RUN, STORY_TRIGGER, EFFECT_CLAIM)),
)

HOOKS: Final[tuple[Hook, ...]] = (*MUTATING, *VALIDATING)
