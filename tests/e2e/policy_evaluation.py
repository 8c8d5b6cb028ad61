"""Our admission policies, evaluated as in an API server, by the CEL library that the operator uses.

The library lacks what only Kubernetes adds to CEL (``authorizer``, quantities). The policies use none of that. The
end-to-end tests compare its answers with those of the real server.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cel_expr_python import cel
from cel_expr_python.ext import ext_strings

from core.api.objects import Object
from deployment.files import policies
from deployment.permissions.roles import DEFAULT_INSTALLATION
from deployment.policies.policy import Policy, documents
from webhooks.caller import POD_NAME, POD_UID

TOO_DEEP = frozenset({"status-size"})
"""Policies whose expressions are nested too deeply for the library. Only the server evaluates them."""
ANN = "ann"
"""A user who has only the rights to the objects in question."""


@dataclass(frozen=True)
class Request:
    """A request to the API server. ``old`` is None for a creation."""

    new: Object
    old: Object | None
    username: str = ANN
    groups: tuple[str, ...] = ()
    subresource: str = ""
    pod: str = ""
    """The Pod to which the token is bound."""
    pod_uid: str = ""

    @property
    def operation(self) -> str:
        return "CREATE" if self.old is None else "UPDATE"


def refusals(request: Request, settings: Mapping[str, str] | None) -> dict[str, list[str]]:
    """Messages by policy name, without the policies that ask about rights, which only a server knows.

    ``settings`` is the operator's ConfigMap, or None if there is none.
    """
    found = {policy.name: list(_refusals(policy, spec, request, settings)) for policy, spec in _evaluated()}
    return {name: messages for name, messages in found.items() if messages}


@functools.cache
def _evaluated() -> Sequence[tuple[Policy, Object]]:
    """Policies with the specs of their documents.

    Cached, because rendering takes several times as long as evaluating.
    """
    evaluated = [policy for policy in policies() if not (policy.asks_for_rights or policy.name in TOO_DEEP)]
    return [(policy, documents(policy, DEFAULT_INSTALLATION)[0]["spec"]) for policy in evaluated]


def matches(rules: Iterable[Object], request: Request) -> bool:
    """Whether the rules of a webhook or policy match the request."""
    group, _, version = request.new["apiVersion"].partition("/")
    return any(
        group in rule["apiGroups"]
        and version in rule["apiVersions"]
        and request.operation in rule["operations"]
        and target_of(request) in rule["resources"]
        for rule in rules
    )


def target_of(request: Request) -> str:
    plural = f"{request.new['kind'].lower()}s".replace("storys", "stories")
    return f"{plural}/{request.subresource}" if request.subresource else plural


def holds(expression: str, request: Request, **others: Any) -> bool:
    """The value of an expression, over the request and ``others``.

    Raises:
        RuntimeError: it has no value; the server would then apply the failure policy.
    """
    result = _compiled(expression).eval(data={**_variables(request), "params": None, "variables": {}, **others})
    value = result.plain_value()
    if not isinstance(value, bool):
        raise RuntimeError(f"{expression}: {value}")  # noqa: TRY004 - an error of CEL is a value of the library
    return value


def _refusals(policy: Policy, spec: Object, request: Request, settings: Mapping[str, str] | None) -> Iterator[str]:
    if policy.reads_settings and settings is None:
        return
    if not matches(spec["matchConstraints"]["resourceRules"], request):
        return
    params = {"data": dict(settings)} if settings is not None else None
    try:
        if not all(holds(condition["expression"], request) for condition in spec["matchConditions"]):
            return
    except RuntimeError as error:
        yield f"error: {error}"
        return
    variables: Object = {}
    for variable in spec.get("variables") or ():
        data = {**_variables(request), "params": params, "variables": variables}
        variables[variable["name"]] = _compiled(variable["expression"]).eval(data=data).plain_value()
    for check in spec["validations"]:
        try:
            if not holds(check["expression"], request, params=params, variables=variables):
                yield check["message"]
        except RuntimeError as error:
            yield f"error: {check['message']}: {error}"


def _variables(request: Request) -> Object:
    metadata = request.new.get("metadata") or {}
    return {
        "object": request.new,
        "oldObject": request.old,
        "request": {
            "operation": request.operation,
            "namespace": metadata.get("namespace") or "",
            "resource": {"resource": target_of(request).partition("/")[0]},
            "userInfo": {"username": request.username, "groups": list(request.groups), **_extra(request)},
        },
    }


def _extra(request: Request) -> Object:
    named = {POD_NAME: [request.pod]} if request.pod else {}
    known = {POD_UID: [request.pod_uid]} if request.pod_uid else {}
    return {"extra": {**named, **known}} if request.pod else {}


@functools.cache
def _compiled(expression: str) -> Any:
    names = ("object", "oldObject", "request", "params", "variables")
    environment = cel.NewEnv(variables=dict.fromkeys(names, cel.Type.DYN), extensions=[ext_strings.ExtStrings()])
    return environment.compile(expression)
