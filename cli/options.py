"""Flags that many verbs accept, declared once and put on the commands by ``with_common_options``.

They have kubectl's names if kubectl has such a flag. ``bobrapet options`` describes those that are hidden in the help
of each command. Data goes to standard output, everything else to standard error.
"""

from __future__ import annotations

import copy
import functools
import inspect
import re
import sys
from collections.abc import Callable, Collection
from dataclasses import dataclass, fields
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final, TextIO, get_type_hints

import typer
from typer.models import OptionInfo

from bubu_contract.durations import parse_positive_duration
from cli.completing import is_completing, refuse_help_as_value
from cli.problem import UsageError

CLUSTER: Final = frozenset(
    {"namespace", "context", "kubeconfig", "as_user", "as_group", "request_timeout", "local", "data"}
)
"""Where a command works."""
OUTPUT: Final = frozenset({"output", "no_headers", "time_style"})
"""How it prints results."""
SELECTED: Final = frozenset({"all_namespaces", "yes", "dry_run"})
"""Only commands that name them have these."""
ALWAYS: Final = frozenset({"colour", "ascii_only", "quiet", "verbose", "log_style"})
"""How it speaks: every command has these."""
ALL_NAMESPACES: Final = frozenset({"all_namespaces"})
QUESTIONS: Final = frozenset({"yes"})
DRY_RUN: Final = frozenset({"dry_run"})
DATA: Final = frozenset({"data"})


OPTION_GROUPS: Final = {
    "Every command but completion, hub, manager and options": ALWAYS,
    "Commands that use a cluster": CLUSTER,
    "Commands with results": OUTPUT,
}
"""Options that the help of single commands mostly leaves out, with the commands that have them."""


class Colour(StrEnum):
    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


class TimeStyle(StrEnum):
    RELATIVE = "relative"
    ISO = "iso"


class LogStyle(StrEnum):
    TEXT = "text"
    JSON = "json"


class DryRun(StrEnum):
    NONE = "none"
    CLIENT = "client"
    SERVER = "server"


