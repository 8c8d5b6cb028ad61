"""A client of one API server: a method per verb, wire dicts in and out, typed errors.

Each call is prepared (core.kube.request, pure), sent (core.kube.transport) and read (pure). Reads are retried after
transient errors. Writes are retried only when it is certain that the server did nothing. After a write that raises a
``TransportError`` with ``outcome_unknown``, the caller must read the object back. Nothing is cached here
(core.kube.informer does that).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any, Final

import httpx
import orjson
import trio

from core.api.keys import FIELD_MANAGER
from core.api.resource import Resource
from core.kube import request
from core.kube.config import ClusterConfig
from core.kube.errors import (
    ConfigError,
    DeadlineError,
    InvalidError,
    NotServedError,
    ResourceExpiredError,
    UnauthorizedError,
    error_from_answer,
)
from core.kube.fence import Fence
from core.kube.paging import PAGE_SIZE, Keep, ListSelection, ObjectList, list_pages
from core.kube.request import ServedKind
from core.kube.retry import DEFAULT_POLICY, CallRetries, with_retries
from core.kube.transport import ApiCall, ApiTransport, explain_refusal, open_body, open_transport, transport_errors
from core.ownership.acting import current_key
from kubewire import Object, PatchType

_LIST_RESTARTS: Final = 3


class KubeClient:
    """Open it with ``open_client``. Calls that fail raise the errors of core.kube.errors and no others."""

    def __init__(
        self,
        transport: ApiTransport,
        *,
        retry: CallRetries = DEFAULT_POLICY,
        timeout_seconds: float | None = None,
        background: bool = False,
        vital: bool = False,
        fence: Fence | None = None,
        managed_fields: bool = True,
    ) -> None:
        self._transport = transport
        self.managed_fields = managed_fields
        """Whether objects are read with ``metadata.managedFields``."""
        self._retry = retry
        self._timeout_seconds = timeout_seconds
        self._background = background
        self._vital = vital
        self._fence = fence

    @property
    def config(self) -> ClusterConfig:
        return self._transport.config

    def in_background(self) -> KubeClient:
        """The same client for background work: its calls leave most of the server's capacity to other calls."""
        return self._like_this(background=True)

    def fenced(self, fence: Fence) -> KubeClient:
        """The same client whose writes ask ``fence`` at the last moment before they are sent; what it raises ends them.

        It is asked for the key that the task of the write is at work for. A process that was suspended, or is slow to
        give a key up, does not know that others have taken over.
        """
        return self._like_this(fence=fence)

    def check_fence(self) -> None:
        """Ask the fence, as a write does: for changes that this process is about to make on another server.

        Raises:
            KubeError: this process may not make them any more.
        """
        if self._fence is not None:
            self._fence(current_key())

    def for_itself(self) -> KubeClient:
        """The same client for calls that the program itself depends on (lease, configuration): they wait for no other
        call.
        """
        return self._like_this(vital=True)

    def _like_this(self, *, background: bool = False, vital: bool = False, fence: Fence | None = None) -> KubeClient:
        return KubeClient(
            self._transport,
            retry=self._retry,
            timeout_seconds=self._timeout_seconds,
            background=background or self._background,
            vital=vital or self._vital,
            fence=fence or self._fence,
            managed_fields=self.managed_fields,
        )

    # Reading.

    async def get(
        self, resource: Resource, name: str, namespace: str | None = None, *, subresource: str | None = None
    ) -> Object:
        """The object as the server has it now.

        Raises:
            NotFoundError: the object does not exist.
        """
        return await self.answer(request.get_call(resource, name, namespace, subresource))

    async def get_metadata(self, resource: Resource, name: str, namespace: str | None = None) -> Object:
        """The metadata of the object, as a PartialObjectMetadata: the server does not send its spec, status or data.

        Raises:
            NotFoundError: the object does not exist.
        """
        return await self.answer(request.get_metadata_call(resource, name, namespace))

    async def list(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        label_selector: str | None = None,
        field_selector: str | None = None,
        limit: int = PAGE_SIZE,
        keep: Keep = lambda obj: obj,
    ) -> ObjectList:
        """All objects, over all namespaces unless one is given, as one consistent snapshot.

        ``limit`` is the size of the largest page, not a bound on the result; 0 requests everything in one page. When
        the server forgets the snapshot between two pages, the list starts again; the last attempt requests everything
        in one page. ``keep`` reduces each object as soon as it is read. So at most one page is in memory as bytes, and
        at most one large object is in memory as a whole. An object that can be read only in part is marked
        (core.api.unreadable). An object without a readable name is left out and counted.
        """
        selection = ListSelection(resource, namespace, label_selector, field_selector, self.managed_fields)
        for restart in range(_LIST_RESTARTS + 1):
            size = limit if restart < _LIST_RESTARTS else 0
            try:
                return await list_pages(self.body_of, selection, size, keep)
            except ResourceExpiredError:
                if restart == _LIST_RESTARTS:
                    raise
        raise AssertionError("the last restart must return or raise")

    async def server_version(self) -> Object:
        """The answer of ``/version``: ``gitVersion``, ``major``, ``minor`` and more."""
        return await self.answer(ApiCall("get", "GET", "/version", "version"))

    async def discover(self) -> Sequence[ServedKind]:
        """Every kind that the server serves, in the version that it prefers, without subresources."""
        core = await self.answer(ApiCall("get", "GET", "/api/v1", "kinds"))
        found = request.kinds_of("", "v1", core)
        groups = await self.answer(ApiCall("get", "GET", "/apis", "groups"))
        for group, version in request.preferred_versions(groups):
            try:
                kinds = await self.answer(ApiCall("get", "GET", f"/apis/{group}/{version}", "kinds"))
            except NotServedError:  # its last definition was deleted meanwhile
                continue
            found += request.kinds_of(group, version, kinds)
        return found

    # Writing.

    async def create(
        self,
        resource: Resource,
        obj: Object,
        *,
        namespace: str | None = None,
        dry_run: bool = False,
        field_manager: str = FIELD_MANAGER,
    ) -> Object:
        """The object as stored.

        Raises:
            AlreadyExistsError: the name is taken.
        """
        return await self.answer(
            request.create_call(resource, obj, namespace, dry_run=dry_run, field_manager=field_manager)
        )

    async def replace(
        self,
        resource: Resource,
        obj: Object,
        *,
        subresource: str | None = None,
        dry_run: bool = False,
        field_manager: str = FIELD_MANAGER,
    ) -> Object:
        """The object as stored.

        Raises:
            ConflictError: ``obj`` carries a resourceVersion that is no longer the newest.
        """
        return await self.answer(
            request.replace_call(resource, obj, subresource, dry_run=dry_run, field_manager=field_manager)
        )

    async def patch(
        self,
        resource: Resource,
        name: str,
        body: Mapping[str, Any] | Sequence[Any],
        *,
        namespace: str | None = None,
        patch_type: PatchType = PatchType.MERGE,
        subresource: str | None = None,
        field_manager: str = FIELD_MANAGER,
        force: bool = False,
        dry_run: bool = False,
    ) -> Object:
        """The object as stored after ``body`` was merged into it.

        Raises:
            ConflictError: a resourceVersion in ``body`` is not the newest, a JSON patch's ``test`` failed, or (apply)
                another manager owns a field and ``force`` is not given.
        """
        call = request.patch_call(
            resource,
            name,
            body,
            namespace,
            patch_type=patch_type,
            subresource=subresource,
            field_manager=field_manager,
            force=force,
            dry_run=dry_run,
        )
        try:
            return await self.answer(call)
        except InvalidError as error:
            if patch_type is PatchType.JSON:
                raise request.as_conflict(error) from error
            raise

    async def apply(
        self,
        resource: Resource,
        obj: Object,
        *,
        namespace: str | None = None,
        subresource: str | None = None,
        field_manager: str = FIELD_MANAGER,
        force: bool = False,
        dry_run: bool = False,
    ) -> Object:
        """Server-side apply: create the object, or set the fields in ``obj`` and become their owner."""
        metadata = obj.get("metadata") or {}
        return await self.patch(
            resource,
            str(metadata.get("name") or ""),
            {"apiVersion": resource.api_version, "kind": resource.kind, **obj},
            namespace=namespace or metadata.get("namespace"),
            patch_type=PatchType.APPLY,
            subresource=subresource,
            field_manager=field_manager,
            force=force,
            dry_run=dry_run,
        )

    async def delete(
        self,
        resource: Resource,
        name: str,
        namespace: str | None = None,
        *,
        uid: str | None = None,
        resource_version: str | None = None,
        propagation: str = "Background",
        grace_period_seconds: int | None = None,
    ) -> Object | None:
        """Request the deletion of an object; with finalizers or a grace period the object disappears later.

        Returns:
            The object as it is stored now, if it disappears later; None if it is gone.

        Raises:
            ConflictError: the object has another UID (``uid``) or has changed (``resource_version``).
            NotFoundError: the object does not exist.
        """
        answer = await self.answer(
            request.delete_call(
                resource,
                name,
                namespace,
                uid=uid,
                resource_version=resource_version,
                propagation=propagation,
                grace_period_seconds=grace_period_seconds,
            )
        )
        return answer if request.waits_for_its_end(answer) else None

    async def delete_collection(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        label_selector: str | None = None,
        field_selector: str | None = None,
        propagation: str = "Background",
    ) -> None:
        """Request the deletion of all objects that match, in one namespace only: a mistake must not empty a cluster.

        Raises:
            ValueError: the kind is namespaced and no namespace is given.
        """
        if resource.namespaced and not namespace:
            raise ValueError(f"deleting every {resource.kind} needs a namespace")
        await self.answer(
            request.delete_collection_call(
                resource,
                namespace,
                label_selector=label_selector,
                field_selector=field_selector,
                propagation=propagation,
            )
        )

    async def create_subresource(
        self, resource: Resource, name: str, subresource: str, body: Object, namespace: str | None = None
    ) -> Object:
        """The answer to a POST to a subresource: a token, an eviction, a binding. Never retried."""
        call = request.subresource_call(resource, name, subresource, body, namespace)
        return self._read(call, await self._transport.send(self._prepared(call)))

    # Other requests.

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """One raw request, not retried; the response is returned whatever its status is."""
        call = ApiCall(
            method.lower(),
            method.upper(),
            path,
            path,
            tuple((params or {}).items()),
            None if json is None else orjson.dumps(json),
            headers=tuple((headers or {}).items()),
        )
        return await self._transport.send(self._prepared(call))

    @asynccontextmanager
    async def open_stream(
        self, method: str, path: str, params: Mapping[str, str] | None = None
    ) -> AsyncIterator[httpx.Response]:
        """A response whose body is read as it arrives, such as a log; the caller must bound the time.

        Read the body through ``open_body`` or ``open_lines`` of core.kube.transport.

        Raises:
            KubeError: the server refused the request, or did not answer.
        """
        call = ApiCall(method.lower(), method.upper(), path, path, tuple((params or {}).items()), accept="*/*")
        async with self.open_call(call) as response:
            yield response

    @asynccontextmanager
    async def open_call(self, call: ApiCall) -> AsyncIterator[httpx.Response]:
        """Like ``open_stream``, for a prepared call."""
        call = self._prepared(call)
        async with self._transport.open_stream(call) as response:
            if response.is_error:
                await self._read_refusal(call, response)
                self._refuse(response)
            yield response

    # How calls are made.

    async def answer(self, call: ApiCall) -> Object:
        """The server's answer to a prepared call, retried as its method allows."""
        call = self._prepared(request.check_size(call))

        async def once() -> Object:
            return self._read(call, await self._transport.send(call))

        return await with_retries(once, policy=self._retry, idempotent=call.reads)

    def _read(self, call: ApiCall, response: httpx.Response) -> Object:
        if response.is_error:
            self._refuse(response)
        plural = call.resource.partition("/")[0]
        return request.object_of(response.status_code, response.content, plural, managed_fields=self.managed_fields)

    async def body_of(self, call: ApiCall, most_bytes: int) -> bytes | None:
        """The body of an answer; None when it is larger than ``most_bytes`` (0: no bound).

        Raises:
            KubeError: the server refused the request, or did not answer.
        """
        call = self._prepared(call)

        async def once() -> bytes | None:
            if most_bytes:
                return await self._bounded_body(call, most_bytes)
            response = await self._transport.send(call)
            if response.is_error:
                self._refuse(response)
            return response.content

        return await with_retries(once, policy=self._retry, idempotent=True)

    async def _bounded_body(self, call: ApiCall, most_bytes: int) -> bytes | None:
        chunks: list[bytes] = []
        size = 0
        with trio.move_on_after(call.deadline_seconds):
            async with self.open_call(call) as response, open_body(response) as body:
                async for chunk in body:
                    chunks.append(chunk)
                    size += len(chunk)
                    if size > most_bytes:
                        return None
            return b"".join(chunks)
        raise DeadlineError(f"{call.method} {call.path}: no whole answer within {call.deadline_seconds:g} s")

    async def _read_refusal(self, call: ApiCall, response: httpx.Response) -> None:
        """Read why a stream was refused. The connection may break meanwhile, or say nothing more."""
        what = f"{call.method} {call.path}"
        with transport_errors(what, outcome_unknown=not call.reads):
            with trio.move_on_after(call.deadline_seconds):
                await response.aread()
                return
        raise DeadlineError(f"{what}: no whole answer within {call.deadline_seconds:g} s")

    def _refuse(self, response: httpx.Response) -> None:
        error = error_from_answer(response.status_code, response.content, response.headers.get("retry-after"))
        if isinstance(error, UnauthorizedError):
            sent = response.request.headers.get("authorization")
            why = explain_refusal(self.config, sent, response.headers.get("date"))
            raise UnauthorizedError({**error.status, "message": f"{error.message}: {why}"})
        raise error

    def _prepared(self, call: ApiCall) -> ApiCall:
        wanted: dict[str, Any] = {}
        if self._timeout_seconds is not None:
            wanted["deadline_seconds"] = self._timeout_seconds
        if self._fence is not None and not call.reads:
            wanted["fence"] = partial(self._fence, current_key())
        if self._background or self._vital:
            wanted |= {"background": self._background, "vital": self._vital}
        return replace(call, **wanted) if wanted else call


