"""What is wrong with the block ``container`` of an EngramTemplate, all at once. Pure.

One list for admission, for the status of the template and for the step that would use it: admission may be down.
Source: StepRun contract 25, admission contract 7.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any, Final

from core.api.errors import FieldError
from core.api.objects import ReadOnlyObject
from core.expressions import analysis
from core.expressions.scopes import CONTAINER
from core.workloads.container_result import EXIT_CODE_FIELDS, ResultSource
from core.workloads.plain_container import names_set_by_secrets, templates_of
from core.workloads.secrets import SECRET_MOUNT_ROOT
from core.workloads.variables import is_reserved

_VARIABLE_NAME: Final = re.compile(r"[-._a-zA-Z][-._a-zA-Z0-9]*")
_EXIT_CODES: Final = range(1, 256)
_KERNEL: Final = ("/proc", "/sys")
_SHELLS: Final = frozenset({"sh", "bash", "ash", "dash", "ksh", "zsh"})
_PATH_FORM: Final = "write an absolute path such as /var/run/bubu/inputs.json"


def container_problems(template_spec: ReadOnlyObject) -> list[FieldError]:
    """Why the template cannot be used; ``template_spec`` matches its schema. Empty without a block ``container``."""
    spec = template_spec.get("container")
    if not isinstance(spec, Mapping):
        return []
    return [
        *_mode_problems(template_spec),
        *_template_problems(spec),
        *_variable_problems(template_spec, spec),
        *_path_problems(template_spec, spec),
        *_result_problems(spec),
        *_exit_code_problems(spec),
    ]


def container_warnings(template_spec: ReadOnlyObject) -> list[FieldError]:
    """What is probably a mistake."""
    spec = template_spec.get("container")
    return list(_command_warnings(spec)) if isinstance(spec, Mapping) else []


def _mode_problems(template_spec: ReadOnlyObject) -> Iterator[FieldError]:
    modes = template_spec.get("supportedModes") or ()
    for index, mode in enumerate(modes):
        if mode != "job":
            yield FieldError(
                f"spec.supportedModes[{index}]",
                f"a container without an SDK cannot run as a {mode}: it ends, and its end is its result",
                "set supportedModes: [job]",
            )


def _template_problems(spec: ReadOnlyObject) -> Iterator[FieldError]:
    for problem in analysis.check_value(templates_of(spec), "spec.container", CONTAINER):
        where = f" (line {problem.position.line}, column {problem.position.column})" if problem.position else ""
        yield FieldError(
            problem.path, problem.message + where, problem.remedy or "correct the template", problem.excerpt
        )


def _variable_problems(template_spec: ReadOnlyObject, spec: ReadOnlyObject) -> Iterator[FieldError]:
    of_secrets, seen = set(names_set_by_secrets(template_spec)), dict[str, str]()
    for index, variable in enumerate(spec.get("env") or ()):
        name, path = variable["name"], f"spec.container.env[{index}].name"
        if not _VARIABLE_NAME.fullmatch(name):
            yield FieldError(path, f"{name!r} is not the name of a variable", "use letters, digits, _, - and .")
        elif is_reserved(name):
            message = f"{name} is reserved: such variables control the program"
            yield FieldError(path, message, "choose another name, or set it in the image")
        elif name in of_secrets:
            yield FieldError(path, f"{name} is also set by a Secret of secretSchema", "choose another name")
        elif name in seen:
            yield FieldError(path, f"{name} is already set by {seen[name]}", "remove one of them")
        seen.setdefault(name, path)


def _path_problems(template_spec: ReadOnlyObject, spec: ReadOnlyObject) -> Iterator[FieldError]:
    paths = {
        "spec.container.inputsFile": spec.get("inputsFile"),
        "spec.container.result.path": (spec.get("result") or {}).get("path"),
    }
    mounts = dict(_secret_mounts(template_spec))
    sound: dict[str, PurePosixPath] = {}
    for field, path in paths.items():
        if path is None:
            continue
        why = _why_no_path(path)
        if why:
            yield FieldError(field, f"{path!r} {why}", _PATH_FORM)
            continue
        sound[field] = PurePosixPath(path)
        for logical, mount in mounts.items():
            if _overlap(sound[field], mount):
                message = f"{path} and the files of Secret {logical!r} in {mount} exclude each other"
                yield FieldError(field, message, "choose another folder")
    if len(sound) == len(paths) and _overlap(*sound.values()):
        message = "is the file of the inputs, which cannot be written, or one of the two is inside the other"
        yield FieldError("spec.container.result.path", message, "choose another file")


def _why_no_path(path: str) -> str:
    """Why nothing can be mounted there; empty if something can."""
    if not path.startswith("/"):
        return "must be an absolute path"
    if path != str(PurePosixPath(path)) or path.startswith("//") or path == "/" or ".." in path.split("/"):
        return "must be the plain path of a file, without '..', '.' and double or final slashes"
    if ":" in path or "\0" in path or "\n" in path:
        return "must not have colons and control characters"
    if any(_overlap(PurePosixPath(path), PurePosixPath(kernel)) for kernel in _KERNEL):
        return "is a place of the kernel, where no file can be mounted"
    return ""


def _secret_mounts(template_spec: ReadOnlyObject) -> Iterator[tuple[str, PurePosixPath]]:
    for logical, definition in (template_spec.get("secretSchema") or {}).items():
        if ((definition or {}).get("mountType") or "env") != "env":
            yield logical, PurePosixPath(definition.get("mountPath") or f"{SECRET_MOUNT_ROOT}/{logical}")


def _overlap(one: PurePosixPath, other: PurePosixPath) -> bool:
    return one.is_relative_to(other) or other.is_relative_to(one)


def _result_problems(spec: ReadOnlyObject) -> Iterator[FieldError]:
    result: Mapping[str, Any] = spec.get("result") or {}
    source = result.get("from")
    if source == ResultSource.FILE and not result.get("path"):
        yield FieldError("spec.container.result.path", "is required with from: file", "name the file of the result")
    if result.get("path") and source != ResultSource.FILE:
        yield FieldError("spec.container.result.path", f"has no meaning with from: {source}", "set from: file")
    if result.get("format") and source == ResultSource.EXIT_CODE:
        yield FieldError("spec.container.result.format", "has no meaning with from: exitCode", "remove it")


def _exit_code_problems(spec: ReadOnlyObject) -> Iterator[FieldError]:
    classes, seen = spec.get("exitCodes") or {}, dict[int, str]()
    for key in EXIT_CODE_FIELDS:
        for index, code in enumerate(classes.get(key) or ()):
            path = f"spec.container.exitCodes.{key}[{index}]"
            if code == 0:
                yield FieldError(path, "0 is success, which has no other class", "remove it")
            elif code not in _EXIT_CODES:
                yield FieldError(path, f"{code} is not an exit code", "use 1 to 255")
            elif code in seen:
                yield FieldError(path, f"{code} has a class already: {seen[code]}", "remove one of them")
            seen.setdefault(code, path)


def _command_warnings(spec: ReadOnlyObject) -> Iterator[FieldError]:
    command, args = spec.get("command") or (), spec.get("args") or ()
    for index, text in enumerate(command):
        if "{{" in text:
            message = "is passed unchanged: command has no templates"
            yield FieldError(f"spec.container.command[{index}]", message, "move it to args")
    words = [*command, *args]
    is_shell = bool(words) and PurePosixPath(words[0]).name in _SHELLS
    for index, text in enumerate(args):
        before = words[len(command) + index - 1] if len(command) + index else ""
        if is_shell and before.startswith("-") and before.endswith("c") and "{{" in text:
            message = "is a program for a shell, and values become a part of it: an input could run any command"
            remedy = 'pass the value in env, and write "$NAME" here'
            yield FieldError(f"spec.container.args[{index}]", message, remedy)
