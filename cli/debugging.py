"""Runs a step again on this machine, with the inputs and the environment that it had, and shows what it reports."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from functools import partial
from pathlib import Path
from typing import Final

import trio

from cli.debugged_step import (
    DebugWish,
    Program,
    completed_claims,
    container_of,
    for_debugger,
    program_of,
    variables_of,
    with_local_storage,
    words_of,
)
from cli.exit_code import ExitCode
from cli.plain_program import PlainStep, in_debugger, output_of, plain_step, with_inputs
from cli.problem import CommandError
from cli.render.log_lines import LogForm, lines_of
from cli.render.output import yaml_text
from cli.sandbox import Sandbox, open_sandbox
from cli.session import Session
from cli.step_details import FoundStep
from core.api.objects import Object
from core.api.phases import Phase
from core.workloads.container_result import LOG_BYTES
from views.signals import signals_of
from views.text import one_line

_CHUNK_BYTES: Final = 64 << 10


async def debug_step(session: Session, found: FoundStep, wish: DebugWish) -> ExitCode:
    """Run the step here until it ends; returns the code of how it ended.

    Raises:
        CommandError: it has no program here, or what it needs cannot be read.
    """
    container = container_of(found)
    plain = plain_step(found)
    with tempfile.TemporaryDirectory(prefix="bobrapet-debug-") as temporary:
        folder = Path(temporary)
        variables = await variables_of(session, found, container, folder / "volumes")
        program = program_of(session, container, wish, variables)
        if plain is None:
            code = await _run_with_sdk(session, found, wish, program, variables, folder)
        else:
            code = await _run_plain(session, found, wish, plain, program, variables, folder)
    return ExitCode.DONE if code == 0 else ExitCode.RUN_FAILED


async def _run_with_sdk(
    session: Session, found: FoundStep, wish: DebugWish, program: Program, variables: dict[str, str], folder: Path
) -> int:
    namespace = found.run["metadata"]["namespace"]
    variables = await with_local_storage(session, variables, namespace, folder / "storage")
    claims = await completed_claims(session, found)
    words = words_of(program, wish)
    _refuse_missing(words[0], program.workdir, variables.get("PATH", ""))
    _announce(session, found, words)
    session.console.note(
        "its status, signals, effects and output are not reported to the cluster, and its stored data is a copy; what "
        "it does elsewhere happens for real"
    )
    if claims:
        session.console.note(f"{len(claims)} of its effects have happened already and are not repeated")
    async with open_sandbox(folder, found.stored(""), claims) as sandbox:
        known = {"KUBECONFIG": str(sandbox.kubeconfig), "PYTHONUNBUFFERED": "1"}
        variables = {**program.variables, **for_debugger(variables, wish), **known}
        code, _ = await _run(session, words, program.workdir, variables, is_interactive=wish.stops)
        await _report(session, found, sandbox, code)
    return code


async def _run_plain(
    session: Session,
    found: FoundStep,
    wish: DebugWish,
    step: PlainStep,
    program: Program,
    variables: dict[str, str],
    folder: Path,
) -> int:
    program = in_debugger(program, wish, folder)
    words = words_of(program, wish)
    _refuse_missing(words[0], program.workdir, variables.get("PATH", ""))
    _announce(session, found, words)
    session.console.note("its output is not reported to the cluster; what it does elsewhere happens for real")
    variables = {**program.variables, **with_inputs(step, variables, folder), "PYTHONUNBUFFERED": "1"}
    code, printed = await _run(
        session, words, program.workdir, variables, is_interactive=wish.stops, is_one_stream=True
    )
    session.console.note(f"ended {Phase.SUCCEEDED if code == 0 else Phase.FAILED} with code {code}")
    output = None if wish.stops else output_of(step, code, printed)
    if output is not None:
        session.console.result(yaml_text(output))
    return code


def _announce(session: Session, found: FoundStep, words: list[str]) -> None:
    shown = one_line(" ".join(words))
    session.console.note(f"running {found.detail.run}/{found.name} on this machine: {shown}")


def _refuse_missing(word: str, workdir: str, path: str) -> None:
    """Raises:
    CommandError: there is no such program.
    """
    if shutil.which(str(Path(workdir, word)) if "/" in word else word, path=path) is None:
        raise CommandError(f"{word!r} is not a program of this machine", remedy="name another one with --command")


async def _run(
    session: Session,
    words: list[str],
    workdir: str,
    variables: dict[str, str],
    *,
    is_interactive: bool,
    is_one_stream: bool = False,
) -> tuple[int, str]:
    """The exit code, and what it has printed. A debugger gets the terminal, and then nothing is known of that.

    ``is_one_stream``: standard error counts as printed, too, as in the log of a container.
    """
    form = LogForm.PEOPLE if session.console.reader_is_person else LogForm.RAW
    output = None if is_interactive else subprocess.PIPE
    errors = subprocess.STDOUT if is_one_stream and not is_interactive else None
    printed = ""
    try:
        async with trio.open_nursery() as nursery:
            start = partial(
                trio.run_process,
                words,
                stdin=None,
                stdout=output,
                stderr=errors,
                check=False,
                cwd=workdir,
                env=variables,
            )
            process: trio.Process = await nursery.start(start)
            if process.stdout is not None:
                printed = await _show(session, process.stdout, form)
            code = await process.wait()
    except* OSError as group:
        raise CommandError(
            f"{words[0]!r} cannot be run in {workdir}: {group.exceptions[0]}", remedy="name the program with --command"
        ) from None
    return code, printed


async def _show(session: Session, stream: trio.abc.ReceiveStream, form: LogForm) -> str:
    """Print the lines as they come; returns the end of them, as much as the operator would read."""
    rest, end = b"", b""
    while chunk := await stream.receive_some(_CHUNK_BYTES):
        end = (end + chunk)[-LOG_BYTES:]
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            _print(session, line, form)
    if rest:
        _print(session, rest, form)
    return end.decode(errors="replace")


def _print(session: Session, line: bytes, form: LogForm) -> None:
    for text, colour in lines_of(None, line.decode(errors="replace"), None, form):
        session.console.line(text, colour)


async def _report(session: Session, found: FoundStep, sandbox: Sandbox, code: int) -> None:
    status, note = await sandbox.status(), session.console.note
    before = (found.step_run or {}).get("status") or {}
    ended = str(status.get("phase") or "")
    if ended in ("", "Pending"):
        note(f"the program ended with code {code} and reported nothing: it does not use the SDK, or it did not start")
        return
    failure = one_line((status.get("error") or {}).get("message") or "")
    note(f"ended {ended} with code {code}" + (f": {failure}" if failure else ""))
    for word, items in (("signals", _new_signals(status, before)), ("effects", _new_effects(status, before))):
        if items:
            note(f"{word} that were not reported: {'; '.join(items)}")
    if status.get("output") is not None:
        session.console.result(yaml_text(status["output"]))


def _new_signals(status: Object, before: Object) -> list[str]:
    known = max((int(each.get("seq") or 0) for each in before.get("signalEvents") or ()), default=0)
    new = {each["key"] for each in status.get("signalEvents") or () if int(each.get("seq") or 0) > known}
    return [str(signal) for signal in signals_of(status) if signal.key in new]


def _new_effects(status: Object, before: Object) -> list[str]:
    known = {each.get("key") for each in before.get("effects") or ()}
    return [one_line(each.get("key")) for each in status.get("effects") or () if each.get("key") not in known]