def seconds_of_timeout(text: str | float) -> float:
    """``30``, ``30s`` or ``1m30s``, as for kubectl.

    Raises:
        BadParameter: the text has another form, or is not above zero.
    """
    if isinstance(text, float):
        return text
    try:
        return parse_positive_duration(f"{text}s" if text.replace(".", "", 1).isdecimal() else text).total_seconds()
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _namespace(text: str) -> str:
    """Raises:
    BadParameter: it is not a valid name of a namespace.
    """
    if text and (len(text) > 63 or not re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", text)):
        raise typer.BadParameter(f"{text!r} cannot be a namespace; use lower-case letters, digits and dashes")
    return text


def _knows_signs(*streams: TextIO) -> bool:
    try:
        for stream in streams:
            "✔→…".encode(stream.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _flag(*names: str, help_text: str, **more: Any) -> Any:
    return typer.Option(*names, help=help_text, **more)


def _hidden(*names: str, help_text: str, **more: Any) -> Any:
    return _flag(*names, help_text=help_text, hidden=not is_completing(), **more)


@dataclass(frozen=True, slots=True)
class CommonOptions:
    """One command's common flags; the field order is the order in ``--help``."""

    namespace: Annotated[
        str, _flag("--namespace", "-n", help_text="Namespace; default: that of the context.", callback=_namespace)
    ] = ""
    all_namespaces: Annotated[bool, _flag("--all-namespaces", "-A", help_text="All namespaces.")] = False
    context: Annotated[str, _hidden("--context", help_text="Context of the kubeconfig.")] = ""
    kubeconfig: Annotated[
        Path | None, _hidden("--kubeconfig", help_text="Kubeconfig file; default: $KUBECONFIG, ~/.kube/config.")
    ] = None
    as_user: Annotated[str, _hidden("--as", help_text="Act as this user.")] = ""
    as_group: Annotated[list[str] | None, _hidden("--as-group", help_text="Act as this group; may be repeated.")] = None
    request_timeout: Annotated[
        float,
        _hidden(
            "--request-timeout",
            help_text="How long to wait for one answer of the API server, e.g. 30s.",
            parser=seconds_of_timeout,
            metavar="DURATION",
        ),
    ] = 30.0
    local: Annotated[bool, _hidden("--local", help_text="Use the embedded cluster of `bobrapet up`.")] = False
    data: Annotated[
        Path | None, _hidden("--data", help_text="Data folder of the embedded cluster; default: $BOBRAPET_DATA.")
    ] = None
    output: Annotated[str, _flag("--output", "-o", help_text="table, wide, name, json, jsonl, yaml or jsonpath=…")] = (
        "table"
    )
    no_headers: Annotated[bool, _hidden("--no-headers", help_text="Tables without the header line.")] = False
    colour: Annotated[Colour, _hidden("--color", help_text="When to use colours.")] = Colour.AUTO
    ascii_only: Annotated[bool, _hidden("--ascii", help_text="Use ASCII characters only.")] = False
    time_style: Annotated[TimeStyle, _hidden("--time", help_text="How to print times.")] = TimeStyle.RELATIVE
    quiet: Annotated[bool, _hidden("--quiet", "-q", help_text="Print results and errors only.")] = False
    verbose: Annotated[
        int, _hidden("--verbose", "-v", help_text="More on standard error; twice: every API call.", count=True)
    ] = 0
    log_style: Annotated[LogStyle, _hidden("--log-format", help_text="Format of log records.")] = LogStyle.TEXT
    yes: Annotated[bool, _flag("--yes", "-y", help_text="Do not ask for confirmation.")] = False
    dry_run: Annotated[
        DryRun, _flag("--dry-run", help_text="Change nothing: check here (client) or at the server.")
    ] = DryRun.NONE


def flags_of(names: Collection[str]) -> list[tuple[str, str]]:
    """The flags of these fields, as ``--help`` writes them, each with its meaning."""
    found = []
    for field in fields(CommonOptions):
        if field.name in names:
            info = _option_of(_hints()[field.name])
            words = [str(info.default), *(info.param_decls or ())]  # Typer takes the first name for a default
            found.append((", ".join(sorted(words, key=len)), str(info.help)))
    return found


def check_format(verb: str, output: str, known: tuple[str, ...]) -> None:
    """Raises:
    UsageError: the verb has no such format.
    """
    if output not in known and not output.startswith("jsonpath="):
        others = ", ".join(form for form in known if form not in ("table", "wide"))
        raise UsageError(f"{verb} has no output format {output!r}", remedy=f"use {others}, jsonpath=… or none")


def _option_of(hint: Any) -> OptionInfo:
    return next(each for each in hint.__metadata__ if isinstance(each, OptionInfo))


def _shown(hint: Any) -> Any:
    """``hint`` for a command whose help shows the flag."""
    info = copy.copy(_option_of(hint))
    info.hidden = False
    return Annotated[hint.__origin__, info]


@functools.cache
def _hints() -> dict[str, Any]:
    """Of the common flags. Evaluated once: for each of the commands it would take a fifth of the start."""
    return get_type_hints(CommonOptions, include_extras=True)


def with_common_options(
    command: Callable[..., None],
    *,
    also: Collection[str] = (),
    without: Collection[str] = (),
) -> Callable[..., None]:
    """``command(options, …)`` as a typer command that has the common flags after its own.

    A flag of the command replaces the common flag of that name.

    Args:
        also: flags among ``SELECTED`` that have an effect here; the help shows these.
        without: flags that have none.
    """
    hints = _hints()
    own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]
    left_out = {parameter.name for parameter in own} | (SELECTED - set(also)) | (set(without) - set(also))
    common = [field for field in fields(CommonOptions) if field.name not in left_out]
    shared = [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=field.default,
            annotation=_shown(hints[field.name]) if field.name in also else hints[field.name],
        )
        for field in common
    ]
    own = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own]

    @functools.wraps(command)
    def entry(**values: Any) -> None:
        refuse_help_as_value()
        given = {field.name: values.pop(field.name) for field in common}
        given["ascii_only"] = given["ascii_only"] or not _knows_signs(sys.stdout, sys.stderr)
        options = CommonOptions(**given)
        command(options, **values)

    entry.__signature__ = inspect.Signature(own + shared)  # type: ignore[attr-defined]  # typer reads the signature
    entry.__annotations__ = {parameter.name: parameter.annotation for parameter in own + shared}
    del entry.__wrapped__  # otherwise typer would read the inner signature
    return entry
