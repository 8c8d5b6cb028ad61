"""What Story, Engram and template controllers share: write a definition's status when, and only when, it differs.

Counts change with every run, so they are allowed to lag by ``COUNT_DELAY``: many events become one write.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from core.kube.client import KubeClient
from core.kube.informer import Informer

from core.api.conditions import with_condition
from core.api.resource import Resource
from core.kube.wire import merge_patch_between
from reconcilers.adapters.run_store import patch_status

Object = dict[str, Any]

COUNT_DELAY: Final = timedelta(seconds=2)


async def write_status(
    client: KubeClient, informer: Informer, resource: Resource, obj: Object, wanted: Mapping[str, Any]
) -> bool:
    """Bring ``obj``'s status to ``wanted`` (the fields named there; others are somebody else's). True if written."""
    have = {key: value for key, value in (obj.get("status") or {}).items() if key in wanted}
    patch = merge_patch_between(have, {key: value for key, value in wanted.items() if value is not None})
    if not patch:
        return False
    await patch_status(client, informer, resource, obj, patch)
    return True


def validated(
    obj: Object, errors: list[str], *, condition: str, reason: str, now: datetime, unknown: bool = False
) -> dict[str, Any]:
    """The fields that every definition reports about its validity; one condition tells the same to ``kubectl wait``."""
    generation = obj["metadata"].get("generation", 0)
    status = None if unknown else not errors
    return {
        "observedGeneration": generation,
        "validationStatus": "invalid" if errors else "valid",
        "validationErrors": errors or None,
        "conditions": with_condition(
            (obj.get("status") or {}).get("conditions") or [],
            condition,
            status,
            reason=reason,
            message="; ".join(errors) or "all references resolve",
            generation=generation,
            now=now,
        ),
    }
