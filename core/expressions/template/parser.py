"""Template text → tree.

Go's grammar, plus two extensions that the pre-processing of the reference implementation allows: ``inputs``, ``steps``
and ``packet`` without their dot, and subscripts after an operand. All problems of the text are raised with their place.
Source: templating contract 3.1 and 7.2.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from typing import Final, NoReturn, TypeVar

from core.expressions.errors import ForbiddenFunctionError, TemplateSyntaxError, UnknownFunctionError
from core.expressions.roots import TEMPLATE_ROOTS
from core.expressions.template import lexer, literals, nodes
from core.expressions.template.lexer import Lexeme, Token

_T = TypeVar("_T")

_ROOTS: Final = frozenset(TEMPLATE_ROOTS)
_PLAIN_PATH: Final = re.compile(rf"\{{\{{ *((?:{'|'.join(TEMPLATE_ROOTS)})(?:\.[A-Za-z_][A-Za-z0-9_]*)*) *\}}\}}")
"""A text that is only ``{{ inputs.city }}`` or similar, as most templates are."""
FORBIDDEN_FUNCTIONS: Final = frozenset({"env", "expandenv", "getHostByName"})
MAX_DEPTH: Final = 100  # of parentheses and blocks; each level takes a few Python frames here and at run time

_NOT_A_COMMAND: Final = (nodes.Bool, nodes.Dot, nodes.Nil, nodes.Number, nodes.String)
_NO_FIELDS: Final = (nodes.Bool, nodes.String, nodes.Number, nodes.Nil, nodes.Dot)
_BLOCK_ENDS: Final = frozenset({"end", "else"})


def parse(text: str, functions: Collection[str], refused: Mapping[str, str] | None = None) -> nodes.Tree:
    """The tree of ``text``; its function names must be in ``functions``; ``refused`` has reasons why others are not
    available.

    Raises:
        TemplateSyntaxError: with the offset of the problem.
    """
    plain = _PLAIN_PATH.fullmatch(text)
    return _plain_tree(plain) if plain else _Parser(text, functions, refused or {}).parse()


def _plain_tree(plain: re.Match[str]) -> nodes.Tree:
    """The tree that the parser would return for such a text, in a fraction of the time."""
    offset = plain.start(1)
    path = nodes.Field(tuple(plain[1].split(".")), offset, bare=True)
    pipe = nodes.Pipe((), False, (nodes.Command((path,), offset),), offset)
    return nodes.Tree((nodes.Action(pipe, 0, plain.end(), trimmed=False),), (), len(path.names) + 2)


class _Parser:
    def __init__(self, text: str, functions: Collection[str], refused: Mapping[str, str]) -> None:
        self._functions = functions
        self._refused = refused
        self._lexemes = lexer.tokenize(text)
        self._index = 0
        self._depth = 0
        self._range_depth = 0
        self._variables = ["$"]
        self._definitions: dict[str, nodes.Block] = {}

    def parse(self) -> nodes.Tree:
        root: list[nodes.Statement] = []
        while self._peek().kind != Token.END:
            if self._at_keyword("define"):
                self._definition()
                continue
            statement = self._statement()
            if isinstance(statement, Lexeme):
                self._fail(f"unexpected {{{{{statement.text}}}}}", statement.offset)
            root.append(statement)
        return nodes.Tree(tuple(root), tuple(self._definitions.items()), len(self._lexemes))

    # Statements

    def _definition(self) -> None:
        start = self._next().offset
        self._take_space()
        self._next()
        name = self._template_name()
        self._expect(Token.RIGHT, "define")
        self._define(name, self._separate_body(start, "define"), start)

    def _separate_body(self, start: int, keyword: str) -> nodes.Block:
        outer, self._variables = self._variables, ["$"]
        outer_range, self._range_depth = self._range_depth, 0
        body, end = self._block(start)
        if end.text != "end":
            self._fail(f"unexpected {{{{else}}}} in {keyword}", end.offset)
        self._expect(Token.RIGHT, "end")
        self._variables, self._range_depth = outer, outer_range
        return body

    def _define(self, name: str, body: nodes.Block, offset: int) -> None:
        if name not in self._definitions or _is_blank(self._definitions[name]):
            self._definitions[name] = body
        elif not _is_blank(body):
            self._fail(f"the template {name!r} is defined twice", offset)

    def _statement(self) -> nodes.Statement | Lexeme:
        """One statement, or the ``end`` or ``else`` keyword that closes the surrounding block."""
        lexeme = self._next()
        if lexeme.kind == Token.TEXT:
            return nodes.Text(lexeme.text, lexeme.offset)
        self._take_space()
        keyword = self._peek()
        if keyword.kind != Token.KEYWORD:
            pipe = self._pipeline("action", Token.RIGHT)
            right = self._next()
            trimmed = lexeme.text != lexer.LEFT or right.text != lexer.RIGHT
            return nodes.Action(pipe, lexeme.offset, right.end, trimmed)
        self._next()
        match keyword.text:
            case "if" | "with" | "range":
                return self._control(keyword.text, lexeme.offset)
            case "break" | "continue":
                return self._leave(keyword, lexeme.offset)
            case "template":
                return self._include(lexeme.offset)
            case "block":
                return self._named_block(lexeme.offset)
            case "end" | "else":
                return keyword
        remedy = "define templates outside of other blocks"
        raise TemplateSyntaxError(f"unexpected {keyword.text}", offset=keyword.offset, remedy=remedy)

    def _block(self, start: int) -> tuple[nodes.Block, Lexeme]:
        statements: list[nodes.Statement] = []
        while self._peek().kind != Token.END:
            statement = self._statement()
            if isinstance(statement, Lexeme):
                return tuple(statements), statement
            statements.append(statement)
        raise TemplateSyntaxError("the block is not closed", offset=start, remedy="end it with {{ end }}")

    def _control(self, keyword: str, start: int) -> nodes.Statement:
        self._enter(start)
        visible = len(self._variables)
        pipe = self._pipeline(keyword, Token.RIGHT)
        self._next()
        self._range_depth += keyword == "range"
        body, end = self._block(start)
        self._range_depth -= keyword == "range"
        otherwise: nodes.Block = ()
        if end.text == "else":
            otherwise = self._otherwise(keyword, start)
        else:
            self._expect(Token.RIGHT, "end")
        del self._variables[visible:]
        self._depth -= 1
        if keyword == "if":
            return nodes.If(pipe, body, otherwise, start)
        if keyword == "with":
            return nodes.With(pipe, body, otherwise, start)
        return nodes.Range(pipe, body, otherwise, start)

    def _otherwise(self, keyword: str, start: int) -> nodes.Block:
        self._take_space()
        following = self._peek()
        if following.kind == Token.KEYWORD and following.text == keyword and keyword != "range":
            self._next()
            return (self._control(keyword, following.offset),)
        self._expect(Token.RIGHT, "else")
        body, end = self._block(start)
        if end.text != "end":
            self._fail("a second else", end.offset, "write {{ else if ... }} or {{ end }}")
        self._expect(Token.RIGHT, "end")
        return body

    def _leave(self, keyword: Lexeme, start: int) -> nodes.Statement:
        if not self._range_depth:
            self._fail(f"{{{{{keyword.text}}}}} outside of a range", keyword.offset)
        self._expect(Token.RIGHT, keyword.text)
        return nodes.Break(start) if keyword.text == "break" else nodes.Continue(start)

    def _include(self, start: int) -> nodes.Include:
        name = self._template_name()
        self._take_space()
        pipe = None
        if self._peek().kind != Token.RIGHT:
            pipe = self._pipeline("template", Token.RIGHT)
        self._next()
        return nodes.Include(name, pipe, start)

    def _named_block(self, start: int) -> nodes.Include:
        self._enter(start)
        name = self._template_name()
        pipe = self._pipeline("block", Token.RIGHT)
        self._next()
        self._define(name, self._separate_body(start, "block"), start)
        self._depth -= 1
        return nodes.Include(name, pipe, start)

    def _template_name(self) -> str:
        self._take_space()
        lexeme = self._next()
        if lexeme.kind != Token.STRING:
            self._fail("the name of a template must be a quoted string", lexeme.offset)
        return self._literal(literals.unquote, lexeme)

    # Pipelines

    def _pipeline(self, context: str, end: str) -> nodes.Pipe:
        start = self._take_space().offset
        declared, assigns = self._declaration(context)
        commands: list[nodes.Command] = []
        while True:
            self._take_space()
            lexeme = self._peek()
            if lexeme.kind == end:
                break
            if lexeme.kind not in _OPERAND_STARTS:
                self._unexpected(lexeme, context)
            commands.append(self._command(context))
        if not commands:
            self._fail(f"missing value for {context}", lexeme.offset)
        for stage in commands[1:]:
            if isinstance(stage.operands[0], _NOT_A_COMMAND):
                self._fail("a value cannot receive the piped value", stage.offset, "pipe into a function")
        return nodes.Pipe(declared, assigns, tuple(commands), start)

    def _declaration(self, context: str) -> tuple[tuple[str, ...], bool]:
        names: list[str] = []
        while self._peek().kind == Token.VARIABLE:
            mark = self._index
            variable = self._next()
            operator = self._take_space()
            if operator.kind in (Token.DECLARE, Token.ASSIGN):
                self._next()
                names.append(variable.text)
                self._variables.append(variable.text)
                return tuple(names), operator.kind == Token.ASSIGN
            if operator.kind != Token.COMMA:
                if names:
                    self._fail(f"{', '.join(names)} declared without a value", variable.offset, "write :=")
                self._index = mark
                break
            if context != "range" or names:
                self._fail(f"too many declarations in {context}", operator.offset)
            self._next()
            names.append(variable.text)
            self._variables.append(variable.text)
            if self._take_space().kind != Token.VARIABLE:
                self._fail("range can only declare variables", self._peek().offset)
        return tuple(names), False

    def _command(self, context: str) -> nodes.Command:
        start = self._peek().offset
        operands: list[nodes.Operand] = []
        while True:
            self._take_space()
            operand = self._operand()
            if operand is not None:
                operands.append(operand)
            lexeme = self._peek()
            if lexeme.kind == Token.SPACE:
                self._next()
                continue
            if lexeme.kind == Token.PIPE:
                self._next()
            elif lexeme.kind not in (Token.RIGHT, Token.CLOSE):
                self._unexpected(lexeme, context)
            break
        if not operands:
            self._fail("empty command", start)
        return nodes.Command(tuple(operands), start)

    # Operands

    def _operand(self) -> nodes.Operand | None:
        operand = self._term()
        if operand is None:
            return None
        while True:
            following = self._peek()
            if following.kind == Token.FIELD:
                operand = self._with_fields(operand)
            elif following.kind == Token.OPEN_SUBSCRIPT:
                operand = self._with_subscript(operand)
            else:
                return operand

    def _with_fields(self, operand: nodes.Operand) -> nodes.Operand:
        names: list[str] = []
        while self._peek().kind == Token.FIELD:
            names.append(self._next().text[1:])
        match operand:
            case nodes.Field():
                return nodes.Field((*operand.names, *names), operand.offset, operand.bare)
            case nodes.Variable():
                return nodes.Variable(operand.name, (*operand.fields, *names), operand.offset)
            case nodes.Chain():
                return nodes.Chain(operand.operand, (*operand.fields, *names), operand.offset)
        if isinstance(operand, _NO_FIELDS):
            self._fail("a literal has no fields", operand.offset)
        return nodes.Chain(operand, tuple(names), operand.offset)

    def _with_subscript(self, operand: nodes.Operand) -> nodes.Pipe:
        bracket = self._next()
        self._take_space()
        lexeme = self._next()
        extended = isinstance(operand, nodes.Variable)
        key: nodes.Operand
        if lexeme.kind == Token.STRING:
            key = nodes.String(self._literal(literals.unquote, lexeme), lexeme.text, lexeme.offset)
            extended |= lexeme.text.startswith("`")
        elif lexeme.kind == Token.KEY:
            value = self._literal(literals.unquote_key, lexeme)
            key = nodes.String(value, lexeme.text, lexeme.offset)
            extended |= len(value) != 1
        elif lexeme.kind == Token.NUMBER:
            number = self._literal(literals.parse_number, lexeme)
            if number.whole is None or number.is_float:
                self._fail("a list index is a whole number", lexeme.offset)
            key, extended = nodes.Number(lexeme.text, number, lexeme.offset), True
        else:
            self._fail(
                "a subscript is a quoted key or a number", lexeme.offset, "for anything else write (index value key)"
            )
        self._take_space()
        if self._next().kind != Token.CLOSE_SUBSCRIPT:
            self._fail("a subscript holds one key", bracket.offset, 'write value["a"]["b"]')
        command = nodes.Command((nodes.Name("index", operand.offset), operand, key), operand.offset)
        form = nodes.Subscript.EXTENDED if extended else nodes.Subscript.REFERENCE
        return nodes.Pipe((), False, (command,), operand.offset, form)

    def _term(self) -> nodes.Operand | None:
        lexeme = self._peek()
        if lexeme.kind not in _OPERAND_STARTS:
            return None
        self._next()
        offset = lexeme.offset
        match lexeme.kind:
            case Token.IDENTIFIER:
                return self._name(lexeme)
            case Token.FIELD:
                return nodes.Field((lexeme.text[1:],), offset)
            case Token.DOT:
                return nodes.Dot(offset)
            case Token.NIL:
                return nodes.Nil(offset)
            case Token.BOOL:
                return nodes.Bool(lexeme.text == "true", offset)
            case Token.VARIABLE:
                if lexeme.text not in self._variables:
                    self._fail(f"the variable {lexeme.text} is not declared", offset, f"write {lexeme.text} := first")
                return nodes.Variable(lexeme.text, (), offset)
            case Token.NUMBER:
                return nodes.Number(lexeme.text, self._literal(literals.parse_number, lexeme), offset)
            case Token.CHARACTER:
                code = self._literal(literals.unquote_character, lexeme)
                return nodes.Number(lexeme.text, literals.NumberValue(code, float(code), is_float=False), offset)
            case Token.STRING:
                return nodes.String(self._literal(literals.unquote, lexeme), lexeme.text, offset)
            case _:
                return self._parenthesised(offset)

    def _name(self, lexeme: Lexeme) -> nodes.Operand:
        if lexeme.text in _ROOTS:
            return nodes.Field((lexeme.text,), lexeme.offset, bare=True)
        if lexeme.text in FORBIDDEN_FUNCTIONS:
            raise ForbiddenFunctionError(
                f"the function {lexeme.text} is not available: it reads the operator's own environment",
                offset=lexeme.offset,
                subject=lexeme.text,
                remedy="pass the value in through inputs",
            )
        if lexeme.text in self._refused:
            self._fail(f"the function {lexeme.text} is not available: {self._refused[lexeme.text]}", lexeme.offset)
        if lexeme.text not in self._functions:
            remedy = f"write .{lexeme.text} for a variable" if self._peek().kind == Token.FIELD else ""
            message = f"there is no function {lexeme.text}"
            raise UnknownFunctionError(message, subject=lexeme.text, offset=lexeme.offset, remedy=remedy)
        return nodes.Name(lexeme.text, lexeme.offset)

    def _parenthesised(self, offset: int) -> nodes.Pipe:
        self._enter(offset)
        pipe = self._pipeline("parentheses", Token.CLOSE)
        self._next()
        self._depth -= 1
        return pipe

    def _literal(self, convert: Callable[[str], _T], lexeme: Lexeme) -> _T:
        try:
            return convert(lexeme.text)
        except ValueError as error:
            raise TemplateSyntaxError(str(error), offset=lexeme.offset) from error

    # Tokens

    def _peek(self) -> Lexeme:
        return self._lexemes[self._index]

    def _next(self) -> Lexeme:
        lexeme = self._lexemes[self._index]
        if lexeme.kind != Token.END:
            self._index += 1
        return lexeme

    def _take_space(self) -> Lexeme:
        """Skip spaces; returns the following token without consuming it."""
        while self._lexemes[self._index].kind == Token.SPACE:
            self._index += 1
        return self._lexemes[self._index]

    def _at_keyword(self, keyword: str) -> bool:
        if self._peek().kind != Token.LEFT:
            return False
        index = self._index + 1
        while self._lexemes[index].kind == Token.SPACE:
            index += 1
        return self._lexemes[index].kind == Token.KEYWORD and self._lexemes[index].text == keyword

    def _expect(self, kind: str, context: str) -> Lexeme:
        lexeme = self._take_space()
        if lexeme.kind != kind:
            self._unexpected(lexeme, context)
        return self._next()

    def _enter(self, offset: int) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            self._fail(f"nested deeper than {MAX_DEPTH} levels", offset)

    def _unexpected(self, lexeme: Lexeme, context: str) -> NoReturn:
        self._fail(f"unexpected {lexeme.text!r} in {context}", lexeme.offset)

    def _fail(self, message: str, offset: int, remedy: str = "") -> NoReturn:
        raise TemplateSyntaxError(message, offset=offset, remedy=remedy)


_OPERAND_STARTS: Final = frozenset(
    {
        Token.BOOL,
        Token.CHARACTER,
        Token.DOT,
        Token.FIELD,
        Token.IDENTIFIER,
        Token.NIL,
        Token.NUMBER,
        Token.STRING,
        Token.VARIABLE,
        Token.OPEN,
    }
)


def _is_blank(block: nodes.Block) -> bool:
    return all(isinstance(statement, nodes.Text) and not statement.value.strip() for statement in block)
