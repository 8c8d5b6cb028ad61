"""Whether the webhook configurations are those of this release, and lead to a Service that has endpoints."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from certs.inject import DEFAULT_TARGETS, MUTATING, VALIDATING
from cli.doctor.certificates import client_configs
from cli.doctor.context import ENDPOINT_SLICE, DoctorContext
from core.api.objects import Object
from core.api.resource import CUSTOM_RESOURCE_DEFINITION, OUR_RESOURCES, SERVICE
from core.kube.errors import ApiError, ForbiddenError, NotFoundError
from deployment.registration import mutating_configuration, validating_configuration
from views.doctor.diagnosis import Diagnosis, listed, ok, problem, skipped, warning

_GROUPS: Final = frozenset(resource.group for resource in OUR_RESOURCES)
_REMEDY: Final = (
    "apply those of this release (bobrapet unpack manifests)",
    "kubectl apply --server-side -k manifests/default",
)

Place = tuple[str, str]
"""Namespace and name of a Service."""


def of_presence(present: Iterable[Object], wanted: Iterable[Object]) -> list[Diagnosis]:
    """Whether every webhook of this release is registered, and as strictly."""
    there = {(obj["metadata"]["name"], hook["name"]): hook for obj in present for hook in obj.get("webhooks") or ()}
    missing, weaker = [], []
    for obj in wanted:
        for hook in obj["webhooks"]:
            found = there.get((obj["metadata"]["name"], hook["name"]))
            if found is None:
                missing.append(hook["name"])
            elif found.get("failurePolicy", "Fail") != hook["failurePolicy"]:
                weaker.append(f"{hook['name']} ({found.get('failurePolicy')} instead of {hook['failurePolicy']})")
    found_problems = []
    if missing:
        text = f"webhooks are not registered, so their objects are not checked: {listed(missing)}"
        found_problems.append(problem(text, *_REMEDY))
    if weaker:
        found_problems.append(warning(f"webhooks have another failurePolicy: {listed(weaker)}", *_REMEDY))
    return found_problems


def of_services(used: Mapping[Place, Sequence[str]], endpoints: Mapping[Place, int | None]) -> list[Diagnosis]:
    """
    Args:
        used: the objects that lead to a Service.
        endpoints: how many ready ones each existing Service has; None: not known.
    """
    found = []
    for (namespace, name), objects in used.items():
        who = listed([*dict.fromkeys(objects)], 4)
        if (namespace, name) not in endpoints:
            found.append(
                problem(
                    f"{who} leads to Service {namespace}/{name}, which does not exist: writes are refused",
                    "remove what is left of an old installation (kubectl delete), or install the operator again",
                )
            )
        elif endpoints[namespace, name] == 0:
            found.append(
                problem(
                    f"Service {namespace}/{name} of {who} has no ready endpoint: writes are refused",
                    "look at its Pods",
                    f"kubectl --namespace {namespace} get pods",
                )
            )
    return found


async def examine(context: DoctorContext) -> list[Diagnosis]:
    if context.is_embedded:
        return [skipped("the API server of an embedded cluster calls admission itself")]
    configurations = [
        *_with_kind((await context.client.list(MUTATING)).items, MUTATING.kind),
        *_with_kind((await context.client.list(VALIDATING)).items, VALIDATING.kind),
    ]
    names = {target.name for target in DEFAULT_TARGETS}
    wanted = [mutating_configuration(context.installation), validating_configuration(context.installation)]
    found = of_presence([each for each in configurations if each["metadata"]["name"] in names], wanted)
    ours = [each for each in configurations if _is_about_us(each)]
    definitions = (await context.client.list(CUSTOM_RESOURCE_DEFINITION)).items
    ours += _with_kind([each for each in definitions if each["spec"]["group"] in _GROUPS], "definition")
    used = services_of(ours)
    try:
        found += of_services(used, await _endpoints(context, used))
    except ForbiddenError as error:
        found.append(skipped(f"you may not read the Services of webhooks: {error.message}"))
    if found:
        return found
    hooks = sum(len(each["webhooks"]) for each in wanted)
    return [ok(f"all {hooks} webhooks are registered, and their Services have endpoints")]


def services_of(objects: Iterable[Object]) -> dict[Place, list[str]]:
    """The Services that webhooks and conversions use, each with the objects that lead to it."""
    used: dict[Place, list[str]] = {}
    for obj in objects:
        for config in client_configs(obj):
            if service := config.get("service"):
                place = (str(service.get("namespace")), str(service.get("name")))
                used.setdefault(place, []).append(f"{obj['kind']} {obj['metadata']['name']}")
    return used


def _with_kind(items: Iterable[Object], kind: str) -> list[Object]:
    """The items of a list have no kind."""
    return [{**each, "kind": kind} for each in items]


def _is_about_us(configuration: Object) -> bool:
    """Whether it is called for objects of our groups."""
    return any(
        _GROUPS & set(rule.get("apiGroups") or ())
        for hook in configuration.get("webhooks") or ()
        for rule in hook.get("rules") or ()
    )


async def _endpoints(context: DoctorContext, places: Iterable[Place]) -> dict[Place, int | None]:
    """How many ready addresses each existing Service has; None if they cannot be read.

    Raises:
        ForbiddenError: this user may not read Services.
    """
    found: dict[Place, int | None] = {}
    for namespace, name in places:
        try:
            await context.client.get(SERVICE, name, namespace)
        except NotFoundError:
            continue
        try:
            selector = f"kubernetes.io/service-name={name}"
            slices = (await context.client.list(ENDPOINT_SLICE, namespace, label_selector=selector)).items
        except ApiError:
            found[namespace, name] = None
            continue
        found[namespace, name] = sum(
            len(endpoint.get("addresses") or ())
            for each in slices
            for endpoint in each.get("endpoints") or ()
            if (endpoint.get("conditions") or {}).get("ready", True)
        )
    return found
