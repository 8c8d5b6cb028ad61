"""``authorizer`` in the CEL of admission policies: may the user of the request, or a service account, do something?

``authorizer`` is a map; each method answers with the same map and one more key, ``check`` with the decision. RBAC knows
no field or label selectors, so they make no difference. Source: Kubernetes' CEL authorizer library.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from cel_expr_python import cel

from localcluster.server.authz import Attributes, Authorizer
from localcluster.server.identity import Identity, service_account
from localcluster.server.writeport import AdmissionRequest

_MAP: Final = cel.Type.Map(cel.Type.DYN, cel.Type.DYN)
_STRING: Final = cel.Type.STRING
_BOOL: Final = cel.Type.BOOL

Check = Callable[[Mapping[str, Any], str], str | None]
"""Whether a verb is allowed on what a map describes: the reason; None when it is not allowed."""


def value_for(request: AdmissionRequest) -> dict[str, Any]:
    """The value of ``authorizer``; ``authorizer.requestResource`` describes the object of the request."""
    resource = request.resource
    described = {
        "group": resource.group,
        "resource": resource.plural,
        "subresource": request.subresource,
        "namespace": request.namespace or "",
        "name": request.name,
    }
    return {"requestResource": described}


def check_for(authorizer: Authorizer, user: Identity) -> Check:
    """How the checks of a request of ``user`` are decided."""

    def check(described: Mapping[str, Any], verb: str) -> str | None:
        who = user
        if account := described.get("account"):
            namespace, name = account
            who = service_account(namespace, name, "")
        return authorizer.reason(who, _attributes(described, verb))

    return check


def functions(current: Callable[[], Check]) -> list[Any]:
    """The library's functions, declared for the engine; ``current`` finds the checks of the running evaluation."""

    def check(described: dict[str, Any], verb: str) -> dict[str, Any]:
        reason = current()(described, verb)
        return {"allowed": reason is not None, "reason": reason or ""}

    def account(described: dict[str, Any], namespace: str, name: str) -> dict[str, Any]:
        return {**described, "account": [namespace, name]}

    steps = ("path", "group", "resource", "subresource", "namespace", "name", "fieldSelector", "labelSelector")
    return [
        *(_method(name, _MAP, (_STRING,), _step(name)) for name in steps),
        _method("serviceAccount", _MAP, (_STRING, _STRING), account),
        _method("check", _MAP, (_STRING,), check),
        _method("allowed", _BOOL, (), lambda decision: decision["allowed"]),
        _method("reason", _STRING, (), lambda decision: decision["reason"]),
        _method("errored", _BOOL, (), lambda decision: False),
        _method("error", _STRING, (), lambda decision: ""),
    ]


def _method(name: str, answer: Any, parameters: tuple[Any, ...], implementation: Callable[..., Any]) -> Any:
    overload = cel.Overload(f"authorizer_{name}", answer, [_MAP, *parameters], True, implementation)
    return cel.FunctionDecl(name, [overload])


def _step(name: str) -> Callable[[dict[str, Any], str], dict[str, Any]]:
    return lambda described, value: {**described, name: value}


def _attributes(described: Mapping[str, Any], verb: str) -> Attributes:
    if "path" in described:
        return Attributes(verb, path=described["path"])
    resource, subresource = described.get("resource", ""), described.get("subresource", "")
    return Attributes(
        verb,
        group=described.get("group", ""),
        resource=f"{resource}/{subresource}" if subresource else resource,
        namespace=described.get("namespace", ""),
        name=described.get("name", ""),
    )
