"""``submit``: start a run of a Story."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cli.arguments import CancelOnInterrupt, ExitOnGate, InputPairs, InputsFile, NoCache, StoryArgument, TimeoutOption
from cli.completing import is_called
from cli.durations import seconds_of
from cli.inputs import parse_inputs
from cli.manifests import load_manifests
from cli.options import DRY_RUN, QUESTIONS, CommonOptions, with_common_options
from cli.problem import CommandError, UsageError

if is_called():
    from cli import workflow
    from cli.applying import refuse_other_namespaces
    from cli.runs import run_manifest, without_cached_outputs


def register(app: typer.Typer) -> None:
    app.command("submit")(with_common_options(submit, also=QUESTIONS | DRY_RUN))


def submit(
    options: CommonOptions,
    story: StoryArgument = "",
    file: Annotated[str, typer.Option("--filename", "-f", help="A StoryRun manifest instead of STORY.")] = "",
    inputs: InputPairs = None,
    inputs_file: InputsFile = None,
    name: Annotated[str, typer.Option("--name", help="Name of the run; default: STORY and a random ending.")] = "",
    key: Annotated[
        str | None,
        typer.Option("--key", help="Start at most one run for this key; the same inputs find the same run."),
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait until the run has ended; exit with the code of its phase.")
    ] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Like --wait, and show progress.")] = False,
    logs: Annotated[bool, typer.Option("--logs", help="Like --wait, and print the logs of every step.")] = False,
    timeout: TimeoutOption = "",
    exit_on_gate: ExitOnGate = False,
    cancel_on_interrupt: CancelOnInterrupt = False,
    no_cache: NoCache = False,
) -> None:
    """Start a run of a Story and print its name; with --key also whether it was Created or Reused.

    For a Story with streamingStrategy: PerStory the operator keeps the only run; the command prints its name.

    On a terminal, the command asks for missing inputs that the Story requires.
    """
    given = parse_inputs(inputs or (), inputs_file)
    if key is not None and name:
        raise UsageError("--key names the run", remedy="leave out --name")
    if bool(story) == bool(file):
        raise UsageError("give either STORY or -f FILE", remedy="for example: bobrapet submit nightly-report")
    if file:
        manifest = _run_from_file(file, options.namespace)
    else:
        manifest = run_manifest(story, options.namespace, {}, name=name)
    manifest = without_cached_outputs(manifest) if no_cache else manifest
    workflow.submit(
        options,
        manifest,
        given,
        key=key,
        wait=wait or watch or logs or exit_on_gate,
        show=watch,
        logs=logs,
        timeout=seconds_of("--timeout", timeout),
        cancel_on_interrupt=cancel_on_interrupt,
        exit_on_gate=exit_on_gate,
    )


def _run_from_file(file: str, namespace: str) -> dict[str, Any]:
    manifests = load_manifests([file])
    if len(manifests) != 1 or manifests[0].kind != "StoryRun":
        kinds = ", ".join(manifest.kind for manifest in manifests)
        raise CommandError(f"{file} must hold one StoryRun, not {kinds}", remedy="apply the rest with kubectl")
    refuse_other_namespaces(manifests, namespace)
    return manifests[0].document
