"""A backup tool as Velero is one: reads objects one by one, and creates them again in another cluster.

The API server gives every object a new UID. The tool drops owner references, or keeps them with the UIDs of the old
cluster, or writes the new UIDs into them; it restores the status of our objects, or does not.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from contextlib import suppress
from enum import StrEnum
from typing import Final

from core.api.objects import Object
from core.api.resource import (
    CONTROLLER_REVISION,
    EFFECT_CLAIM,
    ENGRAM,
    ENGRAM_TEMPLATE,
    STEP_RUN,
    STORY,
    STORY_RUN,
    STORY_TRIGGER,
    Resource,
)
from core.kube.client import KubeClient
from core.kube.errors import NotFoundError

KINDS: Final = (
    CONTROLLER_REVISION,
    ENGRAM_TEMPLATE,
    ENGRAM,
    STORY,
    EFFECT_CLAIM,
    STEP_RUN,
    STORY_RUN,
    STORY_TRIGGER,
)
"""In the order in which the tool reads and creates them."""
_OF_THE_OLD_CLUSTER: Final = ("uid", "resourceVersion", "generation", "creationTimestamp", "managedFields")


class Owners(StrEnum):
    """What the tool does with owner references."""

    DROPPED = "dropped"
    KEPT = "kept"
    MAPPED = "mapped"


Backup = dict[Resource, list[Object]]


async def backup(client: KubeClient, namespace: str, kinds: Iterable[Resource] = KINDS) -> Backup:
    """The objects of these kinds, each kind as it is when its turn comes."""
    return {
        kind: copy.deepcopy((await client.list(kind, namespace if kind.namespaced else None)).items) for kind in kinds
    }


async def restore(
    client: KubeClient,
    saved: Backup,
    *,
    owners: Owners = Owners.DROPPED,
    status_of: Sequence[Resource] = KINDS,
    label: bool = True,
) -> None:
    """Create the objects of a backup again.

    Args:
        status_of: the kinds whose status is restored.
        label: whether the tool labels what it restores, as Velero does.
    """
    made: dict[str, Object] = {}
    for kind, objects in saved.items():
        for obj in objects:
            made[obj["metadata"]["uid"]] = await _created(client, kind, obj, owners, label=label)
    for kind, objects in saved.items():
        for obj in objects:
            stored = made[obj["metadata"]["uid"]]
            with suppress(NotFoundError):  # the garbage collector was quicker: its owner does not exist
                await _completed(client, kind, obj, stored, made if owners is Owners.MAPPED else {}, kind in status_of)


async def _completed(
    client: KubeClient, kind: Resource, obj: Object, stored: Object, made: dict[str, Object], with_status: bool
) -> None:
    """Write what can be written only after the creation: the status, and owners with their new UIDs."""
    name, namespace = stored["metadata"]["name"], stored["metadata"].get("namespace")
    old = [one for one in obj["metadata"].get("ownerReferences") or () if one["uid"] in made]
    if old:
        new = [{**one, "uid": made[one["uid"]]["metadata"]["uid"]} for one in old]
        await client.patch(kind, name, {"metadata": {"ownerReferences": new}}, namespace=namespace)
    if with_status and obj.get("status"):
        patch = {"status": obj["status"]}
        await client.patch(kind, name, patch, namespace=namespace, subresource="status")


async def _created(client: KubeClient, kind: Resource, obj: Object, owners: Owners, *, label: bool) -> Object:
    metadata = {key: value for key, value in obj["metadata"].items() if key not in _OF_THE_OLD_CLUSTER}
    if owners is not Owners.KEPT:
        metadata.pop("ownerReferences", None)
    if label:
        metadata["labels"] = {**(metadata.get("labels") or {}), "velero.io/restore-name": "after-the-flood"}
    rest = {key: value for key, value in obj.items() if key not in ("metadata", "status")}
    kinds = {"apiVersion": kind.api_version, "kind": kind.kind}
    return await client.create(kind, {**kinds, **rest, "metadata": metadata})
