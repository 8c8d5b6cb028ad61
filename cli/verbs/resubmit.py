"""``resubmit``: start a new run like an old one."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer

from cli.arguments import (
    CancelOnInterrupt,
    ExitOnGate,
    InputPairs,
    InputsFile,
    LogsOption,
    NoCache,
    ReuseCache,
    RunArgument,
    TimeoutOption,
    WaitOption,
    WatchOption,
)
from cli.completing import is_called
from cli.durations import seconds_of
from cli.inputs import parse_inputs
from cli.options import DRY_RUN, QUESTIONS, CommonOptions, with_common_options
from cli.problem import UsageError
from core.api import keys
from core.api.objects import Object

if is_called():
    from cli import workflow
    from cli.runs import find_run, run_manifest, with_annotation, without_cached_outputs
    from cli.session import Session


def register(app: typer.Typer) -> None:
    app.command("resubmit")(with_common_options(resubmit, also=QUESTIONS | DRY_RUN))


def resubmit(
    options: CommonOptions,
    run: RunArgument,
    inputs: InputPairs = None,
    inputs_file: InputsFile = None,
    name: Annotated[str, typer.Option("--name", help="Name of the run; default: STORY and a random ending.")] = "",
    wait: WaitOption = False,
    watch: WatchOption = False,
    logs: LogsOption = False,
    timeout: TimeoutOption = "",
    exit_on_gate: ExitOnGate = False,
    cancel_on_interrupt: CancelOnInterrupt = False,
    no_cache: NoCache = False,
    reuse_cache: ReuseCache = False,
) -> None:
    """Start a new run with the inputs of an earlier one, changed by -i and --inputs; print its name.

    Even with --reuse-cache, steps with side effects, compensations and finally steps execute.
    """
    if no_cache and reuse_cache:
        raise UsageError("--no-cache and --reuse-cache exclude each other", remedy="leave out one of them")
    changes = parse_inputs(inputs or (), inputs_file)

    async def manifest(session: Session) -> dict[str, Any]:
        earlier = await find_run(session, run)
        found = like(earlier, name=name)
        if reuse_cache and (why := why_nothing_is_reused(earlier)):
            session.console.note(why)
        return without_cached_outputs(found) if no_cache else reusing(found, earlier) if reuse_cache else found

    workflow.submit(
        options,
        manifest,
        changes,
        key=None,
        wait=wait or watch or logs or exit_on_gate,
        show=watch,
        logs=logs,
        timeout=seconds_of("--timeout", timeout),
        cancel_on_interrupt=cancel_on_interrupt,
        exit_on_gate=exit_on_gate,
    )


_KEPT_OF_REFERENCE: Final = ("name", "namespace", "version")
"""Not the UID: a Story that was deleted and created again is the right one, too."""


def like(run: Object, *, name: str = "") -> Object:
    """The manifest of the new run."""
    reference = run["spec"].get("storyRef") or {}
    inputs = run["spec"].get("inputs") or {}
    manifest = run_manifest(reference.get("name", ""), run["metadata"]["namespace"], inputs, name=name)
    manifest["spec"]["storyRef"] = {key: reference[key] for key in _KEPT_OF_REFERENCE if reference.get(key)}
    return manifest


def reusing(manifest: Object, earlier: Object) -> Object:
    """The manifest with the annotation by which the new run may take outputs of ``earlier``."""
    return with_annotation(manifest, keys.ANNOTATION_CACHE_REUSE, earlier["metadata"]["name"])


def why_nothing_is_reused(earlier: Object) -> str:
    """Why a run has no outputs that another one could take, for people; empty if it may have some."""
    name, cleaned_at = earlier["metadata"]["name"], (earlier.get("status") or {}).get("childrenCleanedAt")
    return f"nothing can be reused: the StepRuns of {name} were deleted at {cleaned_at}" if cleaned_at else ""
