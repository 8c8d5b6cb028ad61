"""Random templates with given variables: typed, so that most of them evaluate; sometimes wrong, so that errors occur.

A template has two spellings. The engine accepts forms that Go does not accept (``inputs.list[0]``, ``inputs`` inside of
``range``). If the generator uses such a form, the spelling for Go has an equivalent form.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from core.api.objects import Object
from fuzz.expressions import data, pools
from fuzz.expressions.choices import Choices
from fuzz.expressions.data import Place
from fuzz.expressions.pools import FRACTIONS, NUMBERS, POOLS, SMALL_NUMBERS
from fuzz.expressions.signatures import BY_CHANCE, SIGNATURES, Signature

_OURS, _GO, _END = "\ue001", "\ue002", "\ue003"
_ALTERNATIVE: Final = re.compile(f"{_OURS}([^{_GO}]*){_GO}([^{_END}]*){_END}")
_IDENTIFIER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_WRONG: Final = 0.02
_LITERAL_KINDS: Final = ("str", "int", "float", "bool", "nil", "list", "map", "any")
_KINDS: Final = (*_LITERAL_KINDS, "int64", "strs", "smap", "time", "version")
_UNTYPED: Final = {
    "num": ("int", "float", "int64", "int"),
    "number": ("float", "int", "int64", "str", "bool", "nil", "any"),
    "sized": ("list", "str", "map", "nil", "strs"),
    "instant": ("time", "int", "int64"),
    "seconds": ("int64", "str", "int", "float"),
    "any": ("float", "str", "list", "map", "bool", "int", "nil", "strs", "int64", "time"),
}
_BY_RESULT: Final[dict[str, list[Signature]]] = {
    kind: [signature for signature in SIGNATURES.values() if signature.result == kind] for kind in _KINDS
}
_OF_ANY_RESULT: Final = _BY_RESULT["any"]
_BY_RESULT["any"] = [*SIGNATURES.values()]
_FURTHER: Final[tuple[str | int, ...]] = ("zz", "a", 0)
_TYPE_FIELDS: Final = {
    "time": (
        "Year",
        "Month",
        "Day",
        "Hour",
        "Minute",
        "Second",
        "Weekday",
        "YearDay",
        "Unix",
        "UnixMilli",
        "IsZero",
        "UTC",
    ),
    "version": ("Major", "Minor", "Patch", "Prerelease", "Metadata", "Original", "IncMajor", "IncMinor", "IncPatch"),
}
_DIRECTIVES: Final = (
    "%v", "%s", "%d", "%q", "%5d", "%-5s|", "%05.1f", "%t", "%T", "%x", "%X", "%o", "%b", "%c", "%U", "%e", "%g",
    "%.3g", "%+d", "%+v", "% d", "%#x", "%%", "%[2]v", "%*d", "%.2s", "%z", "%6.2f", "%+q", "%#q", "%G", "%E", "%O",
    "%-8v|", "%08v", "% x", "%.*f", "%[1]T", "%!", "%", "%#o", "%+.2e", "%x%s", "%3c", "%#U", "%t%t",
)  # fmt: skip
_URL_PARTS: Final = ("path", "host", "scheme", "query", "fragment", "userinfo", "opaque", "hostname")
_VERBS: Final = "vdsqxXobOcUeEfFgGtTz"
_METHODS: Final[dict[str, tuple[tuple[str, tuple[str, ...]], ...]]] = {
    "time": (
        ("Format", ("layout",)),
        ("AddDate", ("small", "small", "small")),
        ("Sub", ("time",)),
        ("Before", ("time",)),
        ("After", ("time",)),
        ("Equal", ("time",)),
        ("Compare", ("time",)),
        ("Add", ("span",)),
        ("Year", ()),
    ),
    "version": tuple(
        (name, ("version",))
        for name in ("Compare", "LessThan", "GreaterThan", "Equal", "LessThanEqual", "GreaterThanEqual")
    ),
    "span": (
        ("Hours", ()),
        ("Minutes", ()),
        ("Seconds", ()),
        ("Milliseconds", ()),
        ("String", ()),
        ("Abs", ()),
        ("Round", ("span",)),
        ("Truncate", ("span",)),
    ),
}


@dataclass(frozen=True)
class Case:
    """A template in both spellings, and its variables."""

    template: str
    for_go: str
    variables: Object = field(repr=False)


@dataclass
class _Scope:
    """The values that a place in the template can use."""

    dot: str = "map"
    dot_places: Sequence[Place] = ()
    rebound: bool = False
    variables: list[tuple[str, str, Sequence[Place]]] = field(default_factory=list)
    in_range: bool = False
    depth: int = 0


def generate(choices: Choices) -> Case:
    """Makes one case."""
    return _Generator(choices).case()


def from_seed(seed: int, index: int) -> tuple[Case, list[int]]:
    """Case ``index`` of the run with ``seed``, and the decisions that make it."""
    choices = Choices(source=random.Random(seed * 1_000_003 + index))
    return generate(choices), choices.taken


class _Generator:
    def __init__(self, choices: Choices) -> None:
        self._choices = choices
        self._data = data.variables(choices)
        self._places = list(data.places(self._data))
        self._definitions: list[str] = []
        self._names = 0

    def case(self) -> Case:
        choices = self._choices
        scope = _Scope(dot_places=[place for place in self._places if len(place.path) > 0])
        shape = choices.weighted([(2, "action"), (3, "block"), (2, "call")])
        if shape == "call":  # one function alone, so that nothing hides its result
            text = self._delimited(self._call(choices.one_of(list(SIGNATURES.values())), scope, 1))
        elif shape == "action":
            text = self._action(scope)
            text = choices.weighted([(6, text), (1, f" {text}\n"), (1, f"{text}{{{{/* c */}}}}")])
        else:
            text = self._block(scope)
        text = "".join(self._definitions) + text
        if _OURS in text:
            text = "!" + text  # a longer form in Go can be a single path in the engine, whose value would keep its type
        by_chance = any(form in text for form in BY_CHANCE.values())
        if _OURS not in text and not by_chance and choices.rarely(0.04):
            text = self._damaged(text)
        return Case(_spelled(text, 1), _spelled(text, 2), self._data)

    def _damaged(self, text: str) -> str:
        """Add or remove one character."""
        at = self._choices.below(len(text) + 1)
        extra = self._choices.one_of(
            ("", "(", ")", " ", "|", '"', ".", "}}", "{{", "$", "-", ",", "x", "=", "`", "1", "'", "\n")
        )
        return text[:at] + extra + text[at + (not extra) :]

    # Statements

    def _block(self, scope: _Scope) -> str:
        mark = len(scope.variables)
        text = "".join(self._statement(scope) for _ in range(1 + self._choices.below(3)))
        del scope.variables[mark:]
        return text

    def _statement(self, scope: _Scope) -> str:
        options = [(6, self._action), (3, self._literal_text), (2, self._declaration), (1, self._comment)]
        if scope.depth < 3:
            options += [(2, self._if), (2, self._with), (3, self._range), (1, self._include)]
        if scope.variables:
            options.append((1, self._assignment))
        if scope.in_range:
            options.append((1, self._leave))
        return self._choices.weighted(options)(scope)

    def _literal_text(self, _scope: _Scope) -> str:
        return self._choices.one_of(("x", " ", "\n", "a: ", "}} ", "é ", "\t\n  ", "{ ", "'\"", "%", "\u00a0"))

    def _comment(self, _scope: _Scope) -> str:
        return self._choices.one_of(("{{/* c */}}", "{{- /* inputs.x }} */ -}}", "{{/* {{ */}}"))

    def _delimited(self, body: str) -> str:
        left = self._choices.weighted([(8, "{{ "), (1, "{{"), (1, "{{- ")])
        right = self._choices.weighted([(8, " }}"), (1, "}}"), (1, " -}}")])
        return left + body + right

    def _action(self, scope: _Scope) -> str:
        return self._delimited(self._pipeline(self._choices.one_of(_KINDS), scope, 3))

    def _declaration(self, scope: _Scope) -> str:
        kind, below = self._choices.one_of(_KINDS), scope.dot_places
        text = self._pipeline(kind, scope, 2)
        self._names += 1
        name = f"$v{self._choices.below(3)}" if self._choices.rarely(0.2) else f"$v{self._names}"
        scope.variables.append((name, kind, ()))
        del below
        return self._delimited(f"{name} := {text}")

    def _assignment(self, scope: _Scope) -> str:
        name, kind, _below = self._choices.one_of(scope.variables)
        return self._delimited(f"{name} = {self._pipeline(kind, scope, 2)}")

    def _leave(self, _scope: _Scope) -> str:
        return self._delimited(self._choices.one_of(("break", "continue")))

    def _condition(self, scope: _Scope) -> str:
        return self._pipeline(self._choices.one_of(("bool", "any", "str", "list", "float")), scope, 2)

    def _if(self, scope: _Scope) -> str:
        text = self._delimited(f"if {self._condition(scope)}") + self._inside(scope)
        if self._choices.rarely(0.25):
            text += self._delimited(f"else if {self._condition(scope)}") + self._inside(scope)
        if self._choices.rarely(0.5):
            text += self._delimited("else") + self._inside(scope)
        return text + self._delimited("end")

    def _with(self, scope: _Scope) -> str:
        head, kind, below = self._walkable(scope, ("map", "any", "str", "list"))
        declared: tuple[tuple[str, str, Sequence[Place]], ...] = ()
        if self._choices.rarely(0.3):
            self._names += 1
            declared = ((f"$v{self._names}", kind, below),)
            head = f"{declared[0][0]} := {head}"
        text = self._delimited(f"with {head}") + self._inside(scope, kind, below, declared)
        if self._choices.rarely(0.2):
            text += self._delimited(f"else with {self._condition(scope)}") + self._inside(scope, "any", ())
        if self._choices.rarely(0.4):
            text += self._delimited("else") + self._inside(scope)
        return text + self._delimited("end")

    def _range(self, scope: _Scope) -> str:
        head, _kind, below = self._walkable(scope, ("list", "map", "strs", "small"))
        element = below[0].kind if below else "any"
        declared: list[tuple[str, str, Sequence[Place]]] = []
        for kind in ((), (element,), ("any", element))[self._choices.below(3)]:
            self._names += 1
            declared.append((f"$v{self._names}", kind, ()))
        if declared:
            head = f"{', '.join(name for name, *_ in declared)} := {head}"
        text = self._delimited(f"range {head}") + self._inside(scope, element, (), declared, in_range=True)
        if self._choices.rarely(0.3):
            text += self._delimited("else") + self._inside(scope)
        return text + self._delimited("end")

    def _walkable(self, scope: _Scope, kinds: Sequence[str]) -> tuple[str, str, Sequence[Place]]:
        """A pipeline whose value is the dot of the next block, its kind, and the places below it."""
        kind = self._choices.one_of(kinds)
        found = [place for place in self._places if place.kind == kind]
        if not found or self._choices.below(3) == 0:
            return self._pipeline(kind, scope, 2), kind, ()
        place = self._choices.one_of(found)
        length = len(place.path)
        below = [
            Place(other.path[length:], other.kind)
            for other in self._places
            if len(other.path) > length and other.path[:length] == place.path
        ]
        return self._path(place.path, scope), kind, below

    def _inside(
        self,
        scope: _Scope,
        dot: str | None = None,
        below: Sequence[Place] = (),
        declared: Sequence[tuple[str, str, Sequence[Place]]] = (),
        *,
        in_range: bool = False,
    ) -> str:
        inner = _Scope(
            dot or scope.dot,
            scope.dot_places if dot is None else below,
            scope.rebound or dot is not None,
            [*scope.variables, *declared],
            scope.in_range or in_range,
            scope.depth + 1,
        )
        return self._block(inner)

    def _include(self, scope: _Scope) -> str:
        name = self._choices.one_of(("t1", "t2", "t 3"))
        kind = self._choices.one_of(("map", "str", "any"))
        argument = self._pipeline(kind, scope, 2)
        if self._choices.rarely(0.3):
            body = self._block(_Scope(kind, (), rebound=True, depth=scope.depth + 2))
            if "$" in body or _OURS in body:  # $ is the argument there, so a root is looked up in it
                body = "b"
            return self._delimited(f'block "{name}{len(self._definitions)}" {argument}') + body + self._delimited("end")
        if not any(f'define "{name}"' in known for known in self._definitions) and not self._choices.rarely(0.1):
            body = self._block(_Scope(kind, (), rebound=True, depth=2))
            self._definitions.append(f'{{{{define "{name}"}}}}' + body + "{{end}}")
        return self._delimited(f'template "{name}" {argument}' if self._choices.below(4) else f'template "{name}"')

    # Pipelines

    def _pipeline(self, kind: str, scope: _Scope, depth: int) -> str:
        """A pipeline that usually has a value of ``kind``, without parentheses around it."""
        if depth <= 0 or self._choices.below(3) == 0:
            return self._operand(kind, scope, depth)
        if self._choices.rarely(0.02):
            return self._method(scope, depth)
        signature = self._function(kind)
        if signature is None:
            return self._operand(kind, scope, depth)
        return self._call(signature, scope, depth)

    def _function(self, kind: str) -> Signature | None:
        if self._choices.rarely(_WRONG):
            return self._choices.one_of(list(SIGNATURES.values()))
        options = _OF_ANY_RESULT if self._choices.rarely(0.08) else _BY_RESULT.get(kind)
        return self._choices.one_of(options) if options else None

    def _call(self, signature: Signature, scope: _Scope, depth: int) -> str:
        if signature.name == "printf":
            return self._printf(scope, depth)
        kinds = list(signature.arguments)
        if signature.variadic:
            last = kinds.pop()
            kinds += [last] * self._choices.below(4)
        if "pair" in kinds:
            kinds = [kind for _ in kinds for kind in ("key", "any")]
            if kinds and self._choices.rarely(0.1):
                kinds.pop()
        if self._choices.rarely(_WRONG / 2):
            kinds = kinds[:-1] if self._choices.below(2) else [*kinds, "any"]
        if kinds and self._choices.below(3) == 1:
            piped = self._pipeline(_narrowed(kinds.pop(), self._choices), scope, depth - 1)
            return f"{piped} | {self._words(signature.name, kinds, scope, depth)}"
        return self._words(signature.name, kinds, scope, depth)

    def _words(self, name: str, kinds: Sequence[str], scope: _Scope, depth: int) -> str:
        arguments = [self._operand(_narrowed(kind, self._choices), scope, depth - 1) for kind in kinds]
        if arguments and self._choices.rarely(0.03):
            arguments.insert(0, "nil")
        return " ".join([name, *arguments])

    def _printf(self, scope: _Scope, depth: int) -> str:
        pattern = "".join(
            self._directive() + self._choices.one_of(("", " ", "-")) for _ in range(self._choices.below(4))
        )
        kinds = [self._choices.one_of(_KINDS) for _ in range(self._choices.below(4))]
        return self._words(f"printf {json.dumps(pattern)}", kinds, scope, depth)

    def _directive(self) -> str:
        choices = self._choices
        if choices.below(2) == 0:
            return choices.one_of(_DIRECTIVES)
        flags = "".join(choices.one_of("+-# 0") for _ in range(choices.below(3)))
        width = choices.one_of(("", "", "3", "8", "12", "*", "[1]", "[2]*"))
        precision = choices.one_of(("", "", ".", ".0", ".2", ".7", ".*", ".[1]"))
        return f"%{flags}{width}{precision}{choices.one_of(_VERBS)}"

    def _method(self, scope: _Scope, depth: int) -> str:
        """A method call with arguments, on a time, a duration or a version."""
        owner = self._choices.one_of(("time", "version", "span"))
        receiver = self._span(scope, depth) if owner == "span" else f"({self._pipeline(owner, scope, depth - 1)})"
        name, kinds = self._choices.one_of(_METHODS[owner])
        arguments = [
            self._span(scope, depth) if kind == "span" else self._operand(kind, scope, depth - 1) for kind in kinds
        ]
        if arguments and self._choices.rarely(0.1):
            arguments.pop()
        return " ".join([f"{receiver}.{name}", *arguments])

    def _span(self, scope: _Scope, depth: int) -> str:
        return f"(({self._pipeline('time', scope, depth - 1)}).Sub {self._operand('time', scope, 0)})"

    # Operands

    def _operand(self, kind: str, scope: _Scope, depth: int) -> str:
        """An operand that usually has ``kind``: a literal, a path, a variable, or a call in parentheses."""
        if self._choices.rarely(_WRONG):
            kind = self._choices.one_of(_KINDS)
        options = ["literal"]
        if any(place.kind == kind or kind == "any" for place in self._places):
            options += ["path"] * 4
        if scope.dot == kind or any(place.kind == kind or kind == "any" for place in scope.dot_places):
            options += ["dot"] * (2 if scope.rebound else 1)
        if any(known == kind or kind == "any" for _name, known, _below in scope.variables):
            options += ["variable"] * 3
        if depth > 0 and kind in _BY_RESULT:
            options += ["call"] * 3
        match self._choices.one_of(options):
            case "path":
                matching = [place for place in self._places if place.kind == kind or kind == "any"]
                return self._path(self._choices.one_of(matching).path, scope)
            case "dot":
                return self._dotted(kind, scope)
            case "variable":
                known = [name for name, of, _below in scope.variables if of == kind or kind == "any"]
                return self._choices.one_of(known) + ("" if not self._choices.rarely(0.1) else ".a")
            case "call":
                return self._computed(kind, scope, depth)
        return self._literal(kind, scope)

    def _computed(self, kind: str, scope: _Scope, depth: int) -> str:
        if self._choices.rarely(0.03):
            return self._choices.one_of(list(BY_CHANCE.values()))
        owner = self._choices.one_of(("time", "version"))
        if kind in ("any", "int", "str") and self._choices.rarely(0.05):
            return f"({self._pipeline(owner, scope, depth)}).{self._choices.one_of(_TYPE_FIELDS[owner])}"
        text = f"({self._pipeline(kind, scope, depth)})"
        if kind == "map" and self._choices.rarely(0.1):
            return text + "." + self._choices.one_of(("a", "b", "m"))
        return text

    def _dotted(self, kind: str, scope: _Scope) -> str:
        matching = [place for place in scope.dot_places if place.kind == kind or kind == "any"]
        if not matching or self._choices.rarely(0.3 if scope.rebound else 0.03):
            return "."
        names = self._choices.one_of(matching).path
        if all(isinstance(name, str) and _IDENTIFIER.match(name) for name in names):
            return "".join(f".{name}" for name in names)
        return f"(index . {' '.join(_key(name) for name in names)})"

    def _literal(self, kind: str, scope: _Scope) -> str:
        choices = self._choices
        if kind in POOLS:
            return _quoted(pools.text(kind, choices), choices)
        match kind:
            case "str":
                return _quoted(pools.text("str", choices), choices)
            case "small":
                return choices.one_of(SMALL_NUMBERS)
            case "int":
                return str(choices.below(1 << 62)) if choices.rarely(0.1) else choices.one_of(NUMBERS)
            case "float":
                return repr(pools.number(choices)) if choices.rarely(0.2) else choices.one_of(FRACTIONS)
            case "int64":
                return f"(int64 {choices.one_of(NUMBERS)})"
            case "bool":
                return choices.one_of(("true", "false"))
            case "list":
                return f"(list {' '.join(self._literal(self._scalar(), scope) for _ in range(choices.below(4)))})"
            case "strs":
                return '(splitList "," "b,a,,b")'
            case "smap":
                return '(split "," "x,y")'
            case "map":
                pairs = [
                    f'"{choices.one_of(("a", "b", "c"))}" {self._literal(self._scalar(), scope)}'
                    for _ in range(choices.below(3))
                ]
                return f"(dict {' '.join(pairs)})"
            case "urlparts":
                names = [choices.one_of(_URL_PARTS) for _ in range(choices.below(5))]
                pairs = [f"{_key(name)} {self._literal('str', scope)}" for name in names]
                return f"(dict {' '.join(pairs)})"
            case "time":
                instant = choices.one_of(("2024-02-03T04:05:06Z", "1999-12-31T23:59:59+02:00"))
                return f'(toDate "2006-01-02T15:04:05Z07:00" "{instant}")'
            case "version":
                return f'(semver "{choices.one_of(("1.2.3", "v2.0.0-rc.1+x"))}")'
            case "nil":
                return choices.one_of(("nil", ".zz", "$.inputs.zz"))
        return self._literal(self._scalar(), scope)

    def _scalar(self) -> str:
        return self._choices.one_of(("str", "int", "float", "bool", "nil"))

    # Paths

    def _path(self, path: tuple[str | int, ...], scope: _Scope) -> str:
        """A spelling of ``path``, which starts at the variables."""
        choices = self._choices
        if choices.rarely(0.05):
            path = (*path, choices.one_of(_FURTHER))
        root = str(path[0])
        form = choices.weighted([(5, "bare"), (2, "dollar"), (1, "dotted")])
        if form == "bare" and scope.rebound:
            text = f"{_OURS}{root}{_GO}$.{root}{_END}"
        else:
            text = {"bare": root, "dollar": f"$.{root}", "dotted": f".{root}"}[form]
        if form == "dotted" and scope.rebound:
            text = f"$.{root}"
        for name in path[1:]:
            text = self._further(text, name)
        return text

    def _further(self, text: str, name: str | int) -> str:
        """``text`` with one more key."""
        is_name = isinstance(name, str) and bool(_IDENTIFIER.match(name))
        form = self._choices.weighted(
            [(8, "field" if is_name else "index"), (1, "index"), (1, "subscript"), (1, "extended")]
        )
        if form == "field":
            return f"{text}.{name}"
        ours, go = _spelled(text, 1), _spelled(text, 2)
        call = f"(index {go} {_key(name)})"
        if form == "index":
            return (
                f"(index {text} {_key(name)})" if ours == go else f"{_OURS}(index {ours} {_key(name)}){_GO}{call}{_END}"
            )
        if form == "subscript" and isinstance(name, str) and ours == go and not ours.startswith(("$", "(")):
            return f"{ours}[{_key(name)}]"
        key = f"'{name}'" if isinstance(name, str) and name.isascii() and self._choices.below(2) else _key(name)
        return f"{_OURS}{ours}[{key}]{_GO}{call}{_END}"


def _narrowed(kind: str, choices: Choices) -> str:
    return choices.one_of(_UNTYPED[kind]) if kind in _UNTYPED else kind


def _spelled(text: str, spelling: int) -> str:
    return _ALTERNATIVE.sub(lambda found: found[spelling], text)


def _key(name: str | int) -> str:
    return str(name) if isinstance(name, int) else json.dumps(name, ensure_ascii=False)


def _quoted(text: str, choices: Choices) -> str:
    """A Go literal with the value ``text``."""
    if "`" not in text and "\r" not in text and choices.rarely(0.2):
        return f"`{text}`"
    return '"' + "".join(_escaped(char) for char in text) + '"'


def _escaped(char: str) -> str:
    known: dict[str, Any] = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
    return known.get(char) or (char if char.isprintable() else f"\\u{ord(char):04x}")
