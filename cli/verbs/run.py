"""``run``: the Story of a file on a cluster, and watch it."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Annotated

import typer

from cli.arguments import CancelOnInterrupt, ExitOnGate, InputPairs, InputsFile, TimeoutOption
from cli.builtfiles import is_python
from cli.completing import is_called
from cli.durations import seconds_of
from cli.images import ImageMapOption, checked_image_map
from cli.inputs import parse_inputs
from cli.manifests import chosen_story, load_manifests
from cli.options import DRY_RUN, QUESTIONS, CommonOptions, with_common_options

if is_called():
    from cli.embedded.folder import data_folder
    from cli.embedded.preloading import LoadingProcess, loading
    from cli.interruption import run_async
    from cli.pythonfiles import build


def register(app: typer.Typer) -> None:
    app.command("run")(with_common_options(run, also=QUESTIONS | DRY_RUN))


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
    given = parse_inputs(inputs or (), inputs_file)
    python = [file for file in files if is_python(file)]
    built = run_async(options, lambda: build(python)) if python else []
    with _cluster_loading(options) as cluster:  # on another core, while this process checks the manifests
        from cli import workflow  # costly, so it is loaded when the other process does the same

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
            loading=cluster,
        )


def _cluster_loading(options: CommonOptions) -> AbstractContextManager[LoadingProcess | None]:
    """A process for the embedded cluster, if these options mean it."""
    return nullcontext() if options.kubeconfig or options.context else loading(data_folder(options.data))
