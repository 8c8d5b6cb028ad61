"""Whether the objects that manifests refer to exist: in the same files, or in the target cluster.

This is checked before anything is applied, so that a run does not start only to wait for an Engram that does not exist.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from cli.manifests import Manifest
from cli.problem import RejectedManifestError
from cli.session import Session
from core.api.objects import ReadOnlyObject
from core.api.resource import ENGRAM, ENGRAM_TEMPLATE, IMPULSE_TEMPLATE, STORY, Resource
from core.api.suggestion import closest
from core.kube.errors import NotFoundError
from core.story.kinds import StepKind
from core.story.story import read_story


@dataclass(frozen=True, slots=True)
class ManifestReference:
    """One place in a file that names another object."""

    manifest: Manifest
    path: str
    resource: Resource
    namespace: str
    """Empty for cluster-scoped kinds."""
    name: str


def references_of(manifest: Manifest, default_namespace: str) -> Iterator[ManifestReference]:
    """Every object that ``manifest`` needs, except references with a template, which are only known at run time."""
    own = (manifest.document.get("metadata") or {}).get("namespace") or default_namespace
    for path, resource, reference in _named(manifest.kind, manifest.document.get("spec") or {}):
        name = str(reference.get("name") or "")
        namespace = str(reference.get("namespace") or own) if resource.namespaced else ""
        if name and "{{" not in name + namespace:
            yield ManifestReference(manifest, f"{path}.name", resource, namespace, name)


async def refuse_missing(session: Session, manifests: Sequence[Manifest]) -> None:
    """Return if all references of the manifests exist.

    Raises:
        RejectedManifestError: some do not exist; the message has all of them, each with file and line.
    """
    here = {_identity(manifest, session.namespace) for manifest in manifests}
    problems = []
    for manifest in manifests:
        for reference in references_of(manifest, session.namespace):
            identity = (reference.resource.kind, reference.namespace, reference.name)
            if identity not in here and not await _exists(session, reference):
                near = closest(reference.name, (name for kind, _, name in here if kind == reference.resource.kind))
                problems.append(_missing(reference, near))
    if problems:
        raise RejectedManifestError(problems)


def refers_to_files(manifest: Manifest, manifests: Sequence[Manifest], default_namespace: str) -> bool:
    """Whether ``manifest`` needs another document of ``manifests``."""
    here = {_identity(each, default_namespace) for each in manifests}
    return any(
        (reference.resource.kind, reference.namespace, reference.name) in here
        for reference in references_of(manifest, default_namespace)
    )


def _named(kind: str, spec: ReadOnlyObject) -> Iterator[tuple[str, Resource, ReadOnlyObject]]:
    match kind:
        case "Story":
            for step in read_story({"spec": spec}).every_step():
                target = step.parameters.get("storyRef")
                if step.declared.get("ref"):
                    yield f"{step.place}.ref", ENGRAM, step.declared["ref"]
                elif step.kind is StepKind.EXECUTE_STORY and isinstance(target, Mapping):
                    yield f"{step.place}.with.storyRef", STORY, target
        case "Engram":
            yield "spec.templateRef", ENGRAM_TEMPLATE, spec.get("templateRef") or {}
        case "Impulse":
            yield "spec.templateRef", IMPULSE_TEMPLATE, spec.get("templateRef") or {}
            yield "spec.storyRef", STORY, spec.get("storyRef") or {}
        case "StoryRun":
            yield "spec.storyRef", STORY, spec.get("storyRef") or {}


def _identity(manifest: Manifest, default_namespace: str) -> tuple[str, str, str]:
    cluster_wide = manifest.kind in (ENGRAM_TEMPLATE.kind, IMPULSE_TEMPLATE.kind)
    namespace = (manifest.document.get("metadata") or {}).get("namespace") or default_namespace
    return (manifest.kind, "" if cluster_wide else namespace, manifest.name)


async def _exists(session: Session, reference: ManifestReference) -> bool:
    try:
        await session.client.get(reference.resource, reference.name, reference.namespace or None)
    except NotFoundError:
        return False
    return True


def _missing(reference: ManifestReference, near: str | None) -> str:
    where = f"in namespace {reference.namespace}" if reference.namespace else "in the cluster"
    remedy = f"did you mean {near!r}?" if near else "add its manifest to the files, or create it first"
    return (
        f"{reference.manifest.at(reference.path)}: {reference.manifest.in_its_words(reference.path)}: "
        f"{reference.resource.kind} {reference.name!r} is neither in the files nor {where} ({remedy})"
    )
