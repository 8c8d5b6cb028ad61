"""Counts the constructs and functions that templates use."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

from core.expressions import TemplateSyntaxError
from core.expressions.expression import FUNCTIONS
from core.expressions.template import lexer, nodes, parser

CONSTRUCTS: Final = (
    *(
        "text",
        "action",
        "comment",
        "trim marker left",
        "trim marker right",
        "if",
        "else",
        "else if",
        "with",
        "else with",
    ),
    *("range over one variable", "range over two variables", "range without variables", "range else"),
    *("break", "continue", "define", "template", "template with argument", "block"),
    *("declaration", "assignment", "pipeline", "parentheses", "fields of a result"),
    *("dot", "field", "bare root", "variable", "fields of a variable", "whole data", "nil", "bool"),
    *("quoted text", "raw text", "character", "decimal", "hexadecimal", "octal", "binary", "underscores"),
    *("negative number", "fraction", "exponent", "hexadecimal fraction"),
    *("subscript", "short circuit"),
)
UNREPEATABLE: Final = frozenset({"uuidv4", "randAlpha", "randAlphaNum", "randAscii", "randNumeric"})
"""Functions whose results can be compared only in shape."""


class Coverage:
    """Counts of the constructs and functions in the templates added so far."""

    def __init__(self) -> None:
        self.constructs: Counter[str] = Counter(dict.fromkeys(CONSTRUCTS, 0))
        self.functions: Counter[str] = Counter(dict.fromkeys(FUNCTIONS, 0))

    def add(self, template: str) -> None:
        """Count each thing that ``template`` uses once; a template with a syntax error counts nothing."""
        try:
            tree = parser.parse(template, FUNCTIONS)
        except TemplateSyntaxError:
            return
        used = {*_in_text(template), *_in_tree(tree)}
        self.functions.update({name.removeprefix("function ") for name in used if name.startswith("function ")})
        self.constructs.update(name for name in used if not name.startswith("function "))

    def missing(self) -> list[str]:
        """The constructs and functions that no template has used."""
        counted = {**self.constructs, **self.functions}
        return sorted(name for name, count in counted.items() if not count)


def _in_text(template: str) -> Iterator[str]:
    """The constructs that are not visible in the tree."""
    for keyword in ("block", "define"):
        if keyword in template and any(f"{{{{{space}{keyword} " in template for space in ("", " ", "- ")):
            yield keyword
    if "/*" in template:
        yield "comment"
    for lexeme in lexer.tokenize(template):
        if lexeme.kind == lexer.Token.LEFT and lexeme.text != lexer.LEFT:
            yield "trim marker left"
        elif lexeme.kind == lexer.Token.RIGHT and lexeme.text != lexer.RIGHT:
            yield "trim marker right"
        elif lexeme.kind == lexer.Token.CHARACTER:
            yield "character"


def _in_tree(tree: nodes.Tree) -> Iterator[str]:
    for block in (tree.root, *(body for _name, body in tree.definitions)):
        yield from _in_block(block)
        for pipe in nodes.pipes_of(block):
            yield from _in_pipe(pipe)
            for operand in nodes.operands_of(pipe):
                yield from _in_operand(operand)


def _in_block(block: Iterable[nodes.Statement]) -> Iterator[str]:
    for statement in block:
        match statement:
            case nodes.If() | nodes.With() | nodes.Range():
                yield from _in_control(statement)
                yield from _in_block(statement.body)
                yield from _in_block(statement.otherwise)
            case nodes.Include(pipe=pipe):
                yield "template"
                if pipe is not None:
                    yield "template with argument"
            case _:
                yield type(statement).__name__.lower()


def _in_control(statement: nodes.If | nodes.With | nodes.Range) -> Iterator[str]:
    keyword = type(statement).__name__.lower()
    if isinstance(statement, nodes.Range):
        declared = len(statement.pipe.declared)
        yield ("range without variables", "range over one variable", "range over two variables")[declared]
        if statement.otherwise:
            yield "range else"
        return
    yield keyword
    if len(statement.otherwise) == 1 and type(statement.otherwise[0]) is type(statement):
        yield f"else {keyword}"
    elif statement.otherwise:
        yield "else"


def _in_pipe(pipe: nodes.Pipe) -> Iterator[str]:
    if pipe.declared:
        yield "assignment" if pipe.assigns else "declaration"
    if len(pipe.commands) > 1:
        yield "pipeline"


def _in_operand(operand: nodes.Operand) -> Iterator[str]:
    match operand:
        case nodes.Pipe():
            yield "parentheses" if operand.subscript is nodes.Subscript.NO else "subscript"
            yield from _in_pipe(operand)
        case nodes.Chain():
            yield "fields of a result"
        case nodes.Field(bare=bare):
            yield "bare root" if bare else "field"
        case nodes.Variable(name=name, fields=fields):
            yield "whole data" if name == "$" else "variable"
            if fields:
                yield "fields of a variable"
        case nodes.Name(name=name):
            yield f"function {name}"
            if name in ("and", "or"):
                yield "short circuit"
        case nodes.String(source=source):
            yield "raw text" if source.startswith("`") else "quoted text"
        case nodes.Number(source=source):
            yield from _in_number(source.lower())
        case _:
            yield type(operand).__name__.lower()


def _in_number(source: str) -> Iterator[str]:
    if source.startswith("'"):
        return
    if source.startswith("-"):
        yield "negative number"
    digits = source.lstrip("+-")
    if "_" in digits:
        yield "underscores"
    if digits.startswith("0x"):
        yield "hexadecimal fraction" if "p" in digits else "hexadecimal"
    elif digits.startswith("0b"):
        yield "binary"
    elif digits.startswith("0o") or (digits.startswith("0") and digits.isdigit() and len(digits) > 1):
        yield "octal"
    elif "e" in digits:
        yield "exponent"
    else:
        yield "fraction" if "." in digits else "decimal"
