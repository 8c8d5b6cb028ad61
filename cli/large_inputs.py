"""Large inputs of a new run: stored in the operator's object store, as clients with the SDK store theirs.

Admission may not write to a store, so it refuses a run whose inputs are too large. This command can, with the
permissions of its user.
"""

from __future__ import annotations

import secrets
from typing import Any, Final

from cli.object_store import find_stores, operator_settings
from cli.problem import CommandError
from cli.session import Session
from core.api.objects import Object
from core.payloads.address import Folder, ObjectPlace
from core.payloads.dehydrate import OffloadBounds, PlannedObject, plan, size_bytes
from core.payloads.errors import StoreUnavailableError
from core.payloads.several import for_several
from core.policy.settings import OperatorSettings, StorageProvider

_LEAST_BYTES: Final = 1024
"""Inputs of this size fit, unless an administrator has set a smaller limit; then admission says so."""
_AT_ONCE: Final = 4
_SUFFIX_LETTERS: Final = "bcdfghjklmnpqrstvwxz2456789"
"""As the API server chooses names."""
_SUFFIX_LENGTH: Final = 5
_REMEDY: Final = "give smaller inputs, or store them yourself and pass a reference"


async def with_stored_inputs(session: Session, manifest: Object, *, dry_run: bool = False) -> Object:
    """``manifest``, with references instead of inputs that are too large for it; nothing is stored by a dry run.

    It stays as it is if the operator has no store or its settings cannot be read: then admission says what is wrong.
    A run whose name the API server should choose gets one here, because the keys of the objects have it.

    Raises:
        CommandError: the store cannot be opened, or does not accept the objects.
    """
    inputs = manifest["spec"].get("inputs")
    if not inputs or size_bytes(inputs) <= _LEAST_BYTES:
        return manifest
    settings = await _settings(session)
    limit = settings.runs.max_inline_inputs_size_bytes
    if settings.storage.provider is StorageProvider.NONE or size_bytes(inputs) <= limit:
        return manifest
    named = _named(manifest)
    namespace = named["metadata"].get("namespace") or session.namespace
    place = ObjectPlace(Folder.INPUTS, namespace, named["metadata"]["name"])
    planned = plan(inputs, place, OffloadBounds(limit, limit, settings.engram.max_recursion_depth))
    if not dry_run:
        await _store(session, namespace, planned.objects)
    return {**named, "spec": {**named["spec"], "inputs": planned.remaining}}


async def _settings(session: Session) -> OperatorSettings:
    try:
        return await operator_settings(session, _REMEDY)
    except CommandError:
        return OperatorSettings()


def _named(manifest: Object) -> Object:
    metadata: dict[str, Any] = dict(manifest["metadata"])
    if not metadata.get("name"):
        prefix = metadata.pop("generateName")
        metadata["name"] = prefix + "".join(secrets.choice(_SUFFIX_LETTERS) for _ in range(_SUFFIX_LENGTH))
    return {**manifest, "metadata": metadata}


async def _store(session: Session, namespace: str, objects: tuple[PlannedObject, ...]) -> None:
    store = (await find_stores(session, remedy=_REMEDY)).of(namespace)

    async def write(each: PlannedObject) -> None:
        await store.write(each.key, each.content)

    try:
        await for_several(objects, write, at_once=_AT_ONCE, failures=(StoreUnavailableError,))
    except StoreUnavailableError as error:
        raise CommandError(f"the inputs could not be stored: {error}", remedy=_REMEDY) from error
    total = sum(len(each.content) for each in objects)
    session.console.note(f"{total:,} bytes of inputs were stored in the operator's object store")
