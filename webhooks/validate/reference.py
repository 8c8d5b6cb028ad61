"""References between objects: namespace policy, existence, pinned versions.

Source: admission contract 3.7 to 3.9.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from core.api.objects import ReadOnlyObject
from core.api.resource import Resource
from core.api.text import text
from core.policy.references import ForeignReference, why_denied
from webhooks.cluster_view import ClusterView, Unseen
from webhooks.finding import Finding, Rule


@dataclass(frozen=True, slots=True)
class Link:
    """A reference from a kind in a namespace to a named object."""

    source: Resource
    source_namespace: str
    target: Resource
    namespace: str
    name: str

    def __str__(self) -> str:
        place = f"{self.namespace}/" if self.namespace else ""
        return f"{self.target.kind} {place}{self.name}"


def link(source: Resource, namespace: str, target: Resource, reference: ReadOnlyObject) -> Link:
    """``reference`` in an object of kind ``source``; without a namespace it means that of the object."""
    place = (text(reference.get("namespace")) or namespace) if target.namespaced else ""
    return Link(source, namespace, target, place, text(reference.get("name")))


def denial(rule: Rule, wanted: Link, world: ClusterView, path: str) -> Iterator[Finding]:
    """A finding if the policy refuses the reference."""
    if wanted.namespace == wanted.source_namespace or isinstance(world.policy, Unseen):
        return
    reference = ForeignReference(
        from_group=wanted.source.group,
        from_kind=wanted.source.kind,
        from_namespace=wanted.source_namespace,
        to_group=wanted.target.group,
        to_kind=wanted.target.kind,
        to_namespace=wanted.namespace,
        to_name=wanted.name,
    )
    if reference.same_namespace:
        return
    why = why_denied(reference, world.policy, world.grants(wanted.namespace))
    if why is not None:
        yield rule.at(
            path, why, f"use one in namespace {wanted.source_namespace}, or ask an administrator to allow the reference"
        )


def find(wanted: Link, world: ClusterView) -> ReadOnlyObject | Unseen:
    """The object that ``wanted`` refers to."""
    return world.find(wanted.target, wanted.namespace, wanted.name)


def missing(rule: Rule, wanted: Link, found: ReadOnlyObject | Unseen, path: str) -> Iterator[Finding]:
    """A finding if the object does not exist."""
    if found is Unseen.MISSING:
        yield rule.at(path, f"{wanted} does not exist", f"apply it, or correct the name {wanted.name!r}")


def version_mismatch(
    rule: Rule, reference: ReadOnlyObject, wanted: Link, found: ReadOnlyObject | Unseen, path: str
) -> Iterator[Finding]:
    """A finding if a version is pinned and the object has another one."""
    pin = text(reference.get("version"))
    if not pin or isinstance(found, Unseen):
        return
    actual = text((found.get("spec") or {}).get("version"))
    if actual != pin:
        is_ = f"is version {actual!r}" if actual else "has no version"
        yield rule.at(
            path, f"the reference requires version {pin!r}, but {wanted} {is_}", "correct or remove the version"
        )
