"""Inputs that try to block the event loop, fill the memory, escape from the process or crash it; none may succeed.

Each case has a name, a question to the evaluator, and the word that the answer must contain: ``value``, ``blocked``,
or a part of the message. A function makes the data, so that large data lives only while its case runs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Poison:
    name: str
    text: str
    inputs: Callable[[], Any]
    expected: str


@dataclass(frozen=True)
class PoisonSchema:
    name: str
    schema: Callable[[], dict[str, Any]]
    document: Callable[[], Any]
    keyword: str | None


_AB = "".join("ab"[number * number % 7 % 2] if number % 3 else "ba"[number % 5 % 2] for number in range(10_000))


def _nothing() -> dict[str, Any]:
    return {}


def _nested_list(depth: int) -> Any:
    outer: list[Any] = []
    inner = outer
    for _ in range(depth):
        deeper: list[Any] = []
        inner.append(deeper)
        inner = deeper
    return outer


def _nested_map(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = {"a": value}
    return value


def _texts() -> list[str]:
    return [f"key {number * 7919 % 50_000}" for number in range(50_000)]


def _by_text() -> dict[str, int]:
    return dict.fromkeys(_texts(), 1)


def _doubling(levels: int) -> str:
    """An expression whose text value doubles with every ``cel.bind``."""
    text = f"size(v{levels}) > 0"
    for level in range(levels, 0, -1):
        text = f"cel.bind(v{level}, v{level - 1} + v{level - 1}, {text})"
    return text.replace("v0", "inputs.s")


def _many_names() -> dict[str, Any]:
    count = 300
    named = {f"d{n}": {"$id": f"#n{n}"} for n in range(count)}
    return {"definitions": named, "allOf": [{"$ref": f"#n{n}"} for n in range(count)]}


CONDITIONS = [
    # Parsing.
    Poison("parentheses", "(" * 500 + "true" + ")" * 500, _nothing, "nested deeper"),
    Poison("brackets", "[" * 900 + "]" * 900, _nothing, "nested deeper"),
    Poison("braces", "{1:" * 300 + "1" + "}" * 300, _nothing, "nested deeper"),
    Poison("calls", "size(" * 200 + "inputs.l" + ")" * 200, _nothing, "nested deeper"),
    Poison("negations", "!" * 2000 + "true", _nothing, "value"),
    Poison("a long sum", "+".join(["1"] * 1000) + " == 1000", _nothing, "nested deeper"),
    Poison("a long chain", "inputs" + ".a" * 900, _nothing, "nested deeper"),
    Poison("a long alternative", "||".join(["inputs.a"] * 180), _nothing, "inputs.a is missing"),
    Poison("ternaries", "true?true:" * 150 + "true", _nothing, "nested deeper"),
    Poison("a long list", "size([" + ",".join(["1"] * 1000) + "]) == 1000", _nothing, "value"),
    Poison("a list of macros", "size([" + ",".join(["[0].all(x,x==0)"] * 120) + "]) == 120", _nothing, "value"),
    Poison("noise", "@" * 2000, _nothing, "not part of the language"),
    Poison("operators", "+-" * 1000, _nothing, "line 1"),
    Poison("open quotes", "'" * 2001, _nothing, "line 1"),
    Poison("bad escapes", "'\\q'" * 500, _nothing, "line 1"),
    Poison("unknown names", "[" + ",".join(["q"] * 1000) + "]", _nothing, "there is no q"),
    Poison("too long", "true" + " " * 5000 + "&& inputs.a", _nothing, "longer than"),
    Poison("far too long", "inputs.a == '" + "x" * 1_000_000 + "'", _nothing, "longer than"),
    Poison("doubling macros", "inputs.?a" + ".optMap(x, x)" * 30 + ".hasValue()", _nothing, "more than 4 times"),
    Poison("lone surrogate in the text", "inputs.a == '\ud800'", _nothing, "Unicode"),
    Poison("control characters", "inputs.a ==\x00 1", _nothing, "not part of the language"),
    Poison("nested macros", "[0].all(x, " * 20 + "true" + ")" * 20, _nothing, "value"),
    # Loops and growth.
    Poison(
        "cubic", "inputs.l.all(x, inputs.l.all(y, inputs.l.all(z, x + y + z >= 0)))", lambda: {"l": [1] * 300}, "10000"
    ),
    Poison("square", "inputs.l.all(x, inputs.l.all(y, x == y))", lambda: {"l": [1] * 90}, "value"),
    Poison("a long list of data", "inputs.l.all(x, x == 1)", lambda: {"l": [1] * 20_000}, "10000"),
    Poison("map of a long list", "inputs.l.map(x, x + 1).size() > 0", lambda: {"l": [1] * 4_000}, "value"),
    Poison(
        "chained filters", "inputs.l.filter(x, x > 0).filter(x, x > 0).size() > 0", lambda: {"l": [1] * 2_500}, "value"
    ),
    Poison(
        "map of long texts",
        "inputs.l.map(x, inputs.s + x).size() > 0",
        lambda: {"l": ["y"] * 9_000, "s": "s" * 500_000},
        "expression",
    ),
    Poison("doubling by binding", _doubling(11), lambda: {"s": "s" * 1_000_000}, "expression"),
    Poison("doubling a little", _doubling(6), lambda: {"s": "s" * 1_000}, "value"),
    Poison(
        "repeated replacement",
        "inputs.s.replace('', inputs.s).replace('', inputs.s).size() > 0",
        lambda: {"s": "s" * 3_000},
        "expression",
    ),
    Poison(
        "replacement of data",
        "inputs.s.replace(inputs.a, inputs.b).size() > 0",
        lambda: {"s": "s" * 100_000, "a": "s", "b": "t" * 100},
        "value",
    ),
    Poison("precision of a format", "'%.99999999f'.format([1.0]).size() > 0", _nothing, "line 1"),
    Poison(
        "split and join",
        "inputs.s.split('').join(inputs.j).size() > 0",
        lambda: {"s": "s" * 50_000, "j": "j" * 100},
        "value",
    ),
    Poison(
        "quadratic search",
        "inputs.s.contains(inputs.t)",
        lambda: {"s": "a" * 100_000, "t": "a" * 20_000 + "b"},
        "value",
    ),
    Poison(
        "comparison of large data",
        "inputs.a == inputs.b",
        lambda: {"a": list(range(50_000)), "b": list(range(50_000))},
        "value",
    ),
    Poison("membership in a long list", "inputs.l.all(x, x in inputs.l)", lambda: {"l": list(range(4_000))}, "value"),
    # Regular expressions.
    Poison("classic backtracking", "inputs.s.matches('(a+)+$')", lambda: {"s": "a" * 100_000 + "b"}, "value"),
    Poison("nested counts", "inputs.s.matches('((a{100}){100}){100}')", lambda: {"s": "a"}, "not valid"),
    Poison("one large count", "inputs.s.matches('(x{1000}y?){1,1}')", lambda: {"s": "a" * 1_000}, "value"),
    Poison(
        "a pattern from data", "inputs.s.matches(inputs.p)", lambda: {"s": "a", "p": "(.{1,200}){1,4}" * 100}, "line 1"
    ),
    Poison(
        "alternatives from data",
        "inputs.s.matches(inputs.p)",
        lambda: {"s": "b" * 1_000, "p": "|".join(["a?" * 50] * 1000)},
        "",
    ),
    Poison("unicode classes", "inputs.s.matches('(\\\\pL|\\\\PL|\\\\pN){50}')", lambda: {"s": "a" * 1_000}, "value"),
    Poison(
        "a search through ever new states",
        f"inputs.l.all(x, !x.matches('[ab]*a{'.' * 94}z'))",
        lambda: {"l": [_AB] * 20},
        "value",
    ),
    Poison("a short count over much text", "!inputs.s.matches('[ab]*a[ab]{90}z')", lambda: {"s": _AB}, "value"),
    Poison("a broken pattern", "inputs.s.matches(inputs.s)", lambda: {"s": "("}, "not valid"),
    # Data.
    Poison("a deep list", "size(inputs.a) > 0", lambda: {"a": _nested_list(50_000)}, "nested deeper than 128"),
    Poison("a deep object", "inputs.a != null", lambda: {"a": _nested_map(50_000)}, "nested deeper than 128"),
    Poison("large data, little of it read", "inputs.n == 1", lambda: {"n": 1, "l": [{"a": "x"}] * 300_000}, "value"),
    Poison("large data, all of it read", "size(inputs.l) == 200000", lambda: {"l": [{"a": "x"}] * 200_000}, "value"),
    Poison("more data than allowed", "size(inputs.s) > 0", lambda: {"s": "x" * (9 << 20)}, "8388608 bytes"),
    Poison("lone surrogate in the data", "inputs.s == 'x'", lambda: {"s": "\ud800"}, "Unicode"),
    Poison("huge integer", "inputs.n > 0", lambda: {"n": 10**400}, "value"),
    Poison("integer beyond 64 bits", "inputs.n > 9223372036854775807", lambda: {"n": 2**64}, "value"),
    Poison("overflow", "inputs.n + 1 > 0", lambda: {"n": 2**63 - 1}, "leaves the range"),
    Poison("division by zero", "1 / inputs.n == 1", lambda: {"n": 0}, "by zero"),
    Poison("least integer", "inputs.n / -1 > 0", lambda: {"n": -(2**63)}, "leaves the range"),
    Poison("not a number", "inputs.n == inputs.n", lambda: {"n": float("nan")}, "value"),
    Poison("many keys", "inputs.m.all(k, k != 'x')", lambda: {"m": {str(n): n for n in range(9_000)}}, "value"),
    Poison(
        "a template in the data",
        "inputs.s == '{{ env }}'".replace("{{", "{").replace("}}", "}"),
        lambda: {"s": "{{ env `HOME` }}"},
        "value",
    ),
    Poison(
        "a time out of range",
        "timestamp(inputs.s) < timestamp('2020-01-01T00:00:00Z')",
        lambda: {"s": "99999-01-01T00:00:00Z"},
        "cannot read",
    ),
    Poison("an endless duration", "duration(inputs.s) > duration('1s')", lambda: {"s": "9" * 400 + "h"}, "cannot read"),
    Poison(
        "an unknown zone",
        "timestamp('2020-01-01T00:00:00Z').getHours(inputs.s) == 1",
        lambda: {"s": "../../etc/passwd"},
        "line 1",
    ),
    Poison("no data for a step", "steps.late.output.x == 1", _nothing, "blocked"),
]

_SHARED = "{{ $x := list 1 }}{{ range 60 }}{{ $x = list $x $x }}{{ end }}"

TEMPLATES = [
    Poison("endless loops", "{{ range 9000 }}{{ range 9000 }}{{ end }}{{ end }}", _nothing, "max-steps"),
    Poison("a huge range", "{{ range 1000000000 }}{{ end }}", _nothing, "max-range-items"),
    Poison("repeat", '{{ repeat 2000000000 "x" | len }}', _nothing, "max-output-bytes"),
    Poison("until", "{{ until 2000000000 | len }}", _nothing, "max-range-items"),
    Poison("seq", "{{ seq 1 2000000000 }}", _nothing, "max-"),
    Poison("doubling a text", '{{ $x := "ab" }}{{ range 60 }}{{ $x = print $x $x }}{{ end }}', _nothing, "max-"),
    Poison("doubling a list", "{{ $x := list 1 }}{{ range 60 }}{{ $x = concat $x $x }}{{ end }}", _nothing, "max-"),
    Poison("a shared list as JSON", _SHARED + "{{ $x | toJson | len }}", _nothing, "max-"),
    Poison(
        "recursion", '{{ define "a" }}{{ template "a" . }}{{ end }}{{ template "a" . }}', _nothing, "max-include-depth"
    ),
    Poison("parentheses", "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}", _nothing, "nested deeper"),
    Poison("blocks", "{{ if true }}" * 1_500 + "{{ end }}" * 1_500, _nothing, "nested deeper"),
    Poison("words", "{{ list " + "1 " * 500_000 + "}}", _nothing, "words and signs"),
    Poison("actions", "{{.a}}" * 150_000, _nothing, "words and signs"),
    Poison("width of a format", '{{ printf "%999999d" 1 | len }}{{ printf "%9999999d" 1 | len }}', _nothing, ""),
    Poison("backtracking", '{{ regexMatch "(a+)+$" inputs.s }}', lambda: {"s": "a" * 200_000 + "b"}, ""),
    Poison("many statements", "{{ 1 }}" * 3_900, _nothing, ""),
    Poison("noise", "{{ " + "$" * 5_000 + " }}", _nothing, "line 1"),
    Poison(
        "a layout of open elements",
        "{{ toDate inputs.layout inputs.s }}",
        lambda: {"layout": "2" * 200 + "x", "s": "1" * 300},
        "value",
    ),
    Poison("a long text of actions", "{{ inputs.a " * 20_000, _nothing, "line 1"),
    # Long computations without a pause, on long strings and large collections.
    *(
        Poison(f"{name} of a long text", f"{{{{ {name} inputs.s | len }}}}", lambda: {"s": "ab-Cd " * 80_000}, "value")
        for name in (
            "snakecase",
            "camelcase",
            "title",
            "upper",
            "initials",
            "nospace",
            "quote",
            "wrap 5",
            "js",
            "b32enc",
        )
    ),
    *(
        Poison(
            f"{call} of a large collection",
            f"{{{{ {call} | len }}}}",
            lambda: {"l": _texts(), "m": _by_text()},
            expected,
        )
        for call, expected in (
            *(("sortAlpha inputs.l", "value"), ("keys inputs.m", "value"), ("values inputs.m", "value")),
            *(("deepCopy inputs.l", "value"), ("uniq inputs.l", "max-steps"), ("toJson inputs.m", "value")),
            *(
                ("print (deepEqual inputs.l inputs.l)", "value"),
                ("without inputs.l `a`", "value"),
                ("without inputs.l", "value"),
            ),
        )
    ),
    Poison("as much as the loop parses", "{{ index " + "1 " * 1_000 + "}}", _nothing, "line 1"),
    Poison("parentheses as the loop parses them", "{{ (((((((1))))))) }}" * 97, _nothing, "value"),
    Poison(
        "parsing and a slow text together",
        "{{ (((((((1))))))) }}" * 94 + "{{ snakecase inputs.s }}",
        lambda: {"s": "aB" * 2_000},
        "value",
    ),
    Poison("deep data", "{{ inputs.a | toJson | len }}", lambda: {"a": _nested_list(20_000)}, ""),
]

SCHEMAS = [
    PoisonSchema(
        "doubling references",
        lambda: {
            "$ref": "#/definitions/d0",
            "definitions": {
                **{f"d{n}": {"allOf": [{"$ref": f"#/definitions/d{n + 1}"}] * 2} for n in range(40)},
                "d40": {"type": "object"},
            },
        },
        _nothing,
        "limit",
    ),
    PoisonSchema(
        "a circle",
        lambda: {"$ref": "#/definitions/a", "definitions": {"a": {"$ref": "#/definitions/a"}}},
        _nothing,
        None,
    ),
    PoisonSchema("the network", lambda: {"$ref": "http://127.0.0.1:1/x"}, _nothing, "schema"),
    PoisonSchema("the disk", lambda: {"properties": {"a": {"$ref": "file:///etc/passwd"}}}, lambda: {"a": 1}, "schema"),
    PoisonSchema("deep", lambda: {"not": _nested_map(300)}, _nothing, "schema"),
    PoisonSchema(
        "costly patterns", lambda: {"allOf": [{"pattern": f"(x{{{n},500}}y?)*"} for n in range(9)]}, lambda: "a", None
    ),
    PoisonSchema("very many names", _many_names, _nothing, None),
    PoisonSchema("far too deep", lambda: {"properties": _nested_map(50_000)}, _nothing, "schema"),
    PoisonSchema("a deep document", lambda: {"type": "object"}, lambda: _nested_map(50_000), "limit"),
    PoisonSchema("a counted pattern", lambda: {"pattern": "((a{100}){100}){100}"}, lambda: "a" * 100, "schema"),
    PoisonSchema("a backtracking pattern", lambda: {"pattern": "^(a+)+$"}, lambda: "a" * 100_000 + "b", "pattern"),
    PoisonSchema(
        "a search through ever new states",
        lambda: {"type": "array", "items": {"not": {"pattern": f"[ab]*a{'.' * 94}z"}}},
        lambda: [_AB] * 40,
        None,
    ),
    PoisonSchema("a look-around", lambda: {"pattern": "(?=a)"}, lambda: "a", "schema"),
    PoisonSchema("unique items", lambda: {"uniqueItems": True}, lambda: [{"a": n} for n in range(5_000)], None),
    PoisonSchema("very many nodes", lambda: {"properties": {f"p{n}": {} for n in range(20_000)}}, _nothing, "schema"),
    PoisonSchema("lone surrogate", lambda: {"type": "string"}, lambda: "\ud800", "limit"),
    PoisonSchema("a huge number", lambda: {"multipleOf": 3}, lambda: 10**400, "multipleOf"),
]
