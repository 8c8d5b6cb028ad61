"""What ``run`` and ``submit`` do once their arguments are in order: connect, apply, start, follow, report."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import trio

from core.api.resource import STORY_RUN
from manager import embedded
from manager.cli.applying import apply_manifests
from manager.cli.console import Console
from manager.cli.display import exit_code_of, show_until_done
from manager.cli.exit_code import ExitCode
from manager.cli.manifests import Manifest
from manager.cli.options import CommonOptions, DryRun
from manager.cli.problem import CommandError
from manager.cli.render.output import render, yaml_text
from manager.cli.runs import find_run, open_following, run_manifest, start_run
from manager.cli.session import InterruptedBySignalError, Session, open_session, run_async
from manager.cli.steplogs import failure_report, print_logs
from manager.cli.view import RunView

Object = dict[str, Any]


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
    started: list[str] = []

    async def work() -> ExitCode:
        async with _open_target(options, image_map) as session:
            await apply_manifests(session, manifests, dry_run=options.dry_run is not DryRun.NONE)
            manifest = run_manifest(story, session.namespace, inputs)
            if options.dry_run is not DryRun.NONE:
                session.console.note(f"{len(manifests)} manifests are in order; Story {story!r} would run")
                return ExitCode.DONE
            run = await start_run(session, manifest)
            started.append(run["metadata"]["name"])
            try:
                return await _follow(session, run, show=True, logs=False, timeout=timeout)
            except trio.Cancelled:
                if cancel_on_interrupt:
                    with trio.CancelScope(shield=True, deadline=trio.current_time() + 10):
                        await request_cancel(session, run)
                raise

    _exit(options, lambda: run_async(options, work), started)


def submit(
    options: CommonOptions, manifest: Object, *, stay: bool, show: bool, logs: bool, timeout: float | None
) -> None:
    """Create a run; stay with it when asked to."""
    started: list[str] = []

    async def work() -> ExitCode:
        async with open_session(options) as session:
            metadata = {**manifest["metadata"], "namespace": manifest["metadata"].get("namespace") or session.namespace}
            run = await start_run(session, {**manifest, "metadata": metadata}, dry_run=options.dry_run is DryRun.SERVER)
            started.append(run["metadata"]["name"])
            if options.output != "table":
                session.console.result(render([run], options.output, single=True))
            else:
                session.console.result(run["metadata"]["name"])
            if not stay or options.dry_run is DryRun.SERVER:
                return ExitCode.DONE
            return await _follow(session, run, show=show, logs=logs, timeout=timeout)

    _exit(options, lambda: run_async(options, work), started)


def print_object(options: CommonOptions, obj: Object) -> None:
    output = "yaml" if options.output == "table" else options.output
    Console(options).result(render([obj], output, single=True))


async def request_cancel(session: Session, run: Object) -> None:
    """Ask the operator to cancel; idempotent."""
    metadata = run["metadata"]
    await session.client.patch(
        STORY_RUN, metadata["name"], {"spec": {"cancelRequested": True}}, namespace=metadata["namespace"]
    )


async def _follow(session: Session, run: Object, *, show: bool, logs: bool, timeout: float | None) -> ExitCode:
    quiet = session if show else replace(session, options=replace(session.options, quiet=True))
    async with open_following(session, run) as following:
        view = await show_until_done(quiet, following, timeout=timeout)
    if logs:
        await print_logs(session, run, steps=(), follow=False)
    await _report(session, view)
    return exit_code_of(view)


async def _report(session: Session, view: RunView) -> None:
    """The output of a run that succeeded; of one that did not, what a person needs to go on."""
    code = exit_code_of(view)
    if code is not ExitCode.DONE:
        session.console.note(await failure_report(session, await find_run(session, view.name), view))
    if view.output is not None:
        output = session.options.output
        text = yaml_text(view.output) if output in ("table", "yaml") else json.dumps(view.output, ensure_ascii=False)
        session.console.result(text)


@asynccontextmanager
async def _open_target(options: CommonOptions, image_map: Path | None) -> AsyncIterator[Session]:
    """The cluster of the flags, else the embedded one, started for the occasion when it is not up."""
    if options.kubeconfig or options.context:
        async with open_session(options) as session:
            yield session
        return
    data = embedded.data_folder(options.data)
    if embedded.running(data) is None:
        Console(options).note(f"starting the embedded cluster in {data}")
    async with (
        embedded.open_cluster(data, image_map=image_map) as cluster,
        open_session(replace(options, kubeconfig=cluster.kubeconfig, local=False)) as session,
    ):
        yield session


def _exit(options: CommonOptions, work: Any, started: list[str]) -> None:
    """Leave with the code of ``work``; Ctrl-C detaches and says how to come back."""
    import typer

    try:
        code = work()
    except InterruptedBySignalError as interruption:
        console = Console(options)
        for name in started:
            console.note(
                f"detached; the run goes on where its cluster does: bobrapet watch {name}\n"
                f"cancel it with: bobrapet cancel {name}"
            )
        code = interruption.code
    except embedded.EmbeddedError as error:
        raise CommandError(str(error)) from None
    raise typer.Exit(int(code))