@asynccontextmanager
async def _open(
    config: ClusterConfig, transport: httpx.AsyncBaseTransport | None, open_it: Callable[[ApiTransport], KubeClient]
) -> AsyncIterator[KubeClient]:
    async with open_transport(config, transport=transport) as opened:
        yield open_it(opened)


def open_client(
    config: ClusterConfig,
    *,
    transport: httpx.AsyncBaseTransport | None = None,
    retry: CallRetries = DEFAULT_POLICY,
    timeout_seconds: float | None = None,
    managed_fields: bool = True,
) -> AbstractAsyncContextManager[KubeClient]:
    """A client that is open for the block. Opening it sends nothing.

    Args:
        transport: replaces the network, for example by an application in this process.
        retry: how long reads are retried; use ``core.kube.retry.ONCE`` when a person waits.
        timeout_seconds: the deadline of every call; the default is 30 s (60 s for lists).
        managed_fields: read ``metadata.managedFields``, too, which may be half of an object.
    Raises:
        ConfigError: the certificates cannot be used, or the deadline is not positive.
    """
    if timeout_seconds is not None and timeout_seconds <= 0:
        raise ConfigError("the request timeout must be more than zero seconds")
    opened = partial(KubeClient, retry=retry, timeout_seconds=timeout_seconds, managed_fields=managed_fields)
    return _open(config, transport, opened)
