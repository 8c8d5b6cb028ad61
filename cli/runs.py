"""Finds runs by name, prefix or ``@latest``; starts a run; follows a run as it changes."""

from __future__ import annotations

import re
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import trio

from bubu_contract.identity import label_value
from cli.exit_code import ExitCode
from cli.live_runs import live_run_named
from cli.object_store import find_stores, operator_settings
from cli.problem import CommandError, UsageError
from cli.selection import age_order
from cli.session import Session, patiently
from cli.streams import bindings_informer, bindings_of, has_streams, may_stream
from core.api import keys
from core.api.objects import Object, is_owned_by, packet_step
from core.api.resource import CONTROLLER_REVISION, POD, STEP_RUN, STORY, STORY_RUN
from core.kube.errors import AlreadyExistsError, ForbiddenError, KubeError, NotFoundError
from core.kube.informer import Informer
from core.payloads.address import Folder, ObjectPlace
from core.payloads.dehydrate import OffloadBounds, PlannedObject, plan, size_bytes
from core.payloads.errors import StoreUnavailableError
from core.payloads.several import for_several
from core.policy.settings import OperatorSettings, StorageProvider
from core.story.realtime import story_of_step
from views.run_view import CommandText, RunView, plain_command, view_run

LATEST: Final = "@latest"
_STORY_SECONDS: Final = 30.0
"""How long a run is not shown because its Story cannot be read."""
_MAX_NAME: Final = 253
_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")


async def find_run(session: Session, reference: str) -> Object:
    """The run that ``reference`` names: a name, a Story that is always on, ``@latest``, ``@latest:STORY`` or a prefix
    that only one run has.

    Raises:
        CommandError: there is none, or more than one.
    """
    if is_name(reference):
        try:
            return await session.client.get(STORY_RUN, reference, session.namespace)
        except NotFoundError:
            pass
        kept = await live_run_named(session, reference)
        if kept is not None:
            return kept
    runs = (await session.client.list(STORY_RUN, session.namespace)).items
    if reference.startswith("@"):
        return _latest(runs, reference, session.namespace)
    matching = [run for run in runs if reference and run["metadata"]["name"].startswith(reference)]
    if len(matching) == 1:
        return matching[0]
    if matching:
        names = ", ".join(sorted(run["metadata"]["name"] for run in matching)[:5])
        raise CommandError(
            f"{reference!r} is a prefix of {len(matching)} runs: {names}", remedy="give more characters of the name"
        )
    raise CommandError(
        f"no StoryRun {reference!r} in namespace {session.namespace}", remedy="see them with: bobrapet list"
    )


def is_name(text: str) -> bool:
    """Whether it is a valid name of an object; otherwise a request is useless."""
    return len(text) <= _MAX_NAME and _NAME.fullmatch(text) is not None


async def story_of(session: Session, run: Object) -> Object | None:
    """The Story as the run executes it, otherwise as it is now; None if it was deleted."""
    return await pinned_story_of(session, run) or await live_story_of(session, run)


async def visible_story_of(session: Session, run: Object) -> Object | None:
    """``story_of``, but None if the user may not read it: a run shows much without it."""
    try:
        return await story_of(session, run)
    except ForbiddenError:
        return None


async def live_story_of(session: Session, run: Object) -> Object | None:
    """The Story of a run as it is now; None if it was deleted."""
    namespace, name = story_place(run)
    try:
        return await session.client.get(STORY, name, namespace)
    except NotFoundError:
        return None


async def pinned_story_of(session: Session, run: Object) -> Object | None:
    """The Story as it was when the run began, or the step of it that a packet runs; None if the user may not read
    it.
    """
    revision = (run.get("status") or {}).get("storyRevision")
    if not isinstance(revision, str) or not is_name(revision):
        return None
    try:
        kept = await session.client.get(CONTROLLER_REVISION, revision, story_place(run)[0])
    except (ForbiddenError, NotFoundError):
        return None
    data = kept.get("data")
    if not isinstance(data, dict) or not isinstance(data.get("spec"), dict):
        return None
    step = packet_step(run)
    return story_of_step(data, step, run["spec"].get("inputs") or {}) or data if step else data


def story_place(run: Object) -> tuple[str, str]:
    """Namespace and name of the Story of a run."""
    reference = run["spec"].get("storyRef") or {}
    return reference.get("namespace") or run["metadata"]["namespace"], reference.get("name", "")


async def step_runs_of(session: Session, run: Object) -> list[Object]:
    """The StepRuns that the run controls."""
    selector = f"{keys.LABEL_STORY_RUN}={label_value(run['metadata']['name'])}"
    found = await session.client.list(STEP_RUN, run["metadata"]["namespace"], label_selector=selector)
    uid = run["metadata"]["uid"]
    return [step for step in found.items if is_owned_by(step, uid)]


async def look_at(session: Session, run: Object) -> RunView:
    story = await visible_story_of(session, run)
    step_runs = await step_runs_of(session, run)
    return view_run(
        run,
        story,
        step_runs,
        await pods_of(session, run),
        await bindings_of(session, run) if has_streams(story, step_runs) else (),
        command=session.command,
    )


