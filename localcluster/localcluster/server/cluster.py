"""Assembles the API server: storage, registry, admission, security and HTTP, as one object with one lifetime.

``async with open_api_server(...) as server`` gives a server whose ``app`` answers requests (over sockets or
in-process). Controllers use its ``registry`` for the same operations. When the ``with`` block ends, everything has
ended.
"""

from __future__ import annotations

import secrets
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx
import trio

from kubewire.reclaim import reclaim_when_quiet
from localcluster.clock import Now, utc_now
from localcluster.server.admission import AdmissionChain
from localcluster.server.app import App
from localcluster.server.authn import Authenticator
from localcluster.server.authz import Authorizer
from localcluster.server.bootstrap import bootstrap
from localcluster.server.catalog import Catalog
from localcluster.server.compaction import forget_old_changes
from localcluster.server.conversion import Converter
from localcluster.server.crd_cleanup import clean_up_definitions
from localcluster.server.crds import Definitions
from localcluster.server.definition_guard import DefinitionGuard
from localcluster.server.documents import Documents
from localcluster.server.escalation import EscalationGuard
from localcluster.server.event_expiry import expire_events
from localcluster.server.identity import ADMIN
from localcluster.server.namespace_lifecycle import NamespaceLifecycle
from localcluster.server.podadmission import PodAdmission
from localcluster.server.podlog import PodLogClient, PodLogs
from localcluster.server.policyadmission import PolicyAdmission
from localcluster.server.registry import Registry
from localcluster.server.resources import Resources
from localcluster.server.review import Reviews
from localcluster.server.shape import SchemaShape
from localcluster.server.storage import Durability, Storage
from localcluster.server.store import Store
from localcluster.server.subresources import Subresources
from localcluster.server.tokenrequest import TokenRequests
from localcluster.server.tokens import TokenIssuer
from localcluster.server.types import Object
from localcluster.server.watchstream import WatchStreams
from localcluster.server.webhookadmission import WebhookAdmission
from localcluster.server.webhookcall import LocalWebhooks, WebhookCaller, open_webhook_caller

_ADMIN_TOKEN_SETTING: Final = "admin-token"  # noqa: S105 - the name of a setting


@dataclass(frozen=True)
class ApiServer:
    """A running API server."""

    app: App
    registry: Registry
    store: Store
    catalog: Catalog
    issuer: TokenIssuer
    admin_token: str
    """The bearer token of a ``system:masters`` user, which is kept in the storage."""
    address: list[str]
    """Set ``address[:] = ["127.0.0.1:6443"]`` when it is known; discovery documents then contain it."""


@asynccontextmanager
async def open_api_server(
    path: Path | None = None,
    *,
    now: Now = utc_now,
    durability: Durability = Durability.PROCESS_DEATH,
    node_tls: ssl.SSLContext | None = None,
    local_webhooks: LocalWebhooks | None = None,
) -> AsyncIterator[ApiServer]:
    """Open the database at ``path`` (None: keep everything in memory) and serve it.

    ``node_tls``: the TLS settings for requests for logs to nodes: the trusted authority, and the client certificate.
    None: plain HTTP.
    ``local_webhooks``: webhooks that this process answers itself.

    Raises:
        StorageError: the database cannot be opened.
    """
    storage = Storage.open(path, durability=durability)
    trust = node_tls or ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # no authorities: loading them takes time
    secure = node_tls is not None
    try:
        store = Store(storage)
        async with (
            aclosing(PodLogClient(lambda: httpx.AsyncClient(trust_env=False, verify=trust), secure=secure)) as nodes,
            open_webhook_caller(store, local_webhooks) as webhooks,
            trio.open_nursery() as nursery,
        ):
            registered = local_webhooks.configurations if local_webhooks is not None else ()
            server = _assembled(storage, store, now, nodes, webhooks, registered)
            await bootstrap(server.registry)
            await nursery.start(storage.keep_checkpointed)
            await nursery.start(reclaim_when_quiet, lambda: store.revision)
            await nursery.start(clean_up_definitions, server.registry)
            await nursery.start(forget_old_changes, store)
            await nursery.start(expire_events, server.registry, now)
            yield server
            nursery.cancel_scope.cancel()
    finally:
        storage.close()


def _assembled(
    storage: Storage,
    store: Store,
    now: Now,
    nodes: PodLogClient,
    webhooks: WebhookCaller,
    registered: Sequence[Object],
) -> ApiServer:
    catalog = Catalog()
    shape = SchemaShape()
    Definitions(store, catalog, shape)
    conversion = Converter(webhooks)
    authorizer = Authorizer(store)
    hooks = WebhookAdmission(store, catalog, conversion, webhooks, registered)
    policies = PolicyAdmission(store, catalog, conversion, authorizer, registered)
    guards = (NamespaceLifecycle(store), DefinitionGuard(store), PodAdmission(store), EscalationGuard(authorizer))
    admission = AdmissionChain([*guards, policies, hooks])
    registry = Registry(store, catalog, shape, admission, conversion, now)
    issuer = TokenIssuer.load(storage)
    token = _admin_token(storage)
    authenticator = Authenticator(store, issuer, {token: ADMIN}, now)
    address: list[str] = []
    app = App(
        registry,
        authenticator,
        authorizer,
        Resources(registry, now),
        Subresources(
            registry,
            Reviews(authenticator, authorizer, now),
            TokenRequests(registry, issuer, now),
            PodLogs(registry, nodes),
            now,
        ),
        WatchStreams(registry, now),
        Documents(catalog, is_ready=lambda: True, address=lambda: address[0] if address else ""),
    )
    return ApiServer(app, registry, store, catalog, issuer, token, address)


def _admin_token(storage: Storage) -> str:
    found = storage.setting(_ADMIN_TOKEN_SETTING)
    if found is None:
        found = secrets.token_urlsafe(32).encode()
        storage.set_setting(_ADMIN_TOKEN_SETTING, found)
    return found.decode()
