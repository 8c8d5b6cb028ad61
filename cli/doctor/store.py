"""Whether the operator's object store answers, from this machine and with the rights of this user."""

from __future__ import annotations

from typing import Final

from cli.doctor.context import DoctorContext
from cli.object_store import StoreSettingsError, find_stores, operator_settings
from cli.problem import CommandError
from core.payloads.errors import PayloadError, StoreUnavailableError
from core.payloads.place import StoredKind, folders_of
from core.policy.settings import StorageProvider
from reconcilers.adapters.payload_store import secret_of
from views.doctor.diagnosis import Diagnosis, ok, problem, skipped, warning

_SECONDS: Final = 4.0
_REMEDY: Final = ("check its settings, its credentials and the network", "bobrapet config controller.storage.")


async def examine(context: DoctorContext) -> list[Diagnosis]:
    session = context.session
    try:
        settings = (await operator_settings(session, "")).storage
        if settings.provider is StorageProvider.NONE:
            return [ok("the operator has no object store: large inputs and outputs are refused")]
        if secret_of(settings) and not context.reads_secrets:
            return [skipped("the credentials of the object store are in a Secret, which is not read here")]
        store = (await find_stores(session, timeout_seconds=_SECONDS)).of(session.namespace)
    except StoreSettingsError as error:
        return [problem(f"the object store cannot be used: {error}", *_REMEDY)]
    except CommandError as error:
        return [skipped(f"the object store cannot be reached from here: {error}")]
    try:
        await store.page(folders_of(session.namespace)[StoredKind.OUTPUTS], limit=1)
    except StoreUnavailableError as error:
        return [problem(f"the object store does not answer here: {error}", *_REMEDY)]
    except PayloadError as error:
        return [warning(f"the object store answers, but objects cannot be listed: {error}")]
    return [ok(f"the object store ({settings.provider}) answers")]