async def pods_of(session: Session, run: Object, *, tolerant: bool = True) -> list[Object]:
    """The Pods of the run's steps, oldest first; if ``tolerant``, none if the user may not see them."""
    selector = f"{keys.LABEL_STORY_RUN}={label_value(run['metadata']['name'])}"
    try:
        found = await session.client.list(POD, run["metadata"]["namespace"], label_selector=selector)
    except ForbiddenError:
        if not tolerant:
            raise
        return []
    return _by_age(found.items)


async def pods_of_pools(session: Session, run: Object, pools: Sequence[str]) -> list[Object]:
    """The Pods of the pools of warm workers, oldest first.

    Raises:
        ForbiddenError: the user may not see them.
    """
    selector = f"{keys.LABEL_WORKER_POOL} in ({','.join(pools)})"
    found = await session.client.list(POD, run["metadata"]["namespace"], label_selector=selector)
    return _by_age(found.items)


def run_manifest(story: str, namespace: str, inputs: dict[str, Any], *, name: str = "") -> Object:
    """A StoryRun of ``story``; without ``name`` the API server chooses one."""
    metadata: Object = {"namespace": namespace}
    metadata |= {"name": name} if name else {"generateName": f"{story[: _MAX_NAME - 6]}-"}
    spec: Object = {"storyRef": {"name": story}}
    if inputs:
        spec["inputs"] = inputs
    return {"apiVersion": STORY_RUN.api_version, "kind": STORY_RUN.kind, "metadata": metadata, "spec": spec}


def without_cached_outputs(manifest: Object) -> Object:
    """The StoryRun with the annotation that makes its steps execute whatever the output cache has."""
    return with_annotation(manifest, keys.ANNOTATION_CACHE_LOOKUP, "false")


def with_annotation(manifest: Object, key: str, value: str) -> Object:
    """The object with this annotation beside its own."""
    metadata = manifest["metadata"]
    annotations = {**(metadata.get("annotations") or {}), key: value}
    return {**manifest, "metadata": {**metadata, "annotations": annotations}}


async def start_run(session: Session, manifest: Object, *, dry_run: bool = False) -> Object:
    """Create the run. Large inputs are stored first.

    Raises:
        CommandError: a run of that name exists, or its inputs cannot be stored.
    """
    manifest = await with_stored_inputs(session, manifest, dry_run=dry_run)
    namespace = manifest["metadata"].get("namespace") or session.namespace
    try:
        return await session.client.create(STORY_RUN, manifest, namespace=namespace, dry_run=dry_run)
    except AlreadyExistsError:
        name = manifest["metadata"]["name"]
        raise CommandError(
            f"StoryRun {name!r} exists already", remedy="choose another --name, or leave it out", code=ExitCode.REJECTED
        ) from None


@dataclass
class Following:
    """A run that watches keep up to date; ``changed`` is replaced after each change."""

    run: Object
    story: Object | None
    read_step_runs: Callable[[], list[Object]]
    read_pods: Callable[[], list[Object]]
    read_run: Callable[[], Object | None]
    read_problem: Callable[[], KubeError | None]
    read_bindings: Callable[[], list[Object]] = list
    command: CommandText = plain_command
    changed: trio.Event = field(default_factory=trio.Event)

    def view(self) -> RunView:
        """The current view; a deleted run keeps its last known state."""
        self.run = self.read_run() or self.run
        return view_run(
            self.run,
            self.story,
            self.read_step_runs(),
            self.read_pods(),
            self.read_bindings(),
            command=self.command,
        )

    @property
    def deleted(self) -> bool:
        return self.read_run() is None

    @property
    def problem(self) -> str:
        """Why no changes can be received at the moment; empty if they can."""
        error = self.read_problem()
        return f"no answer from the API server: {error}" if error else ""


@asynccontextmanager
async def open_following(session: Session, run: Object) -> AsyncIterator[Following]:
    """Watch a run and its StepRuns until the block ends."""
    namespace, name = run["metadata"]["namespace"], run["metadata"]["name"]
    runs = Informer(session.client, STORY_RUN, namespace=namespace, field_selector=f"metadata.name={name}")
    steps = Informer(
        session.client,
        STEP_RUN,
        namespace=namespace,
        label_selector=f"{keys.LABEL_STORY_RUN}={label_value(name)}",
    )
    pods = Informer(
        session.client,
        POD,
        namespace=namespace,
        label_selector=f"{keys.LABEL_STORY_RUN}={label_value(name)}",
        trim=_progress_of_pod,
    )
    story = None
    with trio.move_on_after(_STORY_SECONDS):
        story = await patiently(lambda: visible_story_of(session, run))
    bindings = bindings_informer(session, run) if may_stream(story) else None
    following = Following(
        run,
        story,
        read_step_runs=lambda: steps.list(namespace),
        read_pods=lambda: _by_age(pods.list(namespace)),
        read_run=lambda: runs.get(namespace, name),
        read_problem=lambda: runs.last_error or steps.last_error,
        read_bindings=lambda: bindings.list(namespace) if bindings is not None else [],
        command=session.command,
    )

    def on_change(_: object) -> None:
        following.changed.set()
        following.changed = trio.Event()

    runs.add_handler(on_change)
    steps.add_handler(on_change)
    pods.add_handler(on_change)
    async with trio.open_nursery() as nursery:
        await nursery.start(runs.run)
        await nursery.start(steps.run)
        nursery.start_soon(pods.run)  # they only explain: not waited for, and some users may not see them
        if bindings is not None:
            bindings.add_handler(on_change)
            nursery.start_soon(bindings.run)
        yield following
        nursery.cancel_scope.cancel()


