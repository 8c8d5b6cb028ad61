"""Install the CustomResourceDefinitions of this version.

The packaged ones have all versions of a kind and the webhook that converts between them; a cluster without that webhook
gets the stored version only.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import trio

from core.api import keys
from core.api.resource import CUSTOM_RESOURCE_DEFINITION
from core.kube.client import KubeClient
from core.kube.errors import KubeError
from deployment.packaged import Packaged, packaged

ESTABLISH_DEADLINE_SECONDS: Final = 30.0
_POLL_SECONDS: Final = 0.02
_AT_ONCE: Final = 2
"""Requests at the same time. Each needs a connection, and to open one costs both sides more than the request."""


class NotEstablishedError(KubeError):
    """The server accepted a definition but does not serve its kind; the message names it."""


def packaged_crds(*, converted: bool = False) -> list[dict[str, Any]]:
    """One document for each kind; if ``converted``, with all versions and the webhook that converts between them."""
    definitions = packaged(Packaged.DEFINITIONS)
    return definitions if converted else [_stored_version_only(each) for each in definitions]


def _stored_version_only(crd: dict[str, Any]) -> dict[str, Any]:
    stored = [version for version in crd["spec"]["versions"] if version["storage"]]
    return {**crd, "spec": {**crd["spec"], "conversion": {"strategy": "None"}, "versions": stored}}


async def install_crds(client: KubeClient, *, converted: bool = False) -> None:
    """``install_definitions`` with the packaged ones; ``converted``: as in ``packaged_crds``."""
    await install_definitions(client, packaged_crds(converted=converted))


async def install_definitions(client: KubeClient, definitions: Iterable[dict[str, Any]]) -> None:
    """Server-side apply of all definitions; returns when every kind is served.

    Raises:
        KubeError: the server refused one, or did not establish it within ``ESTABLISH_DEADLINE_SECONDS``.
    """
    limiter = trio.CapacityLimiter(_AT_ONCE)
    async with trio.open_nursery() as nursery:
        for crd in definitions:
            nursery.start_soon(_install, client, crd, limiter)


async def _install(client: KubeClient, crd: dict[str, Any], limiter: trio.CapacityLimiter) -> None:
    name = crd["metadata"]["name"]
    async with limiter:
        stored = await client.apply(CUSTOM_RESOURCE_DEFINITION, crd, field_manager=keys.FIELD_MANAGER, force=True)
    with trio.move_on_after(ESTABLISH_DEADLINE_SECONDS):
        while not _established(stored):
            await trio.sleep(_POLL_SECONDS)
            stored = await client.get(CUSTOM_RESOURCE_DEFINITION, name)
        return
    raise NotEstablishedError(f"{name} was not established within {ESTABLISH_DEADLINE_SECONDS:.0f} s")


def _established(crd: dict[str, Any]) -> bool:
    conditions = (crd.get("status") or {}).get("conditions") or ()
    return any(condition["type"] == "Established" and condition["status"] == "True" for condition in conditions)
