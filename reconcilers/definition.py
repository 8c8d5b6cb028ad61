"""Shared by the Story, Engram and template controllers: write a definition's status if, and only if, it differs.

Counts change with every run, so they may lag by ``COUNT_DELAY``: many events become one write.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from core.api.conditions import with_condition
from core.api.objects import Object
from core.api.resource import Resource
from core.kube.client import KubeClient
from core.kube.informer import Change, Informer
from kubewire import merge_patch_between
from reconcilers.adapters.writes import patch_status
from reconcilers.runtime.changes import versions
from reconcilers.runtime.controller import Key
from reconcilers.runtime.watch import Caches

COUNT_DELAY: Final = timedelta(seconds=2)
STATUS_WHY: Final = "The operator writes validity and usage counts into the status."
"""The reason for the permission of controllers of definitions to write their status."""


async def write_status(
    client: KubeClient, informer: Informer, resource: Resource, obj: Object, wanted: Mapping[str, Any]
) -> bool:
    """Change ``obj``'s status to ``wanted``; True if that needed a write.

    Only the fields in ``wanted`` are changed; None removes one. The other fields belong to other writers.

    Raises:
        PortError: see ``RunStore.patch_run_status``.
    """
    have = {key: value for key, value in (obj.get("status") or {}).items() if key in wanted}
    patch = merge_patch_between(have, {key: value for key, value in wanted.items() if value is not None})
    if not patch:
        return False
    await patch_status(client, informer, resource, obj, patch)
    return True


def validated(
    obj: Object, errors: Sequence[str], *, condition: str, reason: str, if_valid: str, now: datetime
) -> dict[str, Any]:
    """The fields in which every definition reports its validity; a condition reports the same for ``kubectl wait``."""
    generation = obj["metadata"].get("generation", 0)
    return {
        "observedGeneration": generation,
        "validationStatus": "invalid" if errors else "valid",
        "validationErrors": list(errors) or None,
        "conditions": with_condition(
            (obj.get("status") or {}).get("conditions") or [],
            condition,
            not errors,
            reason=reason,
            message="; ".join(errors) or if_valid,
            generation=generation,
            now=now,
        ),
    }


def stored_errors(obj: Object) -> list[str]:
    """The errors of ``obj`` that its status reports."""
    errors: list[str] = (obj.get("status") or {}).get("validationErrors") or []
    return errors


def referred_key(reference: Object, default_namespace: str) -> Key:
    """The key of the Story or Engram in a reference."""
    return Key(reference.get("namespace") or default_namespace, reference.get("name", ""))


def stories_of_run(change: Change, caches: Caches) -> Iterator[Key]:
    """The Story of a StoryRun."""
    del caches
    for run in versions(change):
        yield referred_key(run["spec"].get("storyRef") or {}, run["metadata"]["namespace"])
