"""A program that answers questions of unknown cost, one after the other, until its input ends.

``python worker.py MEMORY_BYTES PACKAGE_ROOT`` reads frames from standard input and writes one frame for each to
standard output; first it writes an empty frame when it is ready. A frame is four bytes of length, big-endian, and JSON:

* ``{"kind": "schema", "schema", "document", "max_problems", "cpu_seconds"}`` returns a list of
  ``[path segments, message, keyword]``;
* ``{"kind": "cel", "text", "data", "cpu_seconds"}`` returns an outcome, see ``core.expressions.cel.condition.Outcome``.

Another program may answer other questions in this way, see ``serve``; while it works it may request data with
``{"look_up": anything}`` and reads one frame as the answer.

The answer to a question that cannot be answered is ``{"error": message}``; to one that needs too much memory,
``{"limit": "memory"}``. Memory is limited for the process, processor time for each question: above the limit the kernel
ends the process, even if the parent is gone. The program never loads anything from the network or the disk.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import resource
import struct
import sys
from collections.abc import Callable
from itertools import islice
from typing import Any, BinaryIO, Final

import orjson

Ask = Callable[[Any], Any]
Answer = Callable[[dict[str, Any]], Any]

REGEX_BYTES: Final = 1 << 20
LENGTH: Final = struct.Struct(">I")

_WORD_CHARACTERS: Final = 64
_GUESSED: Final = 3  # of the unexpected keys of one object; a guess takes up to a few milliseconds
_MASK: Final = "\ufdd0"  # stands for a value in the library's messages; no string contains this non-character
_NICENESS: Final = 10  # the event loop has precedence


def build_validator(schema: dict[str, Any]) -> Callable[[Any, int], list[list[Any]]]:
    """A function that takes a document and a number, and returns at most that many problems.

    Patterns run on an engine of linear time; references are never loaded. Problems name the type of a value and never
    the value, which may be a secret and would appear in statuses. A forbidden key comes with the known key that was
    probably meant.

    Raises:
        ValueError: the schema is not valid.
    """
    import jsonschema_rs  # not needed for the other kinds

    options = jsonschema_rs.RegexOptions(size_limit=REGEX_BYTES, dfa_size_limit=REGEX_BYTES)
    try:
        validator = jsonschema_rs.Draft7Validator(schema, pattern_options=options, retriever=_refuse, mask=_MASK)
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError) as error:
        raise ValueError(str(error).splitlines()[0]) from error

    def problems(document: Any, most: int) -> list[list[Any]]:
        errors = islice(validator.iter_errors(document), most)
        return [
            [list(error.instance_path), _message_of(error) + _guesses(error, schema), str(error.kind.name)]
            for error in errors
        ]

    return problems


def _message_of(error: Any) -> str:
    message: str = error.message
    return message.replace(_MASK, _type_of(error.instance))


def _guesses(error: Any, schema: Any) -> str:
    """The known keys that are similar to the first keys that ``additionalProperties`` forbids."""
    if error.kind.name != "additionalProperties":
        return ""
    from core.api.suggestion import closest  # not needed for the other kinds

    for segment in error.schema_path[:-1]:
        schema = schema[segment]
    known = schema.get("properties", {})
    found = (closest(key, known) for key in error.kind.unexpected[:_GUESSED])
    guesses = ", ".join(repr(guess) for guess in dict.fromkeys(found) if guess is not None)
    return f"; did you mean {guesses}?" if guesses else ""


def _type_of(value: Any) -> str:
    """The name of a JSON type in messages."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a bool"
    if isinstance(value, (int, float)):
        return "a number"
    return "a string" if isinstance(value, str) else "a list" if isinstance(value, list) else "an object"


def answer(request: dict[str, Any], evaluate: Callable[[str, dict[str, Any]], Any]) -> Any:
    """The reply; ``evaluate`` returns the outcome of a CEL expression."""
    try:
        if request["kind"] == "schema":
            return build_validator(request["schema"])(request["document"], request["max_problems"])
        return _outcome(evaluate(request["text"], request["data"]))
    except ValueError as error:
        return {"error": str(error)}
    except MemoryError:
        return {"limit": "memory"}


def main() -> int:
    """Answer questions about schemas and expressions."""
    return serve(_of_expressions)


def serve(prepare: Callable[[Ask], Answer], niceness: int = _NICENESS) -> int:
    """Set the limits of the process, then answer questions until the input ends.

    Args:
        prepare: called once, for slow preparation that should not count for a question. Its argument is a function that
            requests data from the parent; it returns the function that answers one question.
        niceness: the value for ``nice``; other processes have precedence.
    """
    memory_bytes, root = int(sys.argv[1]), sys.argv[2]
    sys.path.insert(0, root)
    _limit(resource.RLIMIT_AS, memory_bytes)
    _limit(resource.RLIMIT_CORE, 0)
    os.nice(niceness)
    questions, answers = sys.stdin.buffer, sys.stdout.buffer

    def ask(wanted: Any) -> Any:
        _write(answers, {"look_up": wanted})
        return orjson.loads(_read(questions) or b"")

    answer_one = prepare(ask)
    answers.write(LENGTH.pack(0))
    answers.flush()
    while (frame := _read(questions)) is not None:
        request = orjson.loads(frame)
        _limit_processor_time(int(request["cpu_seconds"]))
        try:
            found = answer_one(request)
        except MemoryError:
            found = {"limit": "memory"}
        _write(answers, found)
    return 0


def _of_expressions(_: Ask) -> Answer:
    from core.expressions.cel.condition import evaluate_there

    return lambda request: answer(request, evaluate_there)


def _outcome(found: Any) -> dict[str, Any]:
    outcome = dataclasses.asdict(found)
    value = outcome["value"]
    if isinstance(value, str):  # only short strings can decide the result, and a long one would have to be sent back
        outcome["value"] = value[:_WORD_CHARACTERS]
    return outcome


def _write(stream: BinaryIO, value: Any) -> None:
    reply = orjson.dumps(value)
    stream.write(LENGTH.pack(len(reply)) + reply)
    stream.flush()


def _read(stream: BinaryIO) -> bytes | None:
    header = stream.read(LENGTH.size)
    if len(header) < LENGTH.size:
        return None
    (length,) = LENGTH.unpack(header)
    return stream.read(length)


def _limit_processor_time(seconds: int) -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    _limit(resource.RLIMIT_CPU, int(used.ru_utime + used.ru_stime) + 1 + seconds)


def _limit(kind: int, value: int) -> None:
    """Lower the soft limit; the hard limit stays, so that the next question can have its own."""
    with contextlib.suppress(ValueError, OSError):  # a stricter limit is already in force
        resource.setrlimit(kind, (value, resource.getrlimit(kind)[1]))


def _refuse(uri: str, /) -> Any:
    raise ValueError(f"{uri} is outside the schema")


if __name__ == "__main__":
    sys.exit(main())
