"""A program that validates one document against one schema, for validations whose cost nobody can vouch for.

``python worker.py CPU_SECONDS MEMORY_BYTES`` reads ``{"schema", "document", "max_problems"}`` as JSON from standard
input and writes a list of ``[path segments, message, keyword]``, or ``{"error": message}`` for an unusable schema, to
standard output. The limits are set on the process itself, so that it ends even if its parent is gone. It imports
nothing of ours and is started by its path.
"""

from __future__ import annotations

import contextlib
import resource
import sys
from collections.abc import Callable
from itertools import islice
from typing import Any, Final

import jsonschema_rs
import orjson

REGEX_BYTES: Final = 1 << 20


def build_validator(schema: dict[str, Any]) -> Callable[[Any, int], list[list[Any]]]:
    """A function from a document and a number to that many problems at most.

    Patterns run on an engine of linear time; nothing is ever fetched.

    Raises:
        ValueError: the schema is not valid.
    """
    options = jsonschema_rs.RegexOptions(size_limit=REGEX_BYTES, dfa_size_limit=REGEX_BYTES)
    try:
        validator = jsonschema_rs.Draft7Validator(schema, pattern_options=options, retriever=_refuse)
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError) as error:
        raise ValueError(str(error).splitlines()[0]) from error

    def problems(document: Any, most: int) -> list[list[Any]]:
        errors = islice(validator.iter_errors(document), most)
        return [[list(error.instance_path), error.message, str(error.kind.name)] for error in errors]

    return problems


def main() -> int:
    """Set the limits, answer one request."""
    cpu_seconds, memory_bytes = int(sys.argv[1]), int(sys.argv[2])
    for kind, value in (
        (resource.RLIMIT_CPU, cpu_seconds),
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_CORE, 0),
    ):
        with contextlib.suppress(ValueError, OSError):  # a stricter limit is in force already
            resource.setrlimit(kind, (value, value))
    request = orjson.loads(sys.stdin.buffer.read())
    answer: Any
    try:
        answer = build_validator(request["schema"])(request["document"], request["max_problems"])
    except ValueError as error:
        answer = {"error": str(error)}
    sys.stdout.buffer.write(orjson.dumps(answer))
    return 0


def _refuse(uri: str, /) -> Any:
    raise ValueError(f"{uri} is outside of the schema")


if __name__ == "__main__":
    sys.exit(main())
