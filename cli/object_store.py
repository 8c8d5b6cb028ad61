"""Opens the operator's object store on the machine of the command, with the permissions of its user."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cli.embedded.folder import claims_folder
from cli.embedded.operator_process import OPERATOR_NAMESPACE
from cli.problem import CommandError
from cli.session import Session
from cli.target import embedded_at
from core.api.resource import CONFIG_MAP, SECRET
from core.engine.errors import PortError
from core.kube.errors import ForbiddenError, KubeError, NotFoundError
from core.payloads.errors import StoreUnavailableError
from core.payloads.store import TIMEOUT_SECONDS, Store
from core.policy.config import parse_config
from core.policy.settings import OperatorSettings, StorageSettings
from deployment.permissions.names import CONFIG_NAME
from reconcilers.adapters import payload_store


class StoreSettingsError(CommandError):
    """What the operator was given for its object store cannot be used, neither here nor by the operator."""


@dataclass(frozen=True, slots=True)
class Stores:
    """The store of each namespace. A bucket is one for all; on the embedded cluster each namespace has a volume."""

    of: Callable[[str], Store]


async def find_stores(session: Session, *, remedy: str = "", timeout_seconds: float = TIMEOUT_SECONDS) -> Stores:
    """
    Args:
        remedy: the remedy in errors.
        timeout_seconds: for one request to the store.
    Raises:
        StoreSettingsError: its settings or its Secret cannot be used.
        CommandError: the operator has no store, or this user or machine cannot open it.
    """
    wanted = (await operator_settings(session, remedy)).storage
    if payload_store.is_volume(wanted):
        cluster = session.embedded or embedded_at(session.config.server, Path(session.config.source))
        if cluster is None:
            raise CommandError(
                f"stored data is on the volume of claim {wanted.file_volume_claim_name!r}, which only Pods can read",
                remedy=remedy,
            )
        claims = claims_folder(cluster.data)
        return Stores(lambda namespace: payload_store.open_volume(wanted, claims, namespace, timeout_seconds))
    try:
        store = payload_store.open_store(wanted, await _credentials(session, wanted, remedy), timeout_seconds)
    except (PortError, StoreUnavailableError) as error:
        raise StoreSettingsError(str(error), remedy=remedy) from error
    return Stores(lambda _: store)


async def operator_settings(session: Session, remedy: str) -> OperatorSettings:
    """The settings in the operator's ConfigMap; the built-in ones if there is none.

    Raises:
        CommandError: it cannot be read, or is invalid.
    """
    place = f"ConfigMap {OPERATOR_NAMESPACE}/{CONFIG_NAME}"
    try:
        config = await session.client.get(CONFIG_MAP, CONFIG_NAME, OPERATOR_NAMESPACE)
    except NotFoundError:
        return OperatorSettings()
    except KubeError as error:
        raise CommandError(f"{place}, which names the object store, cannot be read: {error}", remedy=remedy) from error
    settings = parse_config(config.get("data") or {}).settings
    if settings is None:
        raise CommandError(f"{place} is invalid, so the object store is unknown", remedy=remedy)
    return settings


async def _credentials(session: Session, wanted: StorageSettings, remedy: str) -> dict[str, str]:
    """Credentials from the operator's Secret; if the user may not read it, those of the command's environment."""
    name = payload_store.secret_of(wanted)
    if not name:
        return {}
    place = f"{OPERATOR_NAMESPACE}/{name}"
    try:
        secret = await session.client.get(SECRET, name, OPERATOR_NAMESPACE)
    except ForbiddenError:
        session.console.note(
            f"you may not read Secret {place}; your own {payload_store.vendor_of(wanted)} credentials are used for the "
            "object store"
        )
        return {}
    except NotFoundError:
        raise StoreSettingsError(f"storage Secret {place} does not exist", remedy=remedy) from None
    except KubeError as error:
        raise CommandError(f"storage Secret {place} cannot be read: {error}", remedy=remedy) from error
    return payload_store.credentials_in(secret, wanted, place)
