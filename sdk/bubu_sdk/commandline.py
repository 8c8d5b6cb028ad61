"""The command that an engram's file is outside a container.

    python wordcount.py --manifest                  prints EngramTemplate and Engram as YAML
    python wordcount.py --inputs '{"text": "…"}'    runs the function here and prints its output as JSON

Exit codes: 0 success; 1 the function failed; 2 options or inputs do not fit; 124 and 128 + n as in a container.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from bubu_sdk.engram_function import EngramFunction
from bubu_sdk.errors import Object

MISUSE: Final = 2


def main(engram: EngramFunction[Any], argv: Sequence[str]) -> int:
    """Do what the arguments say; returns the exit code. ``argv`` starts with the name of the program."""
    given = _parser(engram, Path(argv[0]).name).parse_args(argv[1:])
    try:
        if given.manifest:
            from bubu_sdk import engram_manifest, yamltext

            sys.stdout.write(yamltext.documents(engram_manifest.documents_of(engram, given.image)))
            return 0
        return _run(engram, _object("--inputs", given.inputs), _object("--secrets", given.secrets or "{}"))
    except (_UnusableError, TypeError, NameError, ValueError) as error:
        sys.stderr.write(f"{Path(argv[0]).name}: {error}\n")
        return MISUSE


def _parser(engram: EngramFunction[Any], program: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        program,
        description=f"The engram {engram.__name__}. A container runs this file without arguments.",
        allow_abbrev=False,
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--manifest", action="store_true", help="print EngramTemplate and Engram as YAML")
    what.add_argument(
        "--inputs", metavar="JSON", help="run the function here with these inputs, an object or @FILE; - reads stdin"
    )
    parser.add_argument("--image", help="the image in the EngramTemplate; default: that of @engram")
    parser.add_argument(
        "--secrets", metavar="@FILE", help="what ctx.secrets holds in a run with --inputs, an object of strings"
    )
    return parser


def _run(engram: EngramFunction[Any], inputs: Object, secrets: Object) -> int:
    from bubu_sdk import local_run

    not_text = [key for key, value in secrets.items() if not isinstance(value, str)]
    problems = [*local_run.problems_of(engram, inputs), *(f"secrets.{key}: must be a string" for key in not_text)]
    if problems:
        sys.stderr.write("".join(f"{problem}\n" for problem in problems))
        return MISUSE
    code, output = local_run.run(engram, inputs, secrets)
    if code == 0:
        sys.stdout.write(json.dumps(output, indent=2, ensure_ascii=False) + "\n")
    return code


class _UnusableError(Exception):
    """An argument that cannot be read; the text names it."""


def _object(option: str, given: str) -> Object:
    """The object of an option: JSON, ``@FILE`` or ``-``.

    Raises:
        _UnusableError: it cannot be read, or is no JSON object.
    """
    try:
        text = sys.stdin.read() if given == "-" else given
        text = Path(given[1:]).read_text(encoding="utf-8") if given.startswith("@") else text
        value = json.loads(text)
    except OSError as error:
        raise _UnusableError(f"{option}: cannot read {given[1:]}: {error.strerror}") from error
    except ValueError as error:
        raise _UnusableError(
            f'{option}: not JSON: {error}; give an object, for example {option} \'{{"text": "hello"}}\''
        ) from error
    if not isinstance(value, dict):
        raise _UnusableError(f'{option}: must be an object such as {{"text": "hello"}}, not {type(value).__name__}')
    return value
