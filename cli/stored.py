"""Reads outputs in the operator's object store, on the machine of the command and with the permissions of its user."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from cli.outputs import RUN
from cli.problem import CommandError
from cli.session import Session
from cli.target import embedded_at
from core.api.resource import CONFIG_MAP, SECRET
from core.engine.errors import PortError
from core.expressions.paths import has_reference
from core.kube.errors import ForbiddenError, KubeError, NotFoundError
from core.payloads.errors import PayloadError, StoreUnavailableError
from core.payloads.hydrate import HydrationBounds, hydrate
from core.payloads.store import TIMEOUT_SECONDS, Store
from core.policy.config import parse_config
from core.policy.settings import StorageSettings
from deployment.permissions.names import CONFIG_NAME
from embedded.folder import claims_folder
from embedded.operator_process import OPERATOR_NAMESPACE
from reconcilers.adapters import payload_store

_BOUNDS: Final = HydrationBounds(depth=128, object_bytes=64 << 20, total_bytes=256 << 20, references=10_000)
"""Wider than the operator's bounds, because no other user waits here."""
_REMEDY: Final = "print the references themselves with --references"


async def read_stored(session: Session, outputs: Mapping[str, Any], namespace: str) -> dict[str, Any]:
    """``outputs`` with the data instead of every storage reference. The store is only read if there are references.

    Args:
        outputs: by step, and of the run, with the names of ``cli.outputs``.
        namespace: that of the run; only objects of this namespace are read.
    Raises:
        CommandError: the store, or some objects, cannot be read; the message names each object.
    """
    if not any(has_reference(output) for output in outputs.values()):
        return dict(outputs)
    store = await open_stored(session, namespace)
    whole, problems = {}, []
    for name, output in outputs.items():
        try:
            field = name if name == RUN else f"steps.{name}.output"
            whole[name] = await hydrate(output, store, namespace=namespace, field=field, bounds=_BOUNDS)
        except PayloadError as error:
            problems.append(str(error))
        except StoreUnavailableError as error:
            raise CommandError(str(error), remedy=_REMEDY) from error
    if problems:
        raise CommandError("\n".join(problems), remedy=_REMEDY)
    return whole


async def open_stored(session: Session, namespace: str, *, timeout_seconds: float = TIMEOUT_SECONDS) -> Store:
    """The operator's object store, for objects of ``namespace``.

    Raises:
        CommandError: it is not known, or cannot be read from here.
    """
    wanted = await _settings(session)
    if payload_store.is_volume(wanted):
        cluster = session.embedded or embedded_at(session.config.server, Path(session.config.source))
        if cluster is None:
            raise CommandError(
                f"outputs are on the volume of claim {wanted.file_volume_claim_name!r}, which only Pods can read",
                remedy=_REMEDY,
            )
        return payload_store.open_volume(wanted, claims_folder(cluster.data), namespace, timeout_seconds)
    try:
        credentials = await _credentials(session, payload_store.secret_of(wanted))
        return payload_store.open_store(wanted, credentials, timeout_seconds)
    except (PortError, StoreUnavailableError) as error:
        raise CommandError(str(error), remedy=_REMEDY) from error


async def _settings(session: Session) -> StorageSettings:
    place = f"ConfigMap {OPERATOR_NAMESPACE}/{CONFIG_NAME}"
    try:
        config = await session.client.get(CONFIG_MAP, CONFIG_NAME, OPERATOR_NAMESPACE)
    except NotFoundError:
        return StorageSettings()
    except KubeError as error:
        raise CommandError(f"{place}, which names the object store, cannot be read: {error}", remedy=_REMEDY) from error
    settings = parse_config(config.get("data") or {}).settings
    if settings is None:
        raise CommandError(f"{place} is invalid, so the object store is unknown", remedy=_REMEDY)
    return settings.storage


async def _credentials(session: Session, name: str) -> dict[str, str]:
    """Credentials from the operator's Secret; if the user may not read it, those of the command's environment."""
    if not name:
        return {}
    place = f"{OPERATOR_NAMESPACE}/{name}"
    try:
        secret = await session.client.get(SECRET, name, OPERATOR_NAMESPACE)
    except ForbiddenError:
        session.console.note(f"you may not read Secret {place}; your own AWS credentials are used for the object store")
        return {}
    except KubeError as error:
        raise CommandError(f"storage Secret {place} cannot be read: {error}", remedy=_REMEDY) from error
    return payload_store.credentials_in(secret, place)
