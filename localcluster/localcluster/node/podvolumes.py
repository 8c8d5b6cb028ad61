"""Creates a Pod's volumes, and renews their tokens while it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio

from localcluster.node.atomicdir import write_files
from localcluster.node.client import namespaced
from localcluster.node.mounts import volume_directory
from localcluster.node.services import NodeServices
from localcluster.node.sources import names_in_volumes
from localcluster.node.volumes import TokenWish, token_wishes, volume_files

Object = dict[str, Any]

_REFRESH_SHARE = 0.8  # of a token's life, as in a kubelet: early enough for slow readers


@dataclass(frozen=True, slots=True)
class PreparedVolumes:
    places: Mapping[str, Path]
    """The directory of each volume, by its name."""
    refresh_after_seconds: float | None
    """When to write the files again; None: never."""


async def prepare_volumes(pod: Object, directory: Path, services: NodeServices) -> PreparedVolumes:
    """Create every volume of the Pod, or bring its files up to date. Safe to call again.

    Raises:
        MissingSourceError, PodFieldError, VolumeError: it cannot be created as written, either now or at any time.
        ApiError, UnreachableError: the API server refuses or does not answer.
        OSError: the disk refuses.
    """
    volumes: list[Object] = pod["spec"].get("volumes") or []
    namespace = pod["metadata"]["namespace"]
    for volume in volumes:
        if volume.get("persistentVolumeClaim"):
            claim = volume["persistentVolumeClaim"]["claimName"]
            await services.client.get(namespaced("persistentvolumeclaims", namespace, claim))
    sources = await services.sources.read(namespace, names_in_volumes(volumes))
    wishes = token_wishes(volumes)
    tokens = {wish: await _token(pod, wish, services) for wish in wishes}
    places: dict[str, Path] = {}
    for volume in volumes:
        places[volume["name"]] = volume_directory(volume, directory, services.claims_directory, namespace)
        files = volume_files(pod, volume, sources, tokens, services.host)
        if files is not None:
            version = f"{services.now():%Y_%m_%d_%H_%M_%S}.{trio.current_time():.6f}"
            write_files(places[volume["name"]], files, version)
    return PreparedVolumes(
        places, min((wish.expiration_seconds for wish in wishes), default=0) * _REFRESH_SHARE or None
    )


async def _token(pod: Object, wish: TokenWish, services: NodeServices) -> str:
    metadata = pod["metadata"]
    account = pod["spec"].get("serviceAccountName") or "default"
    request = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {
            "audiences": [wish.audience] if wish.audience else [],
            "expirationSeconds": wish.expiration_seconds,
            "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": metadata["name"], "uid": metadata["uid"]},
        },
    }
    answer = await services.client.create(
        namespaced("serviceaccounts", metadata["namespace"], account, "token"), request
    )
    return str(answer["status"]["token"])