def _progress_of_pod(pod: Object) -> Object:
    """What a view needs. A whole Pod is so large that it would be parsed again for each view."""
    metadata = {name: value for name, value in pod["metadata"].items() if name not in ("annotations", "managedFields")}
    return {"metadata": metadata, "status": pod.get("status") or {}}


def _by_age(pods: list[Object]) -> list[Object]:
    return sorted(pods, key=lambda pod: (pod["metadata"]["creationTimestamp"], pod["metadata"]["name"]))


def _is_child(run: Object) -> bool:
    return keys.LABEL_PARENT_STORY_RUN in (run["metadata"].get("labels") or {})


def _latest(runs: list[Object], reference: str, namespace: str) -> Object:
    word, _, story = reference.partition(":")
    if word != LATEST:
        raise UsageError(f"unknown reference {reference!r}", remedy=f"write {LATEST} or {LATEST}:STORY")
    candidates = [run for run in runs if not story or run["spec"]["storyRef"]["name"] == story]
    if not story:  # runs that people started, not those that steps started
        candidates = [run for run in candidates if not _is_child(run)] or candidates
    if not candidates:
        what = f" of Story {story!r}" if story else ""
        raise CommandError(f"there is no run{what} in namespace {namespace}", remedy="start one with: bobrapet submit")
    return max(candidates, key=age_order)


_LEAST_BYTES: Final = 1024
"""Inputs of this size fit, unless an administrator has set a smaller limit; then admission says so."""
_AT_ONCE: Final = 4
_SUFFIX_LETTERS: Final = "bcdfghjklmnpqrstvwxz2456789"
"""As the API server chooses names."""
_SUFFIX_LENGTH: Final = 5
_REMEDY: Final = "give smaller inputs, or store them yourself and pass a reference"


async def with_stored_inputs(session: Session, manifest: Object, *, dry_run: bool = False) -> Object:
    """``manifest``, with references instead of inputs that are too large for it; nothing is stored by a dry run.

    It stays as it is if the operator has no store or its settings cannot be read: then admission says what is wrong.
    A run whose name the API server should choose gets one here, because the keys of the objects have it.

    Raises:
        CommandError: the store cannot be opened, or does not accept the objects.
    """
    inputs = manifest["spec"].get("inputs")
    if not inputs or size_bytes(inputs) <= _LEAST_BYTES:
        return manifest
    settings = await _settings(session)
    limit = settings.runs.max_inline_inputs_size_bytes
    if settings.storage.provider is StorageProvider.NONE or size_bytes(inputs) <= limit:
        return manifest
    named = _named(manifest)
    namespace = named["metadata"].get("namespace") or session.namespace
    place = ObjectPlace(Folder.INPUTS, namespace, named["metadata"]["name"])
    planned = plan(inputs, place, OffloadBounds(limit, limit, settings.engram.max_recursion_depth))
    if not dry_run:
        await _store(session, namespace, planned.objects)
    return {**named, "spec": {**named["spec"], "inputs": planned.remaining}}


async def _settings(session: Session) -> OperatorSettings:
    try:
        return await operator_settings(session, _REMEDY)
    except CommandError:
        return OperatorSettings()


def _named(manifest: Object) -> Object:
    metadata: dict[str, Any] = dict(manifest["metadata"])
    if not metadata.get("name"):
        prefix = metadata.pop("generateName")
        metadata["name"] = prefix + "".join(secrets.choice(_SUFFIX_LETTERS) for _ in range(_SUFFIX_LENGTH))
    return {**manifest, "metadata": metadata}


async def _store(session: Session, namespace: str, objects: tuple[PlannedObject, ...]) -> None:
    store = (await find_stores(session, remedy=_REMEDY)).of(namespace)

    async def write(each: PlannedObject) -> None:
        await store.write(each.key, each.content)

    try:
        await for_several(objects, write, at_once=_AT_ONCE, failures=(StoreUnavailableError,))
    except StoreUnavailableError as error:
        raise CommandError(f"the inputs could not be stored: {error}", remedy=_REMEDY) from error
    total = sum(len(each.content) for each in objects)
    session.console.note(f"{total:,} bytes of inputs were stored in the operator's object store")
