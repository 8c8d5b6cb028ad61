"""What a workload asks its Pod for: extended resources, volumes, shared memory, classes.

``core.policy`` applies the same rules when a step runs. Mounts are compared with those of earlier layers, as far as
they are known. Where the operator's settings are unknown, the built-in ones are assumed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from core.api.errors import FieldError
from core.api.objects import ReadOnlyObject
from core.api.quantity import parse_quantity
from core.policy import classes
from core.policy.extended import extended_problems
from core.policy.layers import requests_above_limits
from core.policy.volumes import MountedPath, overlaps, size_problem, volume_problems
from webhooks.cluster_view import ClusterView, Unseen
from webhooks.finding import CauseType, Finding, Rule, Severity
from webhooks.validate.change import fields_of

EXTENDED: Final = Rule("definition/extended-resource", "4.4")
VOLUME: Final = Rule("definition/volume", "4.4")
QUANTITY: Final = Rule("definition/quantity", "4.4", severity=Severity.WARNING)
REQUEST: Final = Rule("definition/request-above-limit", "4.4", severity=Severity.WARNING)
CLASS: Final = Rule("definition/class", "4.4", CauseType.FORBIDDEN, Severity.WARNING)

_NOT_AMOUNTS: Final = ("extended", "minCpuRequest", "minMemoryRequest")
"""Fields of ``resources`` that are not amounts of the container."""


class EarlierLayer(NamedTuple):
    """A block with the same fields, which the checked block outranks."""

    title: str
    block: object


def check(
    block: object, path: str, world: ClusterView, *, is_template: bool = False, below: Sequence[EarlierLayer] = ()
) -> Iterator[Finding]:
    """The fields of ``core.api.volumes.PodNeeds`` and ``resources`` in ``block``, whose path is ``path``."""
    fields = fields_of(block)
    resources = fields_of(fields.get("resources"))
    for name, value in resources.items():
        if name not in _NOT_AMOUNTS and value:
            yield from _quantity(value, f"{path}.resources.{name}")
    yield from _requests(resources, f"{path}.resources")
    yield from _extended(resources.get("extended"), f"{path}.resources.extended")
    problems = [*_volumes(fields, path)]
    yield from problems or _mounts_of_layers(fields, path, below)
    if not is_template:
        yield from _classes(fields, path, world)


def block_of(definition: ReadOnlyObject | Unseen, key: str) -> object:
    """``spec[key]`` of a definition; None if it is unknown."""
    return None if isinstance(definition, Unseen) else fields_of(definition.get("spec")).get(key)


def check_step_run(overrides: object, path: str) -> Iterator[Finding]:
    """The same fields of a StepRun's ``executionOverrides``, which has no block ``resources``."""
    fields = fields_of(overrides)
    yield from _extended(fields.get("extendedResources"), f"{path}.extendedResources")
    yield from _volumes(fields, path)


def _requests(resources: ReadOnlyObject, path: str) -> Iterator[Finding]:
    """Requests above the limits that the same block sets: what a later layer sets alone fits what it finds."""
    for request, limit in requests_above_limits({name: value for name, value in resources.items() if value}):
        message = f"{resources[request]} is more than {limit}, {resources[limit]}, so no container can start"
        yield REQUEST.at(f"{path}.{request}", message, "request less, or raise the limit")


def _extended(extended: Any, path: str) -> Iterator[Finding]:
    if extended is not None:
        yield from _all(EXTENDED, extended_problems(extended, path))


def _volumes(fields: ReadOnlyObject, path: str) -> Iterator[Finding]:
    if fields.get("volumes") is not None:
        yield from _all(VOLUME, volume_problems(fields["volumes"], f"{path}.volumes"))
    if fields.get("sharedMemory") is not None:
        yield from _all(VOLUME, size_problem(fields["sharedMemory"], f"{path}.sharedMemory", zero=True))


def _mounts_of_layers(fields: ReadOnlyObject, path: str, below: Sequence[EarlierLayer]) -> Iterator[Finding]:
    """Mounts over those of ``below``; a volume replaces an earlier one of its name."""
    own = fields.get("volumes") or ()
    others: dict[str, MountedPath] = {}
    for layer in below:
        for volume in _readable(fields_of(layer.block).get("volumes")):
            others[volume["name"]] = MountedPath(volume["mountPath"], f"volumes[{volume['name']}] of {layer.title}")
    for volume in own:
        others.pop(volume["name"], None)
    mounts = [
        MountedPath(volume["mountPath"], f"{path}.volumes[{index}].mountPath") for index, volume in enumerate(own)
    ]
    yield from _all(VOLUME, overlaps(mounts, tuple(others.values())))


def _readable(volumes: Any) -> Iterator[ReadOnlyObject]:
    """The volumes that have a name and a path; other objects have findings of their own."""
    for volume in volumes if isinstance(volumes, list) else ():
        if isinstance(volume, Mapping) and all(isinstance(volume.get(key), str) for key in ("name", "mountPath")):
            yield volume


def _quantity(value: Any, path: str) -> Iterator[Finding]:
    try:
        parse_quantity(str(value))
    except ValueError as error:
        message, _, remedy = str(error).partition("; ")
        yield QUANTITY.at(path, message, remedy or "write for example 500m or 2Gi")


def _classes(fields: ReadOnlyObject, path: str, world: ClusterView) -> Iterator[Finding]:
    for setting, (field, _) in classes.CLASSES.items():
        name = fields.get(field)
        if name and (refused := classes.why_not_named(setting, name, world.settings)):
            yield CLASS.at(f"{path}.{field}", f"is ignored: it {refused}", classes.class_remedy(setting))


def _all(rule: Rule, problems: Iterable[FieldError]) -> Iterator[Finding]:
    return (rule.at(problem.path, problem.message, problem.remedy) for problem in problems)
