"""The data that expressions read for certain, in both dialects."""

from __future__ import annotations

import pytest

from core.expressions.reads import Comparison, gives_no_list, reads_of


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("{{ inputs.a.b }}", [("inputs", "a", "b", True)]),
        ("{{ inputs['e-f'] }}", [("inputs", "e-f", True)]),
        ("n {{ .inputs.a }}", [("inputs", "a", False)]),
        ("{{ upper (index .steps `a-b` `output`).x }}", [("steps", "a-b", "output", "x", False)]),
        ("{{ index steps `a` `output` 0 }}", [("steps", "a", "output", 0, False)]),
        ("{{ $.inputs.a | default 1 }}", [("inputs", "a", False)]),
        (
            "{{ with .inputs.a }}{{ .inputs.b }}{{ inputs.c }}{{ end }}",
            [("inputs", "a", False), ("inputs", "c", False)],
        ),
        ("{{ $x := inputs.a }}{{ $x.b }}", [("inputs", "a", False)]),
        ("{{ index inputs .steps.a.output.key }}", [("inputs", False), ("steps", "a", "output", "key", False)]),
        ("{{ packet.x }}", []),
        (
            "inputs.a > 1 && steps['a-b'].output.n == 2",
            [("inputs", "a", False), ("steps", "a-b", "output", "n", False)],
        ),
        ("has(inputs.a)", []),
        ("inputs[inputs.k] == 1", [("inputs", "k", False)]),
        ("{{ inputs.a", []),
        ("true", []),
    ],
)
def test_paths(text: str, paths: list[tuple[object, ...]]) -> None:
    assert [(*path.segments, path.is_whole) for path in reads_of(text).paths] == paths


@pytest.mark.parametrize(
    ("text", "comparison"),
    [
        ('inputs.n > "x"', Comparison(("inputs", "n"), ">", "x", 9, is_strict=False)),
        ("1.5 != inputs.n", Comparison(("inputs", "n"), "!=", 1.5, 4, is_strict=False)),
        ("{{ eq .inputs.n true }}", Comparison(("inputs", "n"), "==", True, 3, is_strict=True)),
        ("{{ lt 3 inputs.n }}", Comparison(("inputs", "n"), "<", 3.0, 3, is_strict=True)),
    ],
)
def test_comparisons_with_constants(text: str, comparison: Comparison) -> None:
    assert reads_of(text).comparisons == (comparison,)


@pytest.mark.parametrize("text", ["inputs.a == inputs.b", "[1].exists(inputs, inputs == 'x')", "{{ eq .a 1 }}"])
def test_what_may_be_something_else_is_no_comparison_with_a_constant(text: str) -> None:
    assert reads_of(text).comparisons == ()


@pytest.mark.parametrize(
    ("text", "never"),
    [
        ("{{ inputs.l }}", False),
        ("{{ until 5 }}", False),
        (" {{- inputs.l | uniq -}} ", False),
        ("{{ print inputs.text }}", False),
        ("{{ inputs.l", False),
        ("x{{ inputs.l }}", True),
        ("{{ inputs.l }}{{ inputs.m }}", True),
        ("{{ range inputs.l }}x{{ end }}", True),
        ("{{ inputs.l | toJson }}", True),
        ("{{ add 1 2 }}", True),
    ],
)
def test_what_never_gives_a_list(text: str, never: bool) -> None:
    assert gives_no_list(text) is never
