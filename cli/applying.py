"""Apply manifests as kubectl does: first a dry run of all of them, then each in order.

A file in which one document is refused changes nothing: every document is sent as a server-side dry run before the
first one is stored. Refusals of all documents are reported together, with file and line.

A dry run cannot see the documents before it: admission may say that an object does not exist which the files are about
to create. Such a refusal is not reported; ``cli.references`` has checked the same reference.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from cli.manifests import Manifest
from cli.problem import RejectedManifestError
from cli.references import refers_to_files
from cli.session import Session
from core.api.objects import Object
from core.api.resource import OUR_RESOURCES, Resource, Scope
from core.kube.errors import ApiError, InvalidError, NotFoundError

FIELD_MANAGER: Final = "bobrapet-cli"
_NOT_FOUND: Final = "FieldValueNotFound"
"""The reason of a cause, as in a Status of the API server."""


async def apply_manifests(session: Session, manifests: Sequence[Manifest], *, dry_run: bool = False) -> list[Object]:
    """The stored objects, in order.

    Raises:
        RejectedManifestError: the API server refuses at least one; nothing was changed.
    """
    resources = {(each.api_version, each.kind): each for each in OUR_RESOURCES}
    targets = [(manifest, await _resource(session, manifest, resources)) for manifest in manifests]
    made_here = {manifest.name for manifest in manifests if manifest.kind == "Namespace"}
    problems: list[str] = []
    for manifest, resource in targets:
        try:
            await _apply(session, manifest, resource, dry_run=True)
        except InvalidError as error:
            if not (refers_to_files(manifest, manifests, session.namespace) and _only_missing(error)):
                problems += _refusals(manifest, error)
        except NotFoundError as error:
            namespace = _namespace_of(session, manifest)
            if namespace not in made_here:
                problems.append(
                    f"{manifest.at('metadata.namespace')}: {manifest.kind} {manifest.name!r} in namespace {namespace}: "
                    f"{error.message} (add the Namespace to the files, or create it)"
                )
        except ApiError as error:
            problems.append(f"{manifest.at('')}: {manifest.kind} {manifest.name!r}: {error.message}")
    if problems:
        raise RejectedManifestError(problems)
    for manifest in manifests:
        if manifest.written is not None and session.embedded is None:
            version = manifest.document["apiVersion"]
            session.console.note(f"{manifest.kind} {manifest.name!r} is sent as {version}, which every server serves")
    if dry_run:
        return [manifest.document for manifest, _ in targets]
    return [await _apply(session, manifest, resource, dry_run=False) for manifest, resource in targets]


def refuse_other_namespaces(manifests: Sequence[Manifest], namespace: str) -> None:
    """Refuse what names another namespace than the one of ``--namespace``; without that option, each keeps its own.

    Raises:
        RejectedManifestError: names file, line and namespace of each.
    """
    problems = []
    for manifest in manifests:
        own = str((manifest.document.get("metadata") or {}).get("namespace") or "")
        if namespace and own and own != namespace:
            place, what = manifest.at("metadata.namespace"), f"{manifest.kind} {manifest.name!r}"
            problems.append(
                f"{place}: metadata.namespace: {what} is in namespace {own}, and --namespace is {namespace} "
                "(leave out --namespace, or change one of them)"
            )
    if problems:
        raise RejectedManifestError(problems)


async def _apply(session: Session, manifest: Manifest, resource: Resource, *, dry_run: bool) -> Object:
    document = dict(manifest.document)
    if resource.namespaced:
        document["metadata"] = {**document["metadata"], "namespace": _namespace_of(session, manifest)}
    if not document["metadata"].get("name"):
        return await session.client.create(
            resource, document, namespace=document["metadata"].get("namespace"), dry_run=dry_run
        )
    return await session.client.apply(resource, document, field_manager=FIELD_MANAGER, force=True, dry_run=dry_run)


def _namespace_of(session: Session, manifest: Manifest) -> str:
    return (manifest.document.get("metadata") or {}).get("namespace") or session.namespace


async def _resource(session: Session, manifest: Manifest, known: dict[tuple[str, str], Resource]) -> Resource:
    """The resource of a document; for other kinds, it asks the server's discovery once."""
    identity = (str(manifest.document.get("apiVersion")), manifest.kind)
    if identity not in known:
        known |= await _discovered(session, identity[0])
    if identity not in known:
        raise RejectedManifestError(
            [f"{manifest.at('kind')}: the cluster does not serve kind {identity[1]!r} in {identity[0]!r}"]
        )
    return known[identity]


async def _discovered(session: Session, api_version: str) -> dict[tuple[str, str], Resource]:
    group, _, version = api_version.rpartition("/")
    path = f"/apis/{api_version}" if group else f"/api/{version}"
    try:
        response = await session.client.request("GET", path)
    except NotFoundError:
        return {}
    found = {}
    for entry in response.json().get("resources", []):
        if "/" not in entry["name"]:
            scope = Scope.NAMESPACED if entry["namespaced"] else Scope.CLUSTER
            found[(api_version, entry["kind"])] = Resource(group, version, entry["name"], entry["kind"], scope)
    return found


def _only_missing(error: InvalidError) -> bool:
    """Whether the only reason for the refusal is that other objects do not exist."""
    return bool(error.causes) and all(cause.reason == _NOT_FOUND for cause in error.causes)


def _refusals(manifest: Manifest, error: InvalidError) -> list[str]:
    if not error.causes:
        return [f"{manifest.at('')}: {manifest.kind} {manifest.name!r}: {error.message}"]
    return [
        f"{manifest.at(cause.field)}: {manifest.in_its_words(cause.field)}: {cause.message}" for cause in error.causes
    ]
