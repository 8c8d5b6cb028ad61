"""What Go's own text/template (1.26) with Sprig 3.3.0 gives for each recorded template; ``make oracle`` records it."""

from __future__ import annotations

from typing import Any

import pytest

from fuzz.expressions import comparison, coverage, table
from fuzz.expressions.differences import DIFFERENCES
from fuzz.expressions.table import Row

_VARIABLES = table.variables()
_ROWS = list(table.rows())
_LEAST_CASES = 900

# Cases in which the engine differs on purpose: kind and value of its answer, and the name of the difference.
_BETTER: dict[str, tuple[str, Any, str]] = {
    "{{ 1i }}": ("parse", None, "no complex numbers"),
    "{{ 1.5i }}": ("parse", None, "no complex numbers"),
    "{{ 1+2i }}": ("parse", None, "no complex numbers"),
    "{{ . . }}": ("blocked", None, "larger templates wait for steps"),
    "{{ $ .x }}": ("blocked", None, "larger templates wait for steps"),
    "{{ range inputs.l }}{{ range inputs.ls }}x{{ end }}{{ end }}": ("value", "x" * 9, "roots mean roots everywhere"),
    "{{ eq 1 1.0 }}": ("value", True, "integers compare with floats"),
    "{{ index inputs.l 1.0 }}": ("value", 1, "index takes integral floats"),
    "{{ deepCopy nil }}": ("value", "<no value>", "deepCopy of nothing and of versions"),
    '{{ deepCopy (semver "1.2.3") }}': ("value", "1.2.3", "deepCopy of nothing and of versions"),
    "{{ slice (until 18) 1 20 }}": ("error", None, "slices end where their list ends"),
    "{{ chunk -1 (list 1 2) }}": ("error", None, "chunk wants a positive size"),
    '{{ printf "%t" (semver "1.2.3") }}': (
        "value",
        "%!t(*semver.Version=1.2.3)",
        "times and versions have no inside",
    ),
    '{{ printf "%#v" (toDate "2006" "2024") }}': (
        "value",
        "2024-01-01 00:00:00 +0000 UTC",
        "times and versions have no inside",
    ),
    "{{ range 10001 }}{{ end }}": ("error", None, "limits"),
}
_ALWAYS_FAIL = {"call call", "call fail"}


@pytest.mark.parametrize("row", _ROWS, ids=lambda row: f"{row.file}: {row.template}")
def test_gives_what_go_gives(row: Row) -> None:
    mine = comparison.ours(row.template, _VARIABLES[row.data])

    if row.template in _BETTER:
        kind, value, name = _BETTER[row.template]
        assert (mine.kind, mine.value) == (kind, value)
        assert not comparison.same(mine, row.go)
        assert name in {difference.name for difference in DIFFERENCES}
    else:
        assert comparison.same(mine, row.go), f"{mine} is not {row.go}"


def test_has_a_case_for_every_construct_and_function() -> None:
    seen = coverage.Coverage()
    for row in _ROWS:
        if row.go.kind == "value" or row.go.fault in _ALWAYS_FAIL:
            seen.add(row.template)

    assert len(_ROWS) >= _LEAST_CASES
    assert seen.missing() == []


def test_every_better_answer_belongs_to_a_case() -> None:
    assert _BETTER.keys() <= {row.template for row in _ROWS}
    assert len({(row.template, row.data) for row in _ROWS}) == len(_ROWS)
