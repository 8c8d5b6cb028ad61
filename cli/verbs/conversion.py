"""``conversion off``: end the conversion between versions of Stories."""

from __future__ import annotations

from typing import Any, Final

import typer

from cli.completing import is_called
from cli.options import DRY_RUN, CommonOptions, DryRun, with_common_options
from core.api.resource import CUSTOM_RESOURCE_DEFINITION
from core.kube.errors import NotFoundError
from kubewire import Object, PatchType

if is_called():
    from cli.interruption import run_async
    from cli.session import Session, open_session
    from core.api.kinds import KINDS


def register(app: typer.Typer) -> None:
    conversion = typer.Typer(help="The conversion between versions of Stories.", no_args_is_help=True)
    conversion.callback()(_group)
    conversion.command("off")(with_common_options(off, also=DRY_RUN))
    app.add_typer(conversion, name="conversion")


def _group() -> None:
    """The conversion between versions of Stories."""


def off(options: CommonOptions) -> None:
    """Serve Stories only in the version in which they are stored, so that nothing needs the operator's webhook.

    Do this before the operator is removed and the definitions stay: Stories could neither be read in v1beta1 nor
    deleted with their namespace. Helm does it by itself. The next installation serves all versions again.
    """

    async def work() -> None:
        async with open_session(options) as session:
            await switch_conversion_off(session, dry_run=options.dry_run is not DryRun.NONE)

    run_async(options, work)


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
