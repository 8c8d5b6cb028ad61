"""Template text as tokens.

Text outside ``{{ }}`` is one token with the trim markers already applied; inside, spaces are tokens, because they
separate arguments. In addition to Go's language, the lexer supports subscripts: ``[``, ``]`` and single-quoted keys
between them. Source: templating contract 3.1 and 7.1.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from core.expressions.errors import TemplateSyntaxError

LEFT: Final = "{{"
RIGHT: Final = "}}"
MAX_LEXEMES: Final = 20_000
"""Compiled, so many take 10 MB; a tenth of a template of 1 MiB could have as many."""
_SPACES: Final = " \t\r\n"
_SPACE_SET: Final = frozenset(_SPACES)
_KEYWORDS: Final = frozenset(["block", "break", "continue", "define", "else", "end", "if", "range", "template", "with"])
_OPERATOR_REMEDY: Final = {
    "==": 'there are no operators; write eq, as in {{ eq inputs.mode "fast" }}',
    "!=": 'there are no operators; write ne, as in {{ ne inputs.mode "fast" }}',
    "!": "there are no operators; write not, as in {{ not inputs.done }}",
    "<": "there are no operators; write lt or le, as in {{ lt (len inputs.items) 5 }}",
    ">": "there are no operators; write gt or ge, as in {{ gt (len inputs.items) 5 }}",
    "&": "there are no operators; write and, as in {{ and inputs.a inputs.b }}",
    "+": "there are no operators; write add, as in {{ add inputs.n 1 }}",
    "-": 'a name with a hyphen is written steps["my-step"]; subtraction is {{ sub inputs.n 1 }}',
    "*": "there are no operators; write mul, as in {{ mul inputs.n 2 }}",
    "/": "there are no operators; write div, as in {{ div inputs.n 2 }}; a comment is {{/* text */}}",
    "?": "there are no operators; write ternary, as in {{ ternary 1 2 inputs.flag }}",
}


class Token:
    """The kind of a token: a string and not an enum member, because the lookup of a member takes longer than everything
    else.
    """

    TEXT: Final = "TEXT"
    LEFT: Final = "LEFT"
    RIGHT: Final = "RIGHT"
    SPACE: Final = "SPACE"
    IDENTIFIER: Final = "IDENTIFIER"
    KEYWORD: Final = "KEYWORD"
    BOOL: Final = "BOOL"
    NIL: Final = "NIL"
    FIELD: Final = "FIELD"
    VARIABLE: Final = "VARIABLE"
    DOT: Final = "DOT"
    NUMBER: Final = "NUMBER"
    CHARACTER: Final = "CHARACTER"
    STRING: Final = "STRING"
    KEY: Final = "KEY"
    PIPE: Final = "PIPE"
    ASSIGN: Final = "ASSIGN"
    DECLARE: Final = "DECLARE"
    COMMA: Final = "COMMA"
    OPEN: Final = "OPEN"
    CLOSE: Final = "CLOSE"
    OPEN_SUBSCRIPT: Final = "OPEN_SUBSCRIPT"
    CLOSE_SUBSCRIPT: Final = "CLOSE_SUBSCRIPT"
    END: Final = "END"


_WORDS: Final = {
    **dict.fromkeys(_KEYWORDS, Token.KEYWORD),
    "true": Token.BOOL,
    "false": Token.BOOL,
    "nil": Token.NIL,
}


class Lexeme(NamedTuple):
    """One token: its kind (one of ``Token``), its source text, and its offset in the template."""

    kind: str
    text: str
    offset: int

    @property
    def end(self) -> int:
        return self.offset + len(self.text)


_INSIDE: Final = re.compile(
    r"""
      (?P<RIGHT>[ \t\r\n]-\}\}|\}\})
    | (?P<SPACE>[ \t\r\n]+?(?=[ \t\r\n]-\}\})|[ \t\r\n]+)
    | (?P<DECLARE>:=)
    | (?P<ASSIGN>=(?!=))
    | (?P<COMMA>,)
    | (?P<PIPE>\|(?!\|))
    | (?P<STRING>"(?:[^"\\\n]|\\[^\n])*"|`[^`]*`)
    | (?P<QUOTED>'(?:[^'\\\n]|\\[^\n])*')
    | (?P<VARIABLE>\$\w*)
    | (?P<NUMBER>[+-]?(?:0[xX][0-9a-fA-F_]*(?:\.[0-9a-fA-F_]*)?(?:[pP][+-]?[0-9_]*)?
                 |0[oO][0-7_]*|0[bB][01_]*
                 |(?:[0-9][0-9_]*(?:\.[0-9_]*)?|\.[0-9][0-9_]*)(?:[eE][+-]?[0-9_]*)?)
               i?(?![\w]))
    | (?P<FIELD>\.(?![0-9])\w+)
    | (?P<DOT>\.(?![0-9]))
    | (?P<WORD>\w+)
    | (?P<OPEN>\()
    | (?P<CLOSE>\))
    | (?P<OPEN_SUBSCRIPT>\[)
    | (?P<CLOSE_SUBSCRIPT>\])
    """,
    re.VERBOSE,
)
"""Groups are named like their tokens, except words and single-quoted strings, which may become several kinds."""
_MUST_BE_TERMINATED: Final = frozenset({"VARIABLE", "FIELD", "WORD"})
_TERMINATORS: Final = frozenset(" \t\r\n.,|:()[]")


def tokenize(text: str) -> list[Lexeme]:
    """The tokens of ``text``, ``END`` last.

    Raises:
        TemplateSyntaxError: with the offset of the wrong character.
    """
    lexemes: list[Lexeme] = []
    position, trim_next = 0, False
    while True:
        opening = text.find(LEFT, position)
        body = text[position : opening if opening >= 0 else len(text)]
        start = position
        if trim_next:
            stripped = body.lstrip(_SPACES)
            start += len(body) - len(stripped)
            body = stripped
        trims = (
            opening >= 0 and text[opening + 2 : opening + 3] == "-" and text[opening + 3 : opening + 4] in _SPACE_SET
        )
        if trims:
            body = body.rstrip(_SPACES)
        if body:
            lexemes.append(Lexeme(Token.TEXT, body, start))
        if opening < 0:
            lexemes.append(Lexeme(Token.END, "", len(text)))
            return lexemes
        inside = opening + (4 if trims else 2)
        if text.startswith("/*", inside):
            position, trim_next = _skip_comment(text, opening, inside)
            continue
        lexemes.append(Lexeme(Token.LEFT, text[opening:inside], opening))
        _tokenize_action(text, opening, inside, lexemes)
        right = lexemes[-1]
        position, trim_next = right.end, right.text != RIGHT


def _skip_comment(text: str, opening: int, inside: int) -> tuple[int, bool]:
    close = text.find("*/", inside)
    if close < 0:
        raise TemplateSyntaxError("the comment is not closed", offset=opening, remedy="end it with */}}")
    after = close + 2
    if text.startswith(RIGHT, after):
        return after + 2, False
    if text[after : after + 1] in _SPACE_SET and text.startswith("-}}", after + 1):
        return after + 4, True
    raise TemplateSyntaxError("the comment does not end its action", offset=close, remedy="write {{/* text */}}")


def _tokenize_action(text: str, opening: int, position: int, lexemes: list[Lexeme]) -> None:
    """Add the tokens of an action; ``RIGHT`` is the last one."""
    parentheses = subscripts = 0
    while True:
        match = _INSIDE.match(text, position)
        if match is None:
            raise _why_not_a_token(text, opening, position)
        group, word = match.lastgroup or "", match[0]
        lexemes.append(Lexeme(_kind_of(group, word, in_subscript=subscripts > 0), word, position))
        if len(lexemes) > MAX_LEXEMES:
            what = f"a template holds at most {MAX_LEXEMES} words and signs in its actions"
            raise TemplateSyntaxError(what, offset=position, remedy="divide it among several values, or steps")
        if group == "RIGHT":
            if parentheses or subscripts:
                mark = "parenthesis" if parentheses else "bracket"
                raise TemplateSyntaxError(f"a {mark} is not closed", offset=position)
            return
        if group == "OPEN":
            parentheses += 1
        elif group == "CLOSE":
            parentheses -= 1
            if parentheses < 0:
                raise TemplateSyntaxError("unexpected right parenthesis", offset=position)
        elif group == "OPEN_SUBSCRIPT":
            subscripts += 1
        elif group == "CLOSE_SUBSCRIPT":
            subscripts -= 1
            if subscripts < 0:
                raise TemplateSyntaxError("unexpected right bracket", offset=position)
        position += len(word)
        if group in _MUST_BE_TERMINATED and not _is_terminated(text, position):
            raise _bad_character(text, position)


def _kind_of(group: str, word: str, *, in_subscript: bool) -> str:
    if group == "WORD":
        return _WORDS.get(word, Token.IDENTIFIER)
    if group == "QUOTED":
        return Token.KEY if in_subscript else Token.CHARACTER
    return group


def _is_terminated(text: str, position: int) -> bool:
    return position >= len(text) or text[position] in _TERMINATORS or text.startswith(RIGHT, position)


def _bad_character(text: str, position: int) -> TemplateSyntaxError:
    remedy = next((remedy for mark, remedy in _OPERATOR_REMEDY.items() if text.startswith(mark, position)), "")
    return TemplateSyntaxError(f"unexpected character {text[position]!r}", offset=position, remedy=remedy)


def _why_not_a_token(text: str, opening: int, position: int) -> TemplateSyntaxError:
    if position >= len(text):
        return TemplateSyntaxError("the action is not closed", offset=opening, remedy="end it with }}")
    mark = text[position]
    if mark in "\"'`":
        return TemplateSyntaxError("the quoted string is not closed", offset=position)
    if text.startswith("/*", position):
        return TemplateSyntaxError(
            "a comment must be at the start of its action", offset=position, remedy="write {{/* text */}}"
        )
    if mark.isdigit() or (mark in ".+-" and text[position + 1 : position + 2].isdigit()):
        return TemplateSyntaxError("this is not a number", offset=position, remedy="quote it if it is a string")
    return _bad_character(text, position)
