"""The verbs of the ``bobrapet`` command; a verb is imported when a command line names it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import cache
from importlib import import_module
from typing import Annotated, Final

import typer

VERBS: Final = {
    "init": (
        "Write a small project: a Story, an Engram in Python with a test, an image map, and a README with the commands."
    ),
    "unpack": "Copy the examples, or the manifests of an installation in a cluster, out of this installation.",
    "run": "Run a Story from files and show its progress and output.",
    "submit": "Start a run of a Story and print its name; with --key also whether it was Created or Reused.",
    "trigger": (
        "Request a run of a Story by a StoryTrigger; print the run and the decision: Created, Reused or Rejected."
    ),
    "triggers": "List StoryTriggers, newest first: what the operator decided, and the run.",
    "up": "Start the embedded cluster, unless it is up already; print its kubeconfig.",
    "down": "Stop the embedded cluster; its data stays for the next `up`.",
    "list": "List runs, newest first.",
    "get": "Show one run: its steps, what it waits for, its output; for a realtime run the traffic of each step.",
    "watch": "Show a run until it ends, then its output; exit with the code of its phase.",
    "wait": "Wait until runs have ended; exit with the worst of their codes.",
    "outputs": (
        "Print the output of a run or of one of its steps as JSON; the output of a gate is the data of its approval."
    ),
    "effects": "List the effects of a run that happen once: the state of each, which attempt holds it, and until when.",
    "impulses": "List Impulses: whether their listeners are up, and what they have started.",
    "why": (
        "Show what a run, or one of its steps, waits for: since when, until when, who can change it, with which "
        "command."
    ),
    "timeline": "Show where the time of a run went: queueing, start, work, retries and waits of each step as bars.",
    "debug": "Run a step of a run again on this machine, with the inputs, variables and secrets that it had.",
    "logs": "Print logs of a run in order of time, each line with its step and attempt.",
    "cancel": "Cancel runs: the operator asks running steps to stop, and stops them after a grace period.",
    "gates": "List the gates at which runs wait for a decision, the longest wait first.",
    "approve": "Let a run continue past a gate. A decision is final; it may be made before the run reaches the gate.",
    "reject": "Fail a gate of a run. A decision is final; it may be made before the run reaches the gate.",
    "retry": "Execute a run again with the same inputs: all steps, or one step and the steps that depend on it.",
    "resubmit": "Start a new run with the inputs of an earlier one, changed by -i and --inputs; print its name.",
    "lint": "Check manifests as admission does, all files together: every finding with its file, line and column.",
    "graph": "Draw a Story or a run: -o ascii, mermaid, dot or svg; for a realtime run with message rates.",
    "render": "Evaluate the expressions of a Story with given data: show the value, its type and the steps it needs.",
    "manifest": (
        "Print the manifests that Python files describe: EngramTemplates, Engrams and Stories, as run applies them."
    ),
    "convert": "Print manifests with their Stories converted to another version, without loss.",
    "manager": "Run the operator until SIGTERM.",
    "hub": "Move messages between the steps of realtime Stories until SIGTERM.",
    "doctor": (
        "Look for problems of the cluster, the operator and its runs; each problem has a remedy. It changes nothing."
    ),
    "dump": (
        "Write one file with all that a maintainer needs to look into a run: objects, Events, logs, settings, doctor."
    ),
    "config": "Show the operator's settings: value, default, where the value comes from, and what a change needs.",
    "version": "Print the versions of this command and of the cluster.",
    "completion": "Print the completion script of a shell.",
    "options": "List the options that many commands have and their help leaves out.",
    "explain": "Explain where values come from.",
    "storage": "What runs have stored in the operator's object store.",
    "cache": "Cached outputs of steps. An equal step takes the cached output instead of running.",
    "stream": "Look at the packets of realtime steps, and send some.",
    "certs": "The certificates that the operator serves admission with.",
    "conversion": "The conversion between versions of Stories.",
}
"""Each module of ``cli.verbs`` with the first paragraph of its help; the help has the verbs in this order."""
_MORE: Final = "More options: bobrapet options"


@cache
def whole_app() -> typer.Typer:
    """All verbs with all that they take."""
    return _app_with(VERBS)


def app_for(arguments: Sequence[str]) -> typer.Typer:
    """The app that answers ``arguments`` as ``whole_app`` does. It only lists the verbs that are not named."""
    words = [word for word in arguments if not word.startswith("-")]
    return _app_with([word for word in words[:1] if word in VERBS])


def _app_with(called: Collection[str]) -> typer.Typer:
    app = typer.Typer(
        name="bobrapet",
        help="Run workflows of AI and data steps: on a laptop with the embedded cluster, or on any Kubernetes.",
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    )
    app.callback(invoke_without_command=True)(_root)
    for verb, meaning in VERBS.items():
        if verb in called:
            import_module(f"cli.verbs.{verb}").register(app)
        else:
            app.command(verb, help=meaning)(_only_listed)
    groups = [group.typer_instance for group in app.registered_groups if group.typer_instance]
    for command in (command for each in (app, *groups) for command in each.registered_commands):
        command.epilog = command.epilog or _MORE
    return app


def _only_listed() -> None:
    """Stands for a verb that the command line does not name."""


def _root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version of this command and exit.")] = False,
) -> None:
    if version:
        from importlib.metadata import version as installed  # costly, and no verb needs it

        typer.echo(f"bobrapet {installed('bobrapet')}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
