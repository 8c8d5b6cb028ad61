"""Admission by webhook: mutating webhooks one after the other, validating ones at the same time.

Configurations are read from the store when they change; some may be in force without being stored.
Source: kube-apiserver's webhook admission plugins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import trio

from localcluster.server import errors, webhookconditions, webhookreview
from localcluster.server.catalog import Catalog
from localcluster.server.store import Store
from localcluster.server.types import Object, ResourceType
from localcluster.server.watchcache import Change
from localcluster.server.webhookcall import WebhookCaller, WebhookCallError
from localcluster.server.webhookconditions import ConditionError
from localcluster.server.webhookconfig import Hook, hooks_of
from localcluster.server.webhookreview import InvalidAnswerError, Verdict
from localcluster.server.writeport import AdmissionRequest, Conversion

_GROUP: Final = "admissionregistration.k8s.io"
_MUTATING: Final = f"{_GROUP}/mutatingwebhookconfigurations"
_VALIDATING: Final = f"{_GROUP}/validatingwebhookconfigurations"
_KINDS: Final = {_MUTATING: "MutatingWebhookConfiguration", _VALIDATING: "ValidatingWebhookConfiguration"}


class _CallFailedError(Exception):
    """A webhook gave no usable answer; its failure policy decides whether that refuses the request."""


@dataclass(frozen=True)
class _Asked:
    """A hook to call, and the version of the objects it gets."""

    hook: Hook
    resource: ResourceType


class WebhookAdmission:
    """Calls the webhooks whose configuration names the object of a write."""

    def __init__(
        self,
        store: Store,
        catalog: Catalog,
        conversion: Conversion,
        caller: WebhookCaller,
        registered: Sequence[Object] = (),
    ) -> None:
        """``registered``: configurations that are not stored; they come before those that are."""
        self._registered = {
            collection: [hook for each in registered if each["kind"] == kind for hook in hooks_of(each)]
            for collection, kind in _KINDS.items()
        }
        self._store = store
        self._catalog = catalog
        self._conversion = conversion
        self._caller = caller
        self._hooks: dict[str, Sequence[Hook]] = {}
        store.listen(self._on_change)

    async def mutate(self, request: AdmissionRequest) -> Object | None:
        """The object after all mutating webhooks.

        A webhook with ``reinvocationPolicy: IfNeeded`` is called a second time if later ones changed the object.

        Raises:
            StatusError: a webhook refused, or failed and its failure policy does not ignore that.
        """
        hooks = self._hooks_of(_MUTATING)
        if not hooks:
            return request.obj
        invoked: set[str] = set()
        again: set[str] = set()
        current = request
        for hook in hooks:
            changed = await self._mutated_by(hook, current)
            if changed is not current.obj:
                current = replace(current, obj=changed)
                again |= invoked
            if hook.reinvoke:
                invoked.add(hook.identity)
        for hook in hooks:
            if hook.identity in again:
                current = replace(current, obj=await self._mutated_by(hook, current))
        return current.obj

    async def validate(self, request: AdmissionRequest) -> None:
        """Return when every validating webhook that is called allows the write.

        Raises:
            StatusError: the first refusal, in the order of the configurations.
        """
        asked = [found for hook in self._hooks_of(_VALIDATING) if (found := await self._asked(hook, request))]
        if not asked:
            return
        refusals: dict[int, errors.StatusError] = {}

        async def ask(index: int, found: _Asked) -> None:
            try:
                await self._verdict(found, request, mutating=False)
            except errors.StatusError as error:
                refusals[index] = error

        async with trio.open_nursery() as nursery:
            for index, found in enumerate(asked):
                nursery.start_soon(ask, index, found)
        if refusals:
            raise refusals[min(refusals)]

    async def _mutated_by(self, hook: Hook, request: AdmissionRequest) -> Object | None:
        found = await self._asked(hook, request)
        if found is None:
            return request.obj
        verdict = await self._verdict(found, request, mutating=True)
        if verdict is None or not verdict.patch or request.obj is None:
            return request.obj
        (shown,) = await self._conversion.convert([request.obj], request.resource, found.resource.version)
        try:
            changed = webhookreview.patched(shown, verdict)
        except InvalidAnswerError as error:
            raise _failed(hook, f"received invalid webhook response: {error}") from error
        (back,) = await self._conversion.convert([changed], found.resource, request.resource.version)
        return back

    async def _verdict(self, found: _Asked, request: AdmissionRequest, *, mutating: bool) -> Verdict | None:
        """The hook's verdict, which always allows; None when it failed and its failure policy ignores that.

        Raises:
            StatusError: it refused, it failed and that is not ignored, or a dry run may not call it.
        """
        hook = found.hook
        if request.dry_run and not hook.dry_run_safe:
            raise errors.bad_request(f'admission webhook "{hook.name}" does not support dry run')
        try:
            verdict = await self._ask(found, request, mutating=mutating)
        except _CallFailedError as error:
            if hook.fails_open:
                return None
            raise _failed(hook, str(error)) from error
        for text in verdict.warnings:
            request.warn(text)
        if not verdict.allowed:
            raise webhookreview.denial(hook.name, verdict.result)
        return verdict

    async def _ask(self, found: _Asked, request: AdmissionRequest, *, mutating: bool) -> Verdict:
        review = await self._review(found.resource, request)
        hook = found.hook
        try:
            answer = await self._caller.call(hook.client_config, review, hook.timeout_seconds)
        except WebhookCallError as error:
            raise _CallFailedError(f"failed to call webhook: {error}") from error
        try:
            return webhookreview.verdict_of(answer, review["request"]["uid"], mutating=mutating)
        except InvalidAnswerError as error:
            raise _CallFailedError(f"received invalid webhook response: {error}") from error

    async def _review(self, resource: ResourceType, request: AdmissionRequest) -> Object:
        """The review of a request, with its objects in the version of ``resource``."""
        objects = [obj for obj in (request.obj, request.old) if obj is not None]
        shown = iter(await self._conversion.convert(objects, request.resource, resource.version))
        obj = next(shown) if request.obj is not None else None
        old = next(shown) if request.old is not None else None
        return webhookreview.review_of(request, resource, obj, old)

    async def _asked(self, hook: Hook, request: AdmissionRequest) -> _Asked | None:
        """The hook, if it has to be called.

        Raises:
            StatusError: 403, its conditions have no result and its failure policy does not ignore that.
        """
        resource = hook.target(request, self._catalog.find)
        if resource is None or not hook.selects(request, self._namespace_labels(request)):
            return None
        if hook.conditions:
            review = await self._review(resource, request)
            try:
                if not webhookconditions.all_hold(hook.conditions, review["request"]):
                    return None
            except ConditionError as error:
                if hook.fails_open:
                    return None
                asked = request.resource
                raise errors.forbidden(asked.group, asked.plural, request.name, str(error)) from error
        return _Asked(hook, resource)

    def _namespace_labels(self, request: AdmissionRequest) -> Mapping[str, str]:
        is_namespace = request.resource.plural == "namespaces" and not request.resource.group
        name = request.name if is_namespace else request.namespace
        stored = self._store.collection("/namespaces").get(name or "")
        labels: Mapping[str, str] = (stored.object["metadata"].get("labels") or {}) if stored is not None else {}
        return labels

    def _hooks_of(self, collection: str) -> Sequence[Hook]:
        hooks = self._hooks.get(collection)
        if hooks is None:
            stored = self._store.collection(collection).select()
            own = self._registered[collection]
            hooks = self._hooks[collection] = [*own, *(hook for item in stored for hook in hooks_of(item.object))]
        return hooks

    def _on_change(self, collection: str, change: Change) -> None:
        if collection in (_MUTATING, _VALIDATING):
            self._hooks.pop(collection, None)


def _failed(hook: Hook, why: str) -> errors.StatusError:
    return errors.internal_error(f'failed calling webhook "{hook.name}": {why}')
