"""Install the CustomResourceDefinitions that this version was built with."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any, Final

import trio

from core.api import keys
from core.api.resource import CUSTOM_RESOURCE_DEFINITION
from core.kube.client import KubeClient

ESTABLISH_DEADLINE_SECONDS: Final = 30.0
_SOURCE_TREE: Final = Path(__file__).parent.parent / "manifests" / "crds"


def packaged_crds() -> Iterator[dict[str, Any]]:
    """From the installed package, or from the source tree in a development install."""
    from ruamel.yaml import YAML

    packaged = resources.files("manager") / "manifests" / "crds"
    folder = packaged if packaged.is_dir() else _SOURCE_TREE
    yaml = YAML(typ="safe")
    for file in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if file.name.endswith(".yaml"):
            yield yaml.load(file.read_text(encoding="utf-8"))


async def install_crds(client: KubeClient) -> None:
    """Server-side apply, all at once; returns when every kind is served.

    Raises:
        KubeError: the server refused one, or did not establish it in time.
    """
    async with trio.open_nursery() as nursery:
        for crd in packaged_crds():
            nursery.start_soon(_install, client, crd)


async def _install(client: KubeClient, crd: dict[str, Any]) -> None:
    name = crd["metadata"]["name"]
    stored = await client.apply(CUSTOM_RESOURCE_DEFINITION, crd, field_manager=keys.FIELD_MANAGER, force=True)
    with trio.fail_after(ESTABLISH_DEADLINE_SECONDS):
        while not _established(stored):
            await trio.sleep(0.05)
            stored = await client.get(CUSTOM_RESOURCE_DEFINITION, name)


def _established(crd: dict[str, Any]) -> bool:
    conditions = (crd.get("status") or {}).get("conditions") or ()
    return any(condition["type"] == "Established" and condition["status"] == "True" for condition in conditions)
