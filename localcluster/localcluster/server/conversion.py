"""Converts objects between the versions of one kind.

Without a conversion webhook only ``apiVersion`` changes, as with strategy None. With one, the server sends a
ConversionReview and checks the answer as the real server does. Built-in kinds have one version.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final
from uuid import uuid4

from localcluster.server import errors, events
from localcluster.server.types import Object, ResourceType
from localcluster.server.webhookcall import WebhookCaller, WebhookCallError

TIMEOUT_SECONDS: Final = 30.0
_REVIEW_VERSION: Final = "apiextensions.k8s.io/v1"


class Converter:
    """Converts by webhook if the kind has one."""

    def __init__(self, caller: WebhookCaller) -> None:
        self._caller = caller

    async def convert(self, objects: Sequence[Object], resource: ResourceType, version: str) -> list[Object]:
        """The objects in ``version``; an object that already has it is returned unchanged.

        Raises:
            StatusError: 500, the webhook could not be reached, refused, or gave an answer that is not allowed.
        """
        wanted = f"{resource.group}/{version}" if resource.group else version
        strangers = [obj for obj in objects if obj.get("apiVersion") != wanted]
        if not strangers:
            return list(objects)
        if events.is_event(resource):
            return [events.converted(obj, wanted) for obj in objects]
        if resource.conversion_webhook is None:
            return [obj if obj.get("apiVersion") == wanted else {**obj, "apiVersion": wanted} for obj in objects]
        converted = iter(await self._by_webhook(resource, strangers, wanted))
        return [obj if obj.get("apiVersion") == wanted else next(converted) for obj in objects]

    async def to_stored(self, obj: Object, resource: ResourceType) -> Object:
        """The object in its storage version.

        Raises:
            StatusError: as ``convert``.
        """
        if events.is_event(resource):
            return events.converted(obj, events.STORED_VERSION)
        (stored,) = await self.convert([obj], resource, resource.storage_version)
        return stored

    async def _by_webhook(self, resource: ResourceType, objects: list[Object], wanted: str) -> list[Object]:
        webhook = resource.conversion_webhook or {}
        uid = str(uuid4())
        request = {"uid": uid, "desiredAPIVersion": wanted, "objects": objects}
        review = {"kind": "ConversionReview", "apiVersion": _REVIEW_VERSION, "request": request}
        try:
            answer = await self._caller.call(webhook.get("clientConfig") or {}, review, TIMEOUT_SECONDS)
            return _checked(answer, uid, objects, wanted)
        except (WebhookCallError, _BadAnswerError) as error:
            stranger = objects[0].get("apiVersion", "")
            raise errors.internal_error(
                f"conversion webhook for {stranger}, Kind={resource.kind} failed: {error}"
            ) from error


class _BadAnswerError(Exception):
    """The webhook answered, but not with converted objects."""


def _checked(answer: Object, uid: str, objects: list[Object], wanted: str) -> list[Object]:
    response: Any = answer.get("response")
    if not isinstance(response, dict):
        raise _BadAnswerError("the answer has no response")
    if response.get("uid") != uid:
        raise _BadAnswerError(f"expected response.uid={uid}, got {response.get('uid')}")
    result: Object = response.get("result") or {}
    if result.get("status") != "Success":
        raise _BadAnswerError(str(result.get("message") or "the webhook gave no reason"))
    converted = response.get("convertedObjects") or []
    if len(converted) != len(objects):
        raise _BadAnswerError(f"returned {len(converted)} objects, expected {len(objects)}")
    return [_reconciled(new, old, wanted) for new, old in zip(converted, objects, strict=True)]


def _reconciled(new: Any, old: Object, wanted: str) -> Object:
    """``new`` with the old metadata, except labels and annotations: a webhook may change only these."""
    if not isinstance(new, dict) or new.get("apiVersion") != wanted or new.get("kind") != old.get("kind"):
        raise _BadAnswerError(f"returned an object that is not {wanted}, Kind={old.get('kind')}")
    metadata, before = new.get("metadata"), old["metadata"]
    if not isinstance(metadata, dict):
        raise _BadAnswerError("returned an object without metadata")
    for name in ("name", "namespace", "uid"):
        if metadata.get(name) != before.get(name):
            raise _BadAnswerError(
                f"metadata.{name} must not change: {before.get(name)!r} became {metadata.get(name)!r}"
            )
    kept = {name: value for name, value in before.items() if name not in ("labels", "annotations")}
    changed = {name: metadata[name] for name in ("labels", "annotations") if metadata.get(name)}
    return {**new, "metadata": {**kept, **changed}}
