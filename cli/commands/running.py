"""``run`` and ``submit``: start a run of a Story and, if asked, stay with it."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.arguments import (
    CancelOnInterrupt,
    ExitOnGate,
    InputPairs,
    InputsFile,
    NoCache,
    StoryArgument,
    TimeoutOption,
)
from cli.durations import seconds_of
from cli.images import ImageMapOption, checked_image_map
from cli.options import DRY_RUN, QUESTIONS, CommonOptions, with_common_options
from cli.problem import CommandError, UsageError

if TYPE_CHECKING:
    from embedded.preloading import LoadingProcess


def register(app: typer.Typer) -> None:
    app.command("run")(with_common_options(run, also=QUESTIONS | DRY_RUN))
    app.command("submit")(with_common_options(submit, also=QUESTIONS | DRY_RUN))


def run(
    options: CommonOptions,
    files: Annotated[
        list[str], typer.Argument(metavar="FILE", help="Manifests, folders or Python files; - reads stdin.")
    ],
    inputs: InputPairs = None,
    inputs_file: InputsFile = None,
    story: Annotated[str, typer.Option("--story", help="The Story to run, if the files hold several.")] = "",
    timeout: TimeoutOption = "",
    image_map: ImageMapOption = None,
    exit_on_gate: ExitOnGate = False,
    cancel_on_interrupt: CancelOnInterrupt = False,
    allow_workloads: Annotated[
        bool,
        typer.Option(
            "--allow-workloads",
            help="Apply Jobs, Pods, other foreign kinds and commands of templates without asking.",
        ),
    ] = False,
) -> None:
    """Run a Story from files and show its progress and output.

    It uses the embedded cluster: starts it if it is not up, and stops it when no other command uses it. With
    --kubeconfig or --context it applies the files to that cluster instead.

    For a Story with streamingStrategy: PerStory the operator keeps the only run; the command shows that run.

    A Python file is executed in a separate process and describes the manifests (see manifest). On the embedded cluster
    its functions run in this Python, unless --image-map has another program for their image.

    Files from other people may contain Jobs, Pods and similar objects. On the embedded cluster these run commands with
    your permissions. On a terminal the command asks before it applies them; otherwise it refuses them (code 7) without
    --allow-workloads or --yes.
    """
    from cli.builtfiles import is_python
    from cli.inputs import parse_inputs
    from cli.interruption import run_async
    from cli.manifests import chosen_story, load_manifests
    from cli.pythonfiles import build

    given = parse_inputs(inputs or (), inputs_file)
    python = [file for file in files if is_python(file)]
    built = run_async(options, lambda: build(python)) if python else []
    with _cluster_loading(options) as loading:  # on another core, while this process checks the manifests
        from cli import workflow

        manifests = load_manifests([file for file in files if file not in python], built)
        name = chosen_story(manifests, story).name
        workflow.run_files(
            options,
            manifests,
            name,
            given,
            timeout=seconds_of("--timeout", timeout),
            image_map=checked_image_map(image_map),
            python_files=built,
            cancel_on_interrupt=cancel_on_interrupt,
            exit_on_gate=exit_on_gate,
            allow_workloads=allow_workloads,
            loading=loading,
        )


def _cluster_loading(options: CommonOptions) -> AbstractContextManager[LoadingProcess | None]:
    """A process for the embedded cluster, if these options mean it."""
    from embedded.folder import data_folder
    from embedded.preloading import loading

    return nullcontext() if options.kubeconfig or options.context else loading(data_folder(options.data))


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
    from cli import workflow
    from cli.inputs import parse_inputs
    from cli.runs import run_manifest, without_cached_outputs

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
    from cli.applying import refuse_other_namespaces
    from cli.manifests import load_manifests

    manifests = load_manifests([file])
    if len(manifests) != 1 or manifests[0].kind != "StoryRun":
        kinds = ", ".join(manifest.kind for manifest in manifests)
        raise CommandError(f"{file} must hold one StoryRun, not {kinds}", remedy="apply the rest with kubectl")
    refuse_other_namespaces(manifests, namespace)
    return manifests[0].document
