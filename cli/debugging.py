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
    completed_claims,
    container_of,
    for_debugger,
    program_of,
    variables_of,
    with_local_storage,
    words_of,
)
from cli.exit_code import ExitCode
from cli.problem import CommandError
from cli.render.log_lines import LogForm, lines_of
from cli.render.output import yaml_text
from cli.sandbox import Sandbox, open_sandbox
from cli.session import Session
from cli.step_details import FoundStep
from core.api.objects import Object
from views.signals import signals_of
from views.text import one_line

_CHUNK_BYTES: Final = 64 << 10


async def debug_step(session: Session, found: FoundStep, wish: DebugWish) -> ExitCode:
    """Run the step here until it ends; returns the code of how it ended.

    Raises:
        CommandError: it has no program here, or what it needs cannot be read.
    """
    container = container_of(found)
    step_run = found.stored("")
    with tempfile.TemporaryDirectory(prefix="bobrapet-debug-") as temporary:
        folder = Path(temporary)
        variables = await variables_of(session, found, container, folder / "volumes")
        program = program_of(session, container, wish, variables)
        namespace = found.run["metadata"]["namespace"]
        variables = await with_local_storage(session, variables, namespace, folder / "storage")
        claims = await completed_claims(session, found)
        words = words_of(program, wish)
        _refuse_missing(words[0], program.workdir, variables.get("PATH", ""))
        _announce(session, found, words, len(claims))
        async with open_sandbox(folder, step_run, claims) as sandbox:
            known = {"KUBECONFIG": str(sandbox.kubeconfig), "PYTHONUNBUFFERED": "1"}
            variables = {**program.variables, **for_debugger(variables, wish), **known}
            code = await _run(session, words, program.workdir, variables, is_interactive=wish.stops)
            await _report(session, found, sandbox, code)
    return ExitCode.DONE if code == 0 else ExitCode.RUN_FAILED


def _announce(session: Session, found: FoundStep, words: list[str], claims: int) -> None:
    note = session.console.note
    note(f"running {found.detail.run}/{found.name} on this machine: {' '.join(words)}")
    note(
        "its status, signals, effects and output are not reported to the cluster, and its stored data is a copy; what "
        "it does elsewhere happens for real"
    )
    if claims:
        note(f"{claims} of its effects have happened already and are not repeated")


def _refuse_missing(word: str, workdir: str, path: str) -> None:
    """Raises:
    CommandError: there is no such program.
    """
    if shutil.which(str(Path(workdir, word)) if "/" in word else word, path=path) is None:
        raise CommandError(f"{word!r} is not a program of this machine", remedy="name another one with --command")


async def _run(
    session: Session, words: list[str], workdir: str, variables: dict[str, str], *, is_interactive: bool
) -> int:
    """The exit code. A debugger gets the terminal; otherwise lines are shown as ``logs`` shows them."""
    form = LogForm.PEOPLE if session.console.reader_is_person else LogForm.RAW
    output = None if is_interactive else subprocess.PIPE
    try:
        async with trio.open_nursery() as nursery:
            start = partial(trio.run_process, words, stdin=None, stdout=output, check=False, cwd=workdir, env=variables)
            process: trio.Process = await nursery.start(start)
            if process.stdout is not None:
                await _show(session, process.stdout, form)
            code = await process.wait()
    except* OSError as group:
        raise CommandError(
            f"{words[0]!r} cannot be run in {workdir}: {group.exceptions[0]}", remedy="name the program with --command"
        ) from None
    return code


async def _show(session: Session, stream: trio.abc.ReceiveStream, form: LogForm) -> None:
    rest = b""
    while chunk := await stream.receive_some(_CHUNK_BYTES):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            _print(session, line, form)
    if rest:
        _print(session, rest, form)


def _print(session: Session, line: bytes, form: LogForm) -> None:
    for text, colour in lines_of("", line.decode(errors="replace"), None, form):
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
            note(f"{word} that went nowhere: {'; '.join(items)}")
    if status.get("output") is not None:
        session.console.result(yaml_text(status["output"]))


def _new_signals(status: Object, before: Object) -> list[str]:
    known = max((int(each.get("seq") or 0) for each in before.get("signalEvents") or ()), default=0)
    new = {each["key"] for each in status.get("signalEvents") or () if int(each.get("seq") or 0) > known}
    return [str(signal) for signal in signals_of(status) if signal.key in new]


def _new_effects(status: Object, before: Object) -> list[str]:
    known = {each.get("key") for each in before.get("effects") or ()}
    return [one_line(each.get("key")) for each in status.get("effects") or () if each.get("key") not in known]
