"""An object with nodes, as a template of Helm."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from deployment.chart.nodes import ALWAYS, Also, ReleaseCondition, Scalar, ValuePart, When
from deployment.yaml_text import unshared, yaml_text

_STEP: Final = "  "
_OPENING: Final = '{{ "{{" }}'
"""What Helm renders as two opening braces."""


def template(tree: Mapping[Any, Any], condition: ReleaseCondition, words: Mapping[str, str]) -> str:
    """One document, which is rendered if the condition holds.

    Args:
        words: words of the object, and the Go expressions that replace them. A scalar that is nothing but such a word
            is quoted: a namespace may be called ``1234``.
    """
    body = "".join(f"{_with_words(line, words)}\n" for line in _lines(dict(tree), ""))
    if condition is ALWAYS:
        return f"---\n{body}"
    return f"{{{{- if {condition.text} }}}}\n---\n{body}{{{{- end }}}}\n"


def _with_words(line: str, words: Mapping[str, str]) -> str:
    for word, expression in words.items():
        for before in (": ", "- "):
            if line.endswith(before + word):
                line = f"{line.removesuffix(word)}{{{{ {expression} | quote }}}}"
        line = line.replace(word, f"{{{{ {expression} }}}}")
    return line


def _lines(tree: Any, indent: str) -> Iterator[str]:
    if not _has_nodes(tree):
        for line in yaml_text(unshared(tree)).splitlines():  # parts of a document must not define an anchor twice
            yield indent + line.replace("{{", _OPENING)
    elif isinstance(tree, dict):
        for key, inner in tree.items():
            yield from _entry(key, inner, indent)
    else:
        for inner in tree:
            yield from _item(inner, indent)


def _entry(key: Any, inner: Any, indent: str) -> Iterator[str]:
    match key, inner:
        case Also(), _:
            yield from _members(key.part, indent)
        case _, When(condition, chosen):
            yield f"{indent}{{{{- if {condition.text} }}}}"
            yield from _entry(key, chosen, indent)
            yield f"{indent}{{{{- end }}}}"
        case _, Scalar():
            yield f"{indent}{_key(key)}: {{{{ {inner.text} }}}}"
        case _, ValuePart():
            yield f"{indent}{{{{- with {inner.text} }}}}"
            yield f"{indent}{_key(key)}:"
            yield f"{indent}{_STEP}{_inserted(inner, indent + _STEP)}"
            yield f"{indent}{{{{- end }}}}"
        case _ if _has_nodes(inner):
            yield f"{indent}{_key(key)}:"
            yield from _lines(inner, indent + ("" if isinstance(inner, list) else _STEP))
        case _:
            yield from _lines({key: inner}, indent)


def _item(inner: Any, indent: str) -> Iterator[str]:
    match inner:
        case Also():
            yield from _members(inner.part, indent)
        case When(condition, chosen):
            yield f"{indent}{{{{- if {condition.text} }}}}"
            yield from _item(chosen, indent)
            yield f"{indent}{{{{- end }}}}"
        case Scalar():
            yield f"{indent}- {{{{ {inner.text} }}}}"
        case dict() if _has_nodes(inner):
            first, *rest = _lines(inner, indent + _STEP)
            assert not first.lstrip().startswith("{{"), f"the first key of an entry must always be there: {first}"
            yield f"{indent}- {first.removeprefix(indent + _STEP)}"
            yield from rest
        case _:
            yield from _lines([inner], indent)


def _members(inserted: ValuePart, indent: str) -> Iterator[str]:
    yield f"{indent}{{{{- with {inserted.text} }}}}"
    yield f"{indent}{_inserted(inserted, indent)}"
    yield f"{indent}{{{{- end }}}}"


def _inserted(inserted: ValuePart, indent: str) -> str:
    return f"{{{{- {'.' if inserted.is_text else 'toYaml .'} | nindent {len(indent)} }}}}"


def _key(key: str) -> str:
    return yaml_text({key: None}).partition(":")[0]


def _has_nodes(tree: Any) -> bool:
    match tree:
        case Scalar() | ValuePart() | When() | Also():
            return True
        case dict():
            return any(isinstance(key, Also) or _has_nodes(inner) for key, inner in tree.items())
        case list():
            return any(map(_has_nodes, tree))
        case _:
            return False
