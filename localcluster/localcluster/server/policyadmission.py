"""Admission by policy: ValidatingAdmissionPolicies, which the server evaluates itself, after all changes of an object.

Policies are read from the store when they change; some may be in force without being stored. There is no audit log, so
the action ``Audit`` and audit annotations have no effect. Source: kube-apiserver's dispatcher of validating policies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from localcluster.server import policyauthorizer, policyconfig, policydecision, selectors, webhookreview
from localcluster.server.authz import Authorizer
from localcluster.server.catalog import Catalog
from localcluster.server.policycel import Scope, World
from localcluster.server.policyconfig import AdmissionPolicy, PolicyBinding
from localcluster.server.policydecision import Refusal
from localcluster.server.requestmatch import GROUP
from localcluster.server.store import Store, collection_name, object_key
from localcluster.server.stored import Stored
from localcluster.server.types import Object, ResourceType
from localcluster.server.watchcache import Change
from localcluster.server.writeport import AdmissionRequest, Conversion

_COLLECTIONS: Final = (f"{GROUP}/validatingadmissionpolicies", f"{GROUP}/validatingadmissionpolicybindings")


class _UnusableError(Exception):
    """The parameters of a policy or binding cannot be found; its failure policy decides what that means."""


class PolicyAdmission:
    """Asks the policies whose constraints name the object of a write."""

    def __init__(
        self,
        store: Store,
        catalog: Catalog,
        conversion: Conversion,
        authorizer: Authorizer,
        registered: Sequence[Object] = (),
    ) -> None:
        """``registered``: policies and bindings that are not stored; they come before those that are."""
        self._store = store
        self._catalog = catalog
        self._conversion = conversion
        self._authorizer = authorizer
        self._registered = registered
        self._own: list[AdmissionPolicy] | None = None
        self._stored: list[AdmissionPolicy] | None = None
        store.listen(self._on_change)

    async def mutate(self, request: AdmissionRequest) -> Object | None:
        """The object as it is."""
        return request.obj

    async def validate(self, request: AdmissionRequest) -> None:
        """Return when no policy refuses the write.

        Raises:
            StatusError: the first refusal, in the order of the policies, with the reason that the policy gives.
        """
        worlds: dict[str, World] = {}
        first: Exception | None = None
        for policy in self._policies():
            resource = policy.match.target(request, self._catalog.find)
            if resource is None or not policy.match.selects(request, self._namespace_labels(request)):
                continue
            if resource.version not in worlds:
                worlds[resource.version] = await self._world(request, resource)
            for binding in policy.bindings:
                refused = await self._refused(policy, binding, request, worlds[resource.version])
                first = first or refused
        if first is not None:
            raise first

    async def _refused(
        self, policy: AdmissionPolicy, binding: PolicyBinding, request: AdmissionRequest, world: World
    ) -> Exception | None:
        """The refusal for the client, if the policy refuses and the binding denies."""
        match = binding.match
        if match is not None and (
            match.target(request, self._catalog.find) is None
            or not match.selects(request, self._namespace_labels(request))
        ):
            return None
        try:
            kind = self._param_kind(policy)
        except _UnusableError as error:
            return self._unusable(policy, None, f"failed to configure policy: {error}", request)
        try:
            params = await self._params(kind, binding, request)
        except _UnusableError as error:
            return self._unusable(policy, binding, f"failed to configure binding: {error}", request)
        first: Exception | None = None
        for param in params:
            for why in policydecision.refusals(policy, Scope(world, policy.variables, param)):
                if "Warn" in binding.actions:
                    request.warn(policydecision.warning(policy, binding, why))
                if "Deny" in binding.actions:
                    first = first or policydecision.denial(policy, binding, why, request)
        return first

    @staticmethod
    def _unusable(
        policy: AdmissionPolicy, binding: PolicyBinding | None, why: str, request: AdmissionRequest
    ) -> Exception | None:
        return None if policy.fails_open else policydecision.denial(policy, binding, Refusal(why), request)

    async def _world(self, request: AdmissionRequest, resource: ResourceType) -> World:
        """What expressions see, with the objects in the version of ``resource``."""
        objects = [obj for obj in (request.obj, request.old) if obj is not None]
        shown = iter(await self._conversion.convert(objects, request.resource, resource.version))
        obj = next(shown) if request.obj is not None else None
        old = next(shown) if request.old is not None else None
        review = webhookreview.review_of(request, resource, None, None)["request"]
        values: Mapping[str, Any] = {
            "object": obj,
            "oldObject": old,
            "request": {name: value for name, value in review.items() if name not in ("object", "oldObject")},
            "namespaceObject": self._namespace(request.namespace) if request.resource.namespaced else None,
            "authorizer": policyauthorizer.value_for(request),
        }
        return World(values, policyauthorizer.check_for(self._authorizer, request.user))

    def _param_kind(self, policy: AdmissionPolicy) -> ResourceType | None:
        """The type of the parameters; None when the policy has none.

        Raises:
            _UnusableError: the type is not served.
        """
        if policy.param_kind is None:
            return None
        api_version, kind = policy.param_kind
        group, _, version = api_version.rpartition("/")
        found = self._catalog.find_kind(group, version, kind)
        if found is None:
            named = f"{api_version}, Kind={kind}"
            raise _UnusableError(f"failed to find resource referenced by paramKind: '{named}'")
        return found

    async def _params(
        self, kind: ResourceType | None, binding: PolicyBinding, request: AdmissionRequest
    ) -> list[Object | None]:
        """The objects with which to evaluate the policy, one after the other.

        Raises:
            _UnusableError: the binding does not fit the type of the parameters, or it requires some and there are none.
        """
        reference = binding.param_ref
        if kind is None or reference is None:
            return [None]
        namespace = reference.get("namespace") or ""
        if namespace and not kind.namespaced:
            raise _UnusableError("paramRef.namespace must not be provided for a cluster-scoped `paramKind`")
        home = (namespace or request.namespace or "") if kind.namespaced else None
        if home == "":
            why = "cannot use namespaced paramRef in policy binding that matches cluster-scoped resources"
            raise _UnusableError(why)
        found = self._found(kind, home, reference)
        if not found and reference.get("parameterNotFoundAction") == "Deny":
            raise _UnusableError("no params found for policy binding with `Deny` parameterNotFoundAction")
        return [*await self._conversion.convert([each.object for each in found], kind, kind.version)]

    def _found(self, kind: ResourceType, namespace: str | None, reference: Mapping[str, Any]) -> list[Stored]:
        collection = self._store.collection(collection_name(kind.group, kind.plural))
        if name := reference.get("name"):
            stored = collection.get(object_key(namespace, name))
            return [stored] if stored is not None else []
        selected = selectors.label_selector_predicate(reference.get("selector") or {})
        listed = collection.select(namespace)
        return [each for each in listed if selected(each.object["metadata"].get("labels") or {})]

    def _namespace_labels(self, request: AdmissionRequest) -> Mapping[str, str]:
        is_namespace = request.resource.plural == "namespaces" and not request.resource.group
        namespace = self._namespace(request.name if is_namespace else request.namespace)
        labels: Mapping[str, str] = ((namespace or {}).get("metadata") or {}).get("labels") or {}
        return labels

    def _namespace(self, name: str | None) -> Object | None:
        stored = self._store.collection("/namespaces").get(name or "")
        return stored.object if stored is not None else None

    def _policies(self) -> Sequence[AdmissionPolicy]:
        if self._own is None:
            self._own = policyconfig.policies_of(self._registered)
        if self._stored is None:
            listed = [each.object for name in _COLLECTIONS for each in self._store.collection(name).select()]
            self._stored = policyconfig.policies_of(listed)
        return [*self._own, *self._stored] if self._stored else self._own

    def _on_change(self, collection: str, change: Change) -> None:
        if collection in _COLLECTIONS:
            self._stored = None
