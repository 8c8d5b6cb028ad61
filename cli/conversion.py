"""Stop serving the versions of our definitions that a webhook converts to, before that webhook goes.

While such a version is served and nobody converts, objects cannot be read in it, and namespaces with such objects
cannot be deleted. Nothing is lost: objects are stored in another version.
"""

from __future__ import annotations

from typing import Any, Final

from cli.session import Session
from core.api.kinds import KINDS
from core.api.resource import CUSTOM_RESOURCE_DEFINITION
from core.kube.errors import NotFoundError
from kubewire.wire import Object, PatchType

MANAGER: Final = "bobrapet-conversion-off"


async def switch_conversion_off(session: Session, *, dry_run: bool) -> None:
    """Serve every kind only as it is stored; definitions that do not exist are skipped.

    The change belongs to nobody afterwards, so that the next installation changes it back without a conflict.

    Raises:
        KubeError: the server refused a change.
    """
    for kind in KINDS:
        if len(kind.versions) < 2:
            continue
        name = f"{kind.resource.plural}.{kind.resource.group}"
        try:
            definition = await session.client.get(CUSTOM_RESOURCE_DEFINITION, name)
        except NotFoundError:
            continue
        converted = converted_versions(definition)
        if not converted:
            session.console.note(f"{name}: is only served as it is stored")
            continue
        versions = ", ".join(str(definition["spec"]["versions"][index]["name"]) for index in converted)
        if dry_run:
            session.console.note(f"{name}: would stop serving {versions}")
            continue
        await _patch(session, definition, [_not_served(index) for index in converted])
        await _disown(session, name)
        session.console.note(f"{name}: {versions} is not served any more")


def converted_versions(definition: Object) -> list[int]:
    """Indexes of the versions that are served but not stored. Pure."""
    versions = definition["spec"]["versions"]
    return [index for index, version in enumerate(versions) if version["served"] and not version["storage"]]


def _not_served(index: int) -> dict[str, Any]:
    return {"op": "replace", "path": f"/spec/versions/{index}/served", "value": False}


async def _disown(session: Session, name: str) -> None:
    definition = await session.client.get(CUSTOM_RESOURCE_DEFINITION, name)
    entries = definition["metadata"].get("managedFields") or []
    ours = [index for index, entry in enumerate(entries) if entry.get("manager") == MANAGER]
    removed = [{"op": "remove", "path": f"/metadata/managedFields/{index}"} for index in reversed(ours)]
    if removed:
        await _patch(session, definition, removed)


async def _patch(session: Session, definition: Object, changes: list[dict[str, Any]]) -> None:
    version = definition["metadata"]["resourceVersion"]
    unchanged = {"op": "test", "path": "/metadata/resourceVersion", "value": version}
    await session.client.patch(
        CUSTOM_RESOURCE_DEFINITION,
        definition["metadata"]["name"],
        [unchanged, *changes],
        patch_type=PatchType.JSON,
        field_manager=MANAGER,
    )
