"""The conformance table: templates with Go's answers, recorded in the repository.

``python -m fuzz.expressions.table`` records Go's answers again; a new case is a row ``["template", "data", "", null]``.
``data.json`` has the variables by name. Each other file of the folder is a list of cases, one per line.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fuzz.expressions import oracle
from fuzz.expressions.oracle import Answer

FOLDER: Final = Path(__file__).parents[2] / "tests" / "unit" / "core" / "expressions" / "go_cases"
DATA: Final = FOLDER / "data.json"
_SECONDS: Final = 60


@dataclass(frozen=True, slots=True)
class Row:
    """One case; the answer ``go`` has no message."""

    file: str
    template: str
    data: str
    go: Answer


def files() -> list[Path]:
    """The files of cases, in order of their names."""
    return sorted(path for path in FOLDER.glob("*.json") if path != DATA)


def variables() -> dict[str, dict[str, Any]]:
    """The variables for the cases, by name."""
    known: dict[str, dict[str, Any]] = json.loads(DATA.read_text(encoding="utf-8"))
    return known


def rows() -> Iterator[Row]:
    """Every recorded case."""
    for path in files():
        for template, data, kind, expected in json.loads(path.read_text(encoding="utf-8")):
            go = Answer(kind, expected) if kind == "value" else Answer(kind, None, expected)
            yield Row(path.stem, template, data, go)


def renewed(cases: Path) -> str:
    """The text of the file ``cases`` with Go's current answers.

    Raises:
        NoOracleError: Go or its modules are missing.
        RuntimeError: the program failed.
    """
    command = [str(oracle.built()), "table", str(DATA), str(cases)]
    asked = subprocess.run(
        command, env=oracle.ENVIRONMENT, capture_output=True, encoding="utf-8", timeout=_SECONDS, check=False
    )
    if asked.returncode:
        raise RuntimeError(asked.stderr.strip())
    return asked.stdout


def main() -> int:
    try:
        for path in files():
            path.write_text(renewed(path), encoding="utf-8")
    except (oracle.NoOracleError, RuntimeError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
