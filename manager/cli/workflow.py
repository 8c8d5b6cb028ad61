"""What ``run`` and ``submit`` do once their arguments are in order: connect, apply, start, follow, report."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import trio

from core.api.resource import STORY, STORY_RUN
from core.api.suggestion import closest
from core.kube.errors import NotFoundError
from manager.cli.applying import apply_manifests
from manager.cli.console import Console
from manager.cli.display import exit_code_of, show_until_done
from manager.cli.exit_code import ExitCode
from manager.cli.manifests import Manifest
from manager.cli.options import CommonOptions, DryRun
from manager.cli.problem import CommandError, UsageError
from manager.cli.references import refuse_missing
from manager.cli.render.output import render, yaml_text
from manager.cli.runs import find_run, open_following, run_manifest, start_run
from manager.cli.session import InterruptedBySignalError, Session, open_session, run_async
from manager.cli.steplogs import failure_report, print_logs
from manager.cli.view import RunView
from manager.embedded.folder import data_folder, running
from manager.embedded.usage import open_cluster

Object = dict[str, Any]

CANCEL_DEADLINE_SECONDS: Final = 10.0


def run_files(
    options: CommonOptions,
    manifests: Sequence[Manifest],
    story: str,
    inputs: Object,
    *,
    timeout: float | None,
    image_map: Path | None,
    cancel_on_interrupt: bool,
) -> None:
    """Apply ``manifests``, run ``story`` to its end and exit with the code of its phase."""
    following = _Followed()
    document = next(m.document for m in manifests if m.kind == "Story" and m.name == story)

    async def work() -> ExitCode:
        await refuse_unfit_inputs(document, inputs)
        async with _open_target(options, image_map) as session:
            following.session = session
            await refuse_missing(session, manifests)
            await apply_manifests(session, manifests, dry_run=options.dry_run is not DryRun.NONE)
            namespace = (document.get("metadata") or {}).get("namespace") or session.namespace
            manifest = run_manifest(story, namespace, inputs)
            if options.dry_run is not DryRun.NONE:
                session.console.note(f"{len(manifests)} manifests are in order; Story {story!r} would run")
                return ExitCode.DONE
            run = await start_run(session, manifest)
            following.run = run["metadata"]["name"]
            try:
                return await _follow(session, run, show=True, logs=False, timeout=timeout)
            finally:
                interrupted = trio.current_effective_deadline() == float("-inf")
                if cancel_on_interrupt and interrupted:
                    following.canceled = await _cancel_and_wait(session, run)

    _exit(options, lambda: run_async(options, work), following)


def submit(
    options: CommonOptions, manifest: Object, *, stay: bool, show: bool, logs: bool, timeout: float | None
) -> None:
    """Create a run; stay with it when asked to."""
    following = _Followed()

    async def work() -> ExitCode:
        async with open_session(options) as session:
            following.session = session
            metadata = {**manifest["metadata"], "namespace": manifest["metadata"].get("namespace") or session.namespace}
            story = await _story_to_submit(session, manifest, metadata["namespace"])
            await refuse_unfit_inputs(story, (manifest.get("spec") or {}).get("inputs") or {})
            run = await start_run(session, {**manifest, "metadata": metadata}, dry_run=options.dry_run is DryRun.SERVER)
            if options.output != "table":
                session.console.result(render([run], options.output, single=True))
            else:
                session.console.result(run["metadata"]["name"])
            if not stay or options.dry_run is DryRun.SERVER:
                return ExitCode.DONE
            following.run = run["metadata"]["name"]
            return await _follow(session, run, show=show, logs=logs, timeout=timeout)

    _exit(options, lambda: run_async(options, work), following)


def print_object(options: CommonOptions, obj: Object) -> None:
    output = "yaml" if options.output == "table" else options.output
    Console(options).result(render([obj], output, single=True))


async def request_cancel(session: Session, run: Object) -> None:
    """Ask the operator to cancel; idempotent."""
    metadata = run["metadata"]
    await session.client.patch(
        STORY_RUN, metadata["name"], {"spec": {"cancelRequested": True}}, namespace=metadata["namespace"]
    )


async def refuse_unfit_inputs(story: Object, inputs: Object) -> None:
    """Say at once what the run would fail with.

    Raises:
        UsageError: the inputs break the Story's ``inputsSchema``; every problem.
    """
    schema = (story.get("spec") or {}).get("inputsSchema")
    if not isinstance(schema, dict):
        return
    from core.evaluation.schema import apply_schema_defaults
    from core.evaluation.validation import SchemaValidator

    problems = await SchemaValidator().problems(schema, apply_schema_defaults(schema, inputs))
    if problems:
        name = story["metadata"]["name"]
        raise UsageError(
            "\n".join([f"the inputs do not fit Story {name!r}:", *(f"  inputs: {problem}" for problem in problems)]),
            remedy="give them with -i key=value (key:=value is always text) or --inputs FILE",
        )


async def _story_to_submit(session: Session, manifest: Object, namespace: str) -> Object:
    """Raises:
    CommandError: there is none, so a run could only wait for it.
    """
    reference = (manifest.get("spec") or {}).get("storyRef") or {}
    name, namespace = str(reference.get("name") or ""), reference.get("namespace") or namespace
    try:
        return await session.client.get(STORY, name, namespace)
    except NotFoundError:
        known = [story["metadata"]["name"] for story in (await session.client.list(STORY, namespace)).items]
        near = closest(name, known)
        remedy = f"did you mean {near!r}?" if near else f"there are: {', '.join(sorted(known)) or 'none'}"
        raise CommandError(f"no Story {name!r} in namespace {namespace}", remedy=remedy) from None


async def _cancel_and_wait(session: Session, run: Object) -> bool:
    """Whether the run has ended before the deadline of a command that is about to end itself."""
    with trio.CancelScope(shield=True, deadline=trio.current_time() + CANCEL_DEADLINE_SECONDS):
        await request_cancel(session, run)
        quiet = replace(session, options=replace(session.options, quiet=True))
        async with open_following(session, run) as following:
            await show_until_done(quiet, following)
        return True
    return False


async def _follow(session: Session, run: Object, *, show: bool, logs: bool, timeout: float | None) -> ExitCode:
    quiet = session if show else replace(session, options=replace(session.options, quiet=True))
    async with open_following(session, run) as following, trio.open_nursery() as nursery:
        if logs:
            nursery.start_soon(partial(print_logs, session, run, steps=(), follow=True))
        view = await show_until_done(quiet, following, timeout=timeout)
    await _report(session, view)
    return exit_code_of(view)


async def _report(session: Session, view: RunView) -> None:
    """The output of a run that succeeded; of one that did not, what a person needs to go on."""
    console = session.console
    if exit_code_of(view) is not ExitCode.DONE:
        console.note(await failure_report(session, await find_run(session, view.name), view))
    elif view.output is not None:
        console.note(f"{view.name} {view.phase}; its output, again with: {session.command('outputs', view.name)}")
    else:
        console.note(
            f"{view.name} {view.phase}; the Story declares no output, those of its steps: "
            f"{session.command('outputs', view.name, 'STEP')}"
        )
    if view.output is not None:
        output = session.options.output
        text = yaml_text(view.output) if output in ("table", "yaml") else json.dumps(view.output, ensure_ascii=False)
        console.result(text)


@dataclass
class _Followed:
    """What there is to say when a command stops following."""

    session: Session | None = None
    run: str = ""
    canceled: bool = False

    def farewell(self) -> str:
        """The way back to the run; empty when none was started."""
        if self.session is None or not self.run:
            return ""
        if self.canceled:
            return f"{self.run} was canceled"
        cluster = self.session.embedded
        goes_on = (
            "it waits until its embedded cluster is up again"
            if cluster is not None and cluster.on_demand
            else "the run goes on"
        )
        return (
            f"detached from {self.run}; {goes_on}: {self.session.command('watch', self.run)}\n"
            f"cancel it with: {self.session.command('cancel', self.run)}"
        )


@asynccontextmanager
async def _open_target(options: CommonOptions, image_map: Path | None) -> AsyncIterator[Session]:
    """The cluster of the flags, else the embedded one, started for the occasion when it is not up."""
    if options.kubeconfig or options.context:
        async with open_session(options) as session:
            yield session
        return
    data = data_folder(options.data)
    if running(data) is None:
        Console(options).note(f"starting the embedded cluster in {data}")
    async with (
        open_cluster(data, image_map=image_map) as cluster,
        open_session(replace(options, local=False), on=cluster) as session,
    ):
        yield session


def _exit(options: CommonOptions, work: Callable[[], ExitCode], following: _Followed) -> None:
    """Leave with the code of ``work``; Ctrl-C detaches and says how to come back."""
    import typer

    try:
        code = work()
    except InterruptedBySignalError as interruption:
        if farewell := following.farewell():
            Console(options).note(farewell)
        code = interruption.code
    raise typer.Exit(int(code))
