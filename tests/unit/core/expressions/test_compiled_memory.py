"""Compiled expressions take bounded memory: each of them, and all that are kept."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator

import pytest

from core.caches.recently_used import ENTRY_BYTES
from core.expressions import analysis
from core.expressions.cel import condition
from core.expressions.errors import TemplateSyntaxError
from core.expressions.expression import CACHED_FACT_BYTES, CACHED_TEMPLATE_BYTES, LEXEME_BYTES, compile_template
from core.expressions.reads import reads_of
from core.expressions.template.lexer import MAX_LEXEMES

SHAPES: dict[str, Callable[[int, int], str]] = {
    "many operands": lambda count, number: f"{{{{ list {number} " + "1 " * (count // 2 - 4) + "}}",
    "many actions": lambda count, number: str(number) + "{{.a}}" * (count // 3 - 2),
    "many parentheses": lambda count, number: str(number) + "{{(((inputs.a)))}}" * (count // 10 - 1),
    "many blocks": lambda count, number: str(number) + "{{if inputs.a}}x{{end}}" * (count // 12 - 1),
}


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """A large heap makes the collections of later tests long."""
    yield
    for function in (compile_template, analysis._compiled, reads_of, condition._compiled):
        function.cache_clear()


@pytest.mark.parametrize("shape", SHAPES)
def test_a_word_of_a_template_takes_no_more_than_it_counts(shape: str) -> None:
    text = SHAPES[shape](2_000, 1)
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    template = compile_template.__wrapped__(text)
    template.program._compiled()
    taken = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()

    assert template.tree.lexemes > 1_500
    assert taken <= LEXEME_BYTES * template.tree.lexemes


@pytest.mark.parametrize("shape", SHAPES)
def test_a_template_has_a_largest_number_of_words(shape: str) -> None:
    compile_template(SHAPES[shape](MAX_LEXEMES, 1))
    with pytest.raises(TemplateSyntaxError, match=f"at most {MAX_LEXEMES} words and signs") as refused:
        compile_template(SHAPES[shape](2 * MAX_LEXEMES, 1))
    assert "divide it" in str(refused.value.remedy)


def test_text_around_actions_is_not_limited_by_words() -> None:
    assert compile_template("# prompt\n" * 50_000 + "{{ inputs.city }}").tree.lexemes < 10


@pytest.mark.parametrize("function", [compile_template, analysis._compiled])
def test_large_templates_are_kept_up_to_a_size(function: Callable[[str], object]) -> None:
    for number in range(8):
        function(SHAPES["many operands"](MAX_LEXEMES, number))
    assert function.cache_info().currsize <= CACHED_TEMPLATE_BYTES // (MAX_LEXEMES * LEXEME_BYTES) + 1  # type: ignore[attr-defined]


def test_what_a_large_template_reads_is_kept_up_to_a_size() -> None:
    texts = [f"{number}" + "{{ inputs.a.b.c }}" * 2_400 for number in range(12)]
    reads = reads_of.__wrapped__(texts[0])
    assert len(reads.paths) == 2_400
    for text in texts:
        reads_of(text)
    assert reads_of.cache_info().currsize <= CACHED_FACT_BYTES // (2_400 * ENTRY_BYTES) + 1


def test_an_error_that_is_kept_does_not_keep_what_the_parser_held() -> None:
    error = analysis._compiled("{{ list " + "1 " * 2_000 + "}}{{ nothing }}")
    assert isinstance(error, TemplateSyntaxError)
    assert (error.__traceback__, error.__cause__, error.__context__) == (None, None, None)


def test_large_conditions_are_kept_up_to_a_size() -> None:
    for number in range(60):
        condition.compile_condition("||".join(f"inputs.a=={number}{other:02}" for other in range(110)))
    assert condition.cache_info().currsize < 30
