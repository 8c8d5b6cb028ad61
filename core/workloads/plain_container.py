"""A container without an SDK: the block ``container`` of an EngramTemplate, checked and made ready for a Pod. Pure.

Values are passed unchanged: no shell reads them, nothing evaluates them again, and ``$`` is doubled, because Kubernetes
would replace ``$(NAME)``. Source: StepRun contract 25.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from bubu_contract.canonical import NotJsonError
from core.api.canonical import encode
from core.api.errors import FieldError
from core.api.objects import ReadOnlyObject
from core.api.phases import Reason
from core.workloads.container_result import ResultReading
from core.workloads.variables import MAX_VARIABLE_BYTES

MAX_INPUTS_FILE_BYTES: Final = 128 << 10
"""Half of what the annotations of a Pod may have together: the file is one of them."""
INPUTS_VARIABLE: Final = "BUBU_INPUTS"
_FIELD: Final = "container"


class NotPassableError(Exception):
    """A value cannot reach the container; the message names field and remedy."""

    def __init__(self, reason: Reason, error: FieldError) -> None:
        super().__init__(str(error))
        self.reason = reason


@dataclass(frozen=True, slots=True)
class ContainerCall:
    """What one attempt runs with; all values are the texts that the program sees."""

    command: tuple[str, ...]
    args: tuple[str, ...] | None
    """None: those of the image."""
    env: tuple[tuple[str, str], ...]
    inputs_file: str
    """Empty: the inputs are not passed as a file."""
    inputs: str
    """The content of that file."""
    reading: ResultReading
    message_path: str
    """The file that the node reads at the end; empty: that of Kubernetes."""


def templates_of(spec: ReadOnlyObject) -> dict[str, Any]:
    """The part of the block that has templates, in the form that ``call_of`` takes once they are resolved."""
    variables = [{"name": each["name"], "value": each["value"]} for each in spec.get("env") or ()]
    return {"args": list(spec.get("args") or ()), "env": variables}


def call_of(spec: ReadOnlyObject, resolved: Mapping[str, Any], inputs: Mapping[str, Any]) -> ContainerCall:
    """
    Args:
        resolved: ``templates_of(spec)`` with every template replaced by its value, of any JSON type.
        inputs: those of the step.
    Raises:
        NotPassableError: a value is too large, has a NUL character, or cannot be written as JSON.
    """
    command = [_passable(text, f"{_FIELD}.command[{index}]") for index, text in enumerate(spec.get("command") or ())]
    args = [_passable(value, f"{_FIELD}.args[{index}]") for index, value in enumerate(resolved["args"])]
    env = [
        (each["name"], _passable(each["value"], f"{_FIELD}.env[{index}].value", of=f"{each['name']}="))
        for index, each in enumerate(resolved["env"])
    ]
    inputs_file, result = spec.get("inputsFile") or "", spec.get("result") or {}
    return ContainerCall(
        command=tuple(command),
        args=tuple(args) if spec.get("args") is not None else None,
        env=tuple(env),
        inputs_file=inputs_file,
        inputs=_file_of(inputs) if inputs_file else "",
        reading=ResultReading.of(spec),
        message_path=result.get("path") or "",
    )


def names_set_by_secrets(template_spec: ReadOnlyObject) -> Iterator[str]:
    """The variables that the Secrets of a template set, as far as it lists their keys."""
    for logical, definition in (template_spec.get("secretSchema") or {}).items():
        if ((definition or {}).get("mountType") or "env") != "file":
            prefix = definition.get("envPrefix") or f"{logical}_"
            yield from (f"{prefix}{key}" for key in definition.get("expectedKeys") or ())


def _passable(value: Any, field: str, of: str = "") -> str:
    """``value`` as the text that the program sees."""
    text = value if isinstance(value, str) else _json(value, field)
    if "\0" in text:
        remedy = "remove it, or pass the value in inputsFile"
        raise NotPassableError(
            Reason.EXPRESSION_FAILED, FieldError(field, "has a NUL character, which no program can receive", remedy)
        )
    size = len(of) + len(text.encode(errors="replace"))
    if size > MAX_VARIABLE_BYTES:
        message = f"would be {size} bytes; a process accepts at most {MAX_VARIABLE_BYTES} bytes of one text"
        remedy = f"pass it in inputsFile (up to {MAX_INPUTS_FILE_BYTES} bytes), or use an image with an SDK"
        raise NotPassableError(Reason.INPUT_TOO_LARGE, FieldError(field, message, remedy))
    return text


def _file_of(inputs: Mapping[str, Any]) -> str:
    text = _json(inputs, f"{_FIELD}.inputsFile")
    size = len(text.encode())
    if size > MAX_INPUTS_FILE_BYTES:
        message = f"the inputs of the step have {size} bytes, the file at most {MAX_INPUTS_FILE_BYTES}"
        remedy = "give the step less data, or use an image with an SDK, which reads data from object storage"
        raise NotPassableError(Reason.INPUT_TOO_LARGE, FieldError(f"{_FIELD}.inputsFile", message, remedy))
    return text


def _json(value: Any, field: str) -> str:
    try:
        return encode(value)
    except NotJsonError as error:
        raise NotPassableError(
            Reason.EXPRESSION_FAILED, FieldError(field, str(error), "use a value that JSON has")
        ) from None


def escaped(texts: Iterable[str]) -> list[str]:
    """The texts, so that Kubernetes passes them on unchanged."""
    return [text.replace("$", "$$") for text in texts]
