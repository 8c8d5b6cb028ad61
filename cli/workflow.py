"""The work of ``run`` and ``submit`` after their arguments are checked: connect, apply, start, follow, report."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from bubu_contract.submission import MAX_KEY_CHARACTERS
from cli.applying import apply_manifests, refuse_other_namespaces
from cli.builtfiles import BuiltFile
from cli.console import Console
from cli.embedded.folder import data_folder, make_folder, running
from cli.embedded.images import use_image_map
from cli.embedded.preloading import LoadingProcess
from cli.embedded.usage import open_cluster
from cli.exit_code import ExitCode
from cli.inputs import GivenInputs
from cli.interruption import run_async
from cli.live_runs import awaited_live_run, refuse_choices
from cli.manifests import Manifest
from cli.options import CommonOptions, DryRun
from cli.problem import CommandError, UsageError
from cli.pythonfiles import write_image_maps
from cli.references import refuse_missing
from cli.render.output import render
from cli.runs import is_name, run_manifest, start_run
from cli.secretnames import warn_of_missing
from cli.selection import refuse_unknown_story
from cli.session import Session, open_session, why_unreachable
from cli.storyinputs import fitting_inputs
from cli.watching import Watched, exit_after, stay
from core.api import keys
from core.api.objects import Object
from core.api.resource import OUR_RESOURCES, STORY, STORY_RUN
from core.kube.errors import AlreadyExistsError, NotFoundError
from core.story.story import read_story
from core.workloads.keyed_request import Decision, Difference, UnusableKeyError, decide, keyed_run
from core.workloads.live_run import is_always_on


def run_files(
    options: CommonOptions,
    manifests: Sequence[Manifest],
    story: str,
    given: GivenInputs,
    *,
    timeout: float | None,
    image_map: Path | None,
    python_files: Sequence[BuiltFile],
    cancel_on_interrupt: bool,
    exit_on_gate: bool,
    allow_workloads: bool,
    loading: LoadingProcess | None,
) -> None:
    """Apply ``manifests``, run ``story`` to its end and exit with the code of its phase.

    On the embedded cluster, ``python_files`` are the programs of their images; ``image_map`` wins. ``loading`` is a
    process for a new one.
    """
    refuse_other_namespaces(manifests, options.namespace)
    watched = Watched()
    document = next(m.document for m in manifests if m.kind == "Story" and m.name == story)

    async def work() -> ExitCode:
        console = Console(options)
        for warning in (each for manifest in manifests for each in manifest.warnings):
            console.note(f"warning: {warning}")
        if options.dry_run is DryRun.NONE:
            await confirm_foreign(console, manifests, allowed=allow_workloads)
        always_on = is_always_on(document.get("spec") or {})
        if always_on:
            refuse_choices(story, given)
        fitting = await fitting_inputs(console, document, given)
        async with _open_target(options, image_map, python_files, loading) as session:
            await refuse_missing(session, manifests)
            await apply_manifests(session, manifests, dry_run=options.dry_run is not DryRun.NONE)
            namespace = (document.get("metadata") or {}).get("namespace") or session.namespace
            session = session.in_namespace(namespace)
            if options.dry_run is not DryRun.NONE:
                session.console.note(f"{len(manifests)} manifests are valid; Story {story!r} would run")
                return ExitCode.DONE
            await warn_of_missing(session, document)
            if always_on:
                run = await awaited_live_run(session, story, namespace, seconds=timeout)
            else:
                run = await start_run(session, run_manifest(story, namespace, fitting))
            watched.knows(document)
            watched.begin(session, run)
            return await stay(
                watched,
                run,
                show=True,
                timeout=timeout,
                cancel_on_interrupt=cancel_on_interrupt,
                exit_on_gate=exit_on_gate,
            )

    exit_after(options, lambda: run_async(options, work), watched)


def submit(
    options: CommonOptions,
    wanted: Object | Callable[[Session], Awaitable[Object]],
    given: GivenInputs,
    *,
    key: str | None,
    wait: bool,
    show: bool,
    logs: bool,
    timeout: float | None,
    cancel_on_interrupt: bool,
    exit_on_gate: bool,
) -> None:
    """Create a run, or with ``key`` find the run of the key; stay with it if requested.

    ``wanted`` is the manifest, or a function that makes it from objects in the cluster. ``given`` is merged into its
    inputs.
    """
    watched = Watched()

    async def work() -> ExitCode:
        if options.dry_run is DryRun.CLIENT and not callable(wanted) and (reason := await why_unreachable(options)):
            Console(options).note(f"the inputs were not checked: {reason}")
            _print_unchecked(options, wanted, given, key)
            return ExitCode.DONE
        async with open_session(options) as session:
            manifest = await wanted(session) if callable(wanted) else wanted
            namespace = manifest["metadata"].get("namespace") or session.namespace
            session = session.in_namespace(namespace)
            story = await story_to_submit(session, manifest, namespace)
            watched.knows(story)
            spec = manifest["spec"]
            if is_always_on(story.get("spec") or {}):
                own = story["metadata"]
                refuse_choices(own["name"], given or spec.get("inputs"), manifest["metadata"].get("name"), key)
                run = await awaited_live_run(session, own["name"], own["namespace"], seconds=timeout)
                _print_started(session, run, run["metadata"]["name"], stays=wait)
                return await stay_if(wait, session, run)
            if inputs := await fitting_inputs(session.console, story, given, spec.get("inputs")):
                spec = {**spec, "inputs": inputs}
            complete = {**manifest, "metadata": {**manifest["metadata"], "namespace": namespace}, "spec": spec}
            if options.dry_run is DryRun.CLIENT:
                print_object(options, complete if key is None else with_key(complete, key, namespace))
                return ExitCode.DONE
            await warn_of_missing(session, story)
            stays = wait and options.dry_run is not DryRun.SERVER
            run = await _started(session, complete, key, stays=stays)
            return await stay_if(stays, session, run)

    async def stay_if(wished: bool, session: Session, run: Object) -> ExitCode:
        if not wished:
            return ExitCode.DONE
        watched.begin(session, run)
        return await stay(
            watched,
            run,
            show=show,
            logs=logs,
            timeout=timeout,
            cancel_on_interrupt=cancel_on_interrupt,
            exit_on_gate=exit_on_gate,
        )

    exit_after(options, lambda: run_async(options, work), watched)


async def _started(session: Session, manifest: Object, key: str | None, *, stays: bool) -> Object:
    """The started run; its name has been printed."""
    options = session.options
    dry_run = options.dry_run is DryRun.SERVER
    if key is not None:
        keyed = await start_once(session, with_key(manifest, key, manifest["metadata"]["namespace"]), dry_run=dry_run)
        run, line = keyed.run, f"{keyed.run['metadata']['name']} {keyed.decision}"
    else:
        run = await start_run(session, manifest, dry_run=dry_run)
        line = run["metadata"]["name"]
    _print_started(session, run, line, stays=stays)
    return run


def _print_unchecked(options: CommonOptions, manifest: Object, given: GivenInputs, key: str | None) -> None:
    """Print the run without its Story.

    Raises:
        UsageError: with a key, the run's name depends on a namespace that is not known.
    """
    spec = manifest["spec"]
    if inputs := given.over(spec.get("inputs") or {}):
        spec = {**spec, "inputs": inputs}
    complete = {**manifest, "spec": spec}
    if key is not None:
        namespace = manifest["metadata"].get("namespace") or options.namespace
        if not namespace:
            raise UsageError("the name that --key gives a run depends on its namespace", remedy="add --namespace")
        complete = with_key(complete, key, namespace)
    print_object(options, complete)


def _print_started(session: Session, run: Object, line: str, *, stays: bool) -> None:
    """A command that stays prints one document, the output of the run; so the name is a note where that is data."""
    output = session.options.output
    if output in ("table", "wide"):
        session.console.result(line)
    elif stays and output != "name":
        session.console.note(line)
    else:
        session.console.result(render([run], output, single=True))


def print_object(options: CommonOptions, obj: Object) -> None:
    output = "yaml" if options.output in ("table", "wide") else options.output
    Console(options).result(render([obj], output, single=True))


async def story_to_submit(session: Session, manifest: Object, namespace: str) -> Object:
    """Raises:
    CommandError: there is no such Story, so a run could only wait for it.
    """
    reference = (manifest.get("spec") or {}).get("storyRef") or {}
    name, namespace = str(reference.get("name") or ""), reference.get("namespace") or namespace
    if is_name(name):
        with suppress(NotFoundError):
            return await session.client.get(STORY, name, namespace)
    await refuse_unknown_story(session, name, namespace)
    raise CommandError(f"Story {name!r} has just been created in namespace {namespace}", remedy="submit it again")


@asynccontextmanager
async def _open_target(
    options: CommonOptions,
    image_map: Path | None,
    python_files: Sequence[BuiltFile],
    loading: LoadingProcess | None,
) -> AsyncIterator[Session]:
    """The cluster of the flags, otherwise the embedded one, which is started for this command if it is not up."""
    if options.kubeconfig or options.context:
        async with open_session(options) as session:
            yield session
        return
    data = data_folder(options.data)
    if running(data) is None:
        Console(options).note(f"starting the embedded cluster in {data}")
    if python_files or image_map is not None:
        make_folder(data)
        for map_file in write_image_maps(data, python_files, image_map):
            use_image_map(data, map_file)
    async with (
        open_cluster(data, image_map=image_map, loading=loading) as cluster,
        open_session(replace(options, local=False), on=cluster) as session,
    ):
        yield session


_DIFFERS: Final = {
    Difference.STORY: "runs another Story, or another version of it",
    Difference.IMPULSE: "was started by another Impulse",
    Difference.INPUTS: "other inputs",
}


@dataclass(frozen=True, slots=True)
class KeyedRun:
    decision: Decision
    """``CREATED`` or ``REUSED``."""
    run: Object


def with_key(manifest: Object, key: str, namespace: str) -> Object:
    """``manifest`` with the name and annotations for ``key``; ``namespace`` is that of the run.

    Raises:
        UsageError: the key cannot be used, or the manifest has its own name.
    """
    if manifest["metadata"].get("name"):
        raise UsageError("--key names the run", remedy="leave out the other name")
    try:
        return keyed_run(manifest, key, namespace)
    except UnusableKeyError as error:
        raise UsageError(f"--key must have 1 to {MAX_KEY_CHARACTERS} characters") from error


async def start_once(session: Session, manifest: Object, *, dry_run: bool = False) -> KeyedRun:
    """Create the run of a manifest from ``with_key``, or find it.

    Raises:
        CommandError: the key belongs to another request (code 7), or its run is being deleted.
    """
    metadata = manifest["metadata"]
    try:
        created = await session.client.create(STORY_RUN, manifest, namespace=metadata["namespace"], dry_run=dry_run)
    except AlreadyExistsError:
        found = await session.client.get(STORY_RUN, metadata["name"], metadata["namespace"])
    else:
        return KeyedRun(Decision.CREATED, created)
    key, name = metadata["annotations"][keys.ANNOTATION_TRIGGER_TOKEN], metadata["name"]
    answer = decide(manifest, found)
    if answer.decision is Decision.PENDING:
        raise CommandError(f"run {name}, which has the key {key!r}, is being deleted", remedy="try again in a moment")
    if answer.difference is not None:
        raise CommandError(
            f"Rejected: run {name} has the key {key!r} and {_DIFFERS[answer.difference]}",
            remedy=f"choose another key, or look at it with: {session.command('get', name)}",
            code=ExitCode.REJECTED,
        )
    return KeyedRun(answer.decision, found)


FLAG: Final = "--allow-workloads"
_OURS: Final = frozenset(resource.group for resource in OUR_RESOURCES)
_PLAIN: Final = frozenset(
    {
        ("", "Namespace"),
        ("", "ConfigMap"),
        ("", "Secret"),
        ("", "ServiceAccount"),
        ("", "PersistentVolumeClaim"),
        ("", "LimitRange"),
        ("", "ResourceQuota"),
    }
)
"""Kinds that have data or set limits, and run nothing."""
_MOST_SHOWN: Final = 10


async def confirm_foreign(console: Console, manifests: Iterable[Manifest], *, allowed: bool) -> None:
    """Return if the files contain no commands of their own, or the user agrees.

    Raises:
        CommandError: the user does not agree, or cannot be asked; code REJECTED. Nothing was applied.
    """
    found = list(foreign(manifests))
    if not found or allowed:
        return
    shown = _listed(found)
    if console.can_ask:
        console.note(
            "These documents may run commands with your permissions, or change more than a run of a Story does:\n"
            f"{shown}"
        )
        if await console.confirm("apply them?"):
            return
        raise CommandError("nothing was applied", code=ExitCode.REJECTED)
    if console.says_yes:
        return
    raise CommandError(
        f"these documents may run commands with your permissions, or change more than a run of a Story does:\n{shown}",
        code=ExitCode.REJECTED,
        remedy=f"read them; to apply them, add {FLAG}",
    )


def foreign(manifests: Iterable[Manifest]) -> Iterator[str]:
    """``file:line: what`` for each document that may run commands of its author."""
    for manifest in manifests:
        group, slash, _ = str(manifest.document.get("apiVersion") or "").rpartition("/")
        identity = (group if slash else "", manifest.kind)
        if identity[0] in _OURS:
            for path in commands_in(manifest.document):
                yield f"{manifest.at(path)}: {manifest.kind} {manifest.name!r} runs a command ({path})"
        elif identity not in _PLAIN:
            yield f"{manifest.at('kind')}: {manifest.kind} {manifest.name!r}"


def commands_in(document: Mapping[str, Any]) -> Iterator[str]:
    """Paths at which a document has a command of its own: scripts of a Story, as it is stored; of a template, in
    probes, and for an image without an SDK.

    Arguments alone are a command, too, where the image map names no program for the image.
    """
    if document.get("kind") == "Story":
        yield from (f"{step.place}.run" for step in read_story(document).every_step() if step.declared.get("run"))
        return
    container = _block(_block(document, "spec"), "container")
    yield from (f"spec.container.{key}" for key in ("command", "args") if container.get(key))
    probes = _block(_block(_block(document, "spec"), "execution"), "probes")
    for name, probe in probes.items():
        if _block(probe, "exec"):
            yield f"spec.execution.probes.{name}.exec"


def _block(value: Any, key: str) -> Mapping[str, Any]:
    found = value.get(key) if isinstance(value, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _listed(found: Sequence[str]) -> str:
    lines = [f"  {each}" for each in found[:_MOST_SHOWN]]
    if len(found) > _MOST_SHOWN:
        lines.append(f"  and {len(found) - _MOST_SHOWN} more")
    return "\n".join(lines)
