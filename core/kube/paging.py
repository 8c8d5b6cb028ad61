"""Lists, page by page; the size of a page is bounded in bytes.

A server bounds a page by the number of its objects, and an object may have 1.5 MB or 500 bytes. So the first page is
small, and the size of the next pages follows from the objects seen so far. A page that is too large is requested again
in smaller pages. The same happens with a page in which the end of one object cannot be found, until each object comes
in a page of its own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeAlias

import trio

from core.api.resource import Resource
from core.kube import request
from core.kube.errors import InternalServerError
from core.kube.reading import PageHead, UnreadablePageError, head_of_broken_page
from core.kube.transport import ApiCall
from core.telemetry import catalogue, metrics
from core.telemetry.logs import get_logger
from kubewire import Object, StatusReason, status_failure

PAGE_SIZE: Final = 500
FIRST_PAGE_SIZE: Final = 16
"""The number of objects that is requested whatever their size: 24 MB of the largest that etcd stores."""
PAGE_BYTES: Final = 1 << 20
"""The intended size of a page."""
MOST_PAGE_BYTES: Final = 8 << 20
"""The largest size of a page with more objects than the first one; a larger page is given up and requested in smaller
ones.
"""
_YIELD_EVERY_BYTES: Final = 1 << 20

Keep: TypeAlias = Callable[[Object], Any]
GetBody: TypeAlias = Callable[[ApiCall, int], Awaitable[bytes | None]]
"""Returns the body of the answer to a call; None when it has more bytes than the second argument (0: no bound)."""

_LOG: Final = get_logger("kube-client")


class ObjectList(NamedTuple):
    """All objects of a list, or the reduced form of each, and the version of the cluster that the list shows."""

    items: list[Object]
    resource_version: str


@dataclass(frozen=True, slots=True)
class ListSelection:
    """The objects to list: of all namespaces unless one is given."""

    resource: Resource
    namespace: str | None = None
    labels: str | None = None
    fields: str | None = None
    managed_fields: bool = True
    """Whether the objects are read with ``metadata.managedFields``."""

    def page(self, size: int, token: str) -> ApiCall:
        return request.list_call(
            self.resource,
            self.namespace,
            label_selector=self.labels,
            field_selector=self.fields,
            limit=size,
            next_page=token,
        )


async def list_pages(get: GetBody, selection: ListSelection, limit: int, keep: Keep) -> ObjectList:
    """Every page until the last; ``limit`` is the largest page size, 0 requests one page with everything.

    Raises:
        GoneError: the server has forgotten the snapshot between two pages.
        KubeError
    """
    items: list[Any] = []
    size = min(limit, FIRST_PAGE_SIZE)
    token = ""
    while True:
        body = await get(selection.page(size, token), MOST_PAGE_BYTES if size > FIRST_PAGE_SIZE else 0)
        if body is None:
            size = FIRST_PAGE_SIZE
            continue
        found: list[Any] = []
        head = await _taken(selection, body, size, keep, found)
        if head is None:
            size = 1
            continue
        items += found
        if not head.next_page:
            return ObjectList(items, head.resource_version)
        token = head.next_page
        size = _next_size(size, limit, len(body))


async def newest_version(get: GetBody, selection: ListSelection) -> str:
    """The version of the cluster, from a list of one object.

    Raises:
        KubeError
    """
    body = await get(selection.page(1, ""), 0)
    assert body is not None, "the call has no bound, so there is a body"
    head = await _taken(selection, body, 1, lambda obj: obj, [])
    return head.resource_version if head is not None else ""


async def _taken(selection: ListSelection, body: bytes, size: int, keep: Keep, into: list[Any]) -> PageHead | None:
    """The head of the page, with its objects added to a list; None when they must be requested one by one."""
    resource, read = selection.resource, 0
    share = len(body) // max(size, 1)
    try:
        page = request.page_of(resource, body, managed_fields=selection.managed_fields)
        for obj in page.objects:
            into.append(keep(obj))
            read += share
            if read >= _YIELD_EVERY_BYTES:
                read = 0
                await trio.lowlevel.checkpoint()
    except UnreadablePageError as error:
        if size != 1:
            return None
        head = head_of_broken_page(body)
        if head is None:
            text = f"the list of {resource.plural} cannot be read: {error}"
            raise InternalServerError(status_failure(StatusReason.INTERNAL_ERROR, text)) from None
        _count_left_out(resource, 1)
        return head
    _count_left_out(resource, page.left_out)
    return page.head


def _next_size(size: int, limit: int, body_bytes: int) -> int:
    """The number of objects for a page of the intended size, if they are like those of this page; a single one proves
    little.
    """
    if not limit:
        return 0
    fitting = size * PAGE_BYTES // max(body_bytes, 1)
    return max(1, min(limit, fitting, size * 32 if size > 1 else FIRST_PAGE_SIZE))


def _count_left_out(resource: Resource, number: int) -> None:
    if number:
        metrics.count(catalogue.OBJECTS_LEFT_OUT, number, resource=resource.plural)
        _LOG.error("objects without a readable name were skipped", resource=resource.plural, number=number)
