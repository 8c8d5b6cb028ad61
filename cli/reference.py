"""The command reference as Markdown, rendered from the commands themselves."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any, Final

import typer

from cli.app import whole_app
from cli.exit_code import ExitCode
from cli.options import ALWAYS, CLUSTER, OPTION_GROUPS, OUTPUT, flags_of

_COMMON: Final = ALWAYS | CLUSTER | OUTPUT
_EXIT_MEANINGS: Final = {
    ExitCode.DONE: "done; the run Succeeded",
    ExitCode.COMMAND_FAILED: "the command failed: API, I/O, permission",
    ExitCode.WRONG_USAGE: "wrong usage",
    ExitCode.RUN_FAILED: "the run ended Failed or Compensated",
    ExitCode.RUN_TIMED_OUT: "the run ended Timeout",
    ExitCode.RUN_CANCELED: "the run ended Canceled, Aborted or Finished (canceled)",
    ExitCode.WAITS_AT_GATE: "the run waits at a gate, with `--exit-on-gate`",
    ExitCode.REJECTED: "rejected by validation or admission; nothing was changed",
    ExitCode.REUSED: "`trigger`: Reused; nothing was started, because an earlier request had started the same run",
    ExitCode.WAIT_TIMED_OUT: "the `--timeout` of the wait passed; the run is still alive, the StoryTrigger undecided",
    ExitCode.INTERRUPTED: "Ctrl-C: detached, the run continues",
    ExitCode.TERMINATED: "SIGTERM: detached, the run continues",
}


def render() -> str:
    """The text of ``docs/commands.md``."""
    group: Any = typer.main.get_command(whole_app())
    commands = dict(_verbs(group))
    sections = [
        "# Commands",
        "<!-- Generated from the commands; change them and run `make generate`. -->",
        f"{group.help}\n\nAlso installed as `kubectl-bobrapet`, so that `kubectl bobrapet …` works.",
        "\n".join(f"- [`{name}`](#{_anchor(name)}): {_summary(command)}" for name, command in commands.items()),
        *(_section(name, command) for name, command in commands.items()),
        _common_options(),
        _exit_codes(),
    ]
    return "\n\n".join(sections) + "\n"


def _verbs(group: Any) -> Iterator[tuple[str, Any]]:
    """Every verb by its words; the name of a verb in a group is ``group verb``."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from ((f"{name} {verb}", found) for verb, found in _verbs(command))
        else:
            yield name, command


def _anchor(name: str) -> str:
    return f"bobrapet-{name.replace(' ', '-')}"


def _section(name: str, command: Any) -> str:
    own = [parameter for parameter in command.params if not (_is_common(parameter) or _is_hidden(parameter))]
    arguments = [parameter for parameter in own if parameter.param_type_name == "argument"]
    options = [parameter for parameter in own if parameter.param_type_name == "option"]
    usage = " ".join(["bobrapet", name, *(_placeholder(argument) for argument in arguments), "[OPTIONS]"])
    parts = [f"## bobrapet {name}", f"```text\n{usage}\n```", inspect.cleandoc(command.help or "")]
    if arguments or options:
        parts.append(_table([*arguments, *options]))
    return "\n\n".join(parts)


def _table(parameters: list[Any]) -> str:
    rows = ["| option | meaning | default |", "|---|---|---|"]
    for parameter in parameters:
        names = ", ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts))
        if parameter.param_type_name == "argument":
            names = f"`{_placeholder(parameter)}`"
        rows.append(f"| {names} | {_escaped(parameter.help or '')} | {_default(parameter)} |")
    return "\n".join(rows)


def _default(parameter: Any) -> str:
    value = parameter.default
    if value in (None, "", False, 0, ()) or parameter.required:
        return ""
    return f"`{getattr(value, 'value', value)}`"


def _placeholder(argument: Any) -> str:
    name = str(argument.metavar or argument.name.upper()) + ("…" if argument.nargs == -1 else "")
    return name if argument.required else f"[{name}]"


def _summary(command: Any) -> str:
    return inspect.cleandoc(command.help or "").splitlines()[0]


def _is_common(parameter: Any) -> bool:
    return parameter.name in _COMMON


def _common_options() -> str:
    parts = ["## Common options", "`bobrapet options` prints them."]
    for heading, names in OPTION_GROUPS.items():
        rows = [
            f"| {', '.join(f'`{flag}`' for flag in flags.split(', '))} | {_escaped(meaning)} |"
            for flags, meaning in flags_of(names)
        ]
        parts.append(f"{heading}:\n\n" + "\n".join(["| option | meaning |", "|---|---|", *rows]))
    return "\n\n".join(parts)


def _is_hidden(parameter: Any) -> bool:
    return bool(getattr(parameter, "hidden", False))


def _exit_codes() -> str:
    rows = [f"| {int(code)} | {meaning} |" for code, meaning in _EXIT_MEANINGS.items()]
    lines = [
        "## Exit codes",
        "",
        "For several runs, the exit code is the worst of them: 3 before 4 before 5 before 6. Only the run decides",
        "about the code of a command that waits for it: an API server that is away, busy or full is asked again until",
        "the run has ended or `--timeout` has passed.",
        "",
        "| code | meaning |",
    ]
    return "\n".join([*lines, "|---|---|", *rows])


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")
