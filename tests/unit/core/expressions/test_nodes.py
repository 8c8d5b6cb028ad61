"""A tree prints as text with the same meaning. Cases that random templates found are pinned here."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.expressions import references_of, resolve_value
from core.expressions.expression import FUNCTIONS
from core.expressions.roots import ROOTS
from core.expressions.template import nodes, parser


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("{ {{- 1 }}", id="a brace before an action"),
        pytest.param("{{ if true }}a{ {{- end }}", id="a brace at the end of a block"),
        pytest.param("a{{/* c */}}b", id="texts with a comment between them"),
        pytest.param("{ {{- /* c */}}{", id="two braces that are text"),
        pytest.param("}} {", id="braces alone"),
        pytest.param(r"{{ `a\b` }}{{ 'x' }}{{ 0x_1F }}{{ 1e3 }}{{ -.5 }}", id="literals"),
        pytest.param('{{ "\\xff\\u00e9\\n" }}', id="bytes that are no text"),
        pytest.param("{{ inputs.l[0] }}{{ steps['my-step'].output }}", id="subscripts"),
        pytest.param('{{ $x := 1 }}{{ $x = 2 }}{{ $x.a }}{{ (dict "a" 1).a | print }}', id="variables and chains"),
        pytest.param('{{ define "a b" }}{ {{- . }}{{ end }}{{ template "a b" 1 }}', id="a definition"),
        pytest.param('{{ block "b" . }}x{{ end }}', id="a block"),
        pytest.param("{{ if 1 }}a{{ else if 2 }}b{{ else }}c{{ end }}", id="else if"),
        pytest.param("{{ range $i, $e := .l }}{{ continue }}{{ else }}x{{ end }}", id="a loop"),
    ],
)
def test_prints_as_what_it_is(text: str) -> None:
    tree = parser.parse(text, FUNCTIONS)

    printed = nodes.render(tree)

    assert parser.parse(printed, FUNCTIONS) == tree
    assert nodes.render(parser.parse(printed, FUNCTIONS)) == printed


def test_a_printed_text_renders_the_same() -> None:
    text = "{ {{- /* c */}}{ {{ inputs.n }} {{- ` x ` }}{ {{- 1 }}{"
    variables = {"inputs": {"n": 2}, "steps": {}}

    printed = nodes.render(parser.parse(text, FUNCTIONS))

    assert resolve_value(printed, variables) == resolve_value(text, variables) == "{{ 2 x {1{"


def test_a_root_in_a_definition_is_one_of_what_it_is_given() -> None:
    text = '{{ define "t" }}{{ range list 1 }}{{ steps.x }}{{ end }}{{ end }}{{ template "t" $.steps }}'

    assert "steps" in references_of(text).steps


def test_the_arguments_of_a_method_are_looked_at() -> None:
    found = references_of('{{ (toDate "2006" steps.a.output.year).Sub steps.b.output.t }}{{ steps.c.x | now.Format }}')

    assert found.steps == {"a", "b", "c"}
    assert found.functions == {"toDate", "now"}


@given(
    st.sampled_from(ROOTS),
    st.lists(st.sampled_from(["a", "_b", "end", "true", "nil", "x1", "steps"]), max_size=3),
    st.integers(0, 2),
    st.integers(0, 2),
)
def test_a_plain_path_has_the_tree_that_the_parser_makes_of_it(
    root: str, names: list[str], before: int, after: int
) -> None:
    text = f"{{{{{' ' * before}{'.'.join([root, *names])}{' ' * after}}}}}"
    assert parser._PLAIN_PATH.fullmatch(text)

    assert repr(parser.parse(text, FUNCTIONS)) == repr(parser._Parser(text, FUNCTIONS, {}).parse())


@pytest.mark.parametrize(
    "text",
    [
        "{{- inputs.a }}",
        "{{ inputs.a }}\n",
        "{{ inputs.1 }}",
        "{{ inputs.a.b-c }}",
        "{{ .inputs.a }}",
        "{{ inputs. a }}",
    ],
)
def test_what_is_more_than_a_plain_path_is_parsed(text: str) -> None:
    assert not parser._PLAIN_PATH.fullmatch(text)
