"""The verbs of the ``bobrapet`` command, put together: all of them for the help, or the one that a command line names.

To build the options of all verbs takes a tenth of a second, and a verb needs only its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from importlib import import_module
from typing import Annotated, Final

import typer

_VERBS: Final = {
    "beginning": ("init", "unpack"),
    "running": ("run", "submit"),
    "triggering": ("trigger", "triggers"),
    "cluster": ("up", "down"),
    "seeing": ("list", "get", "watch", "wait", "outputs", "effects"),
    "listening": ("impulses",),
    "explaining": ("why", "timeline", "explain"),
    "debugging": ("debug",),
    "acting": ("logs", "cancel"),
    "deciding": ("gates", "approve", "reject"),
    "repeating": ("retry", "resubmit"),
    "storing": ("storage",),
    "caching": ("cache",),
    "linting": ("lint",),
    "drawing": ("graph",),
    "rendering": ("render",),
    "describing": ("manifest",),
    "converting": ("convert",),
    "operator": ("manager",),
    "streaming": ("hub",),
    "tapping": ("stream",),
    "supporting": ("doctor", "dump"),
    "configuring": ("config",),
    "certificates": ("certs",),
    "conversion": ("conversion",),
    "shell": ("version", "completion", "options"),
}
"""The verbs of each module in ``cli.commands``; the help has the modules in this order."""
_MODULES: Final = {verb: module for module, verbs in _VERBS.items() for verb in verbs}


@cache
def whole_app() -> typer.Typer:
    """All verbs."""
    return _app_with(_VERBS)


def app_for(arguments: Sequence[str]) -> typer.Typer:
    """The app that answers ``arguments`` as ``whole_app`` does: with the verb that they begin with, otherwise all."""
    verb = arguments[0] if arguments else ""
    if verb not in _MODULES:
        return whole_app()
    app = _app_with([_MODULES[verb]])
    app.registered_commands = [command for command in app.registered_commands if command.name == verb]
    app.registered_groups = [group for group in app.registered_groups if group.name == verb]
    return app


def _app_with(modules: Iterable[str]) -> typer.Typer:
    app = typer.Typer(
        name="bobrapet",
        help="Run workflows of AI and data steps: on a laptop with the embedded cluster, or on any Kubernetes.",
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    )
    app.callback(invoke_without_command=True)(_root)
    for module in modules:
        import_module(f"cli.commands.{module}").register(app)
    for command in app.registered_commands:
        command.epilog = command.epilog or "More options: bobrapet options"
    for found in app.registered_groups:
        for command in found.typer_instance.registered_commands if found.typer_instance else ():
            command.epilog = command.epilog or "More options: bobrapet options"
    return app


def _root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version of this command and exit.")] = False,
) -> None:
    if version:
        from importlib.metadata import version as installed

        typer.echo(f"bobrapet {installed('bobrapet')}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
