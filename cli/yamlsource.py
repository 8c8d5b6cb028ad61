"""YAML text as plain JSON values, with the place of every field, and with bounds against hostile text.

The parser's events are read directly: reading stops at the place where a document is too large, too deep or refers to
itself. Scalars are read by YAML 1.2, as everywhere in this project, but words such as ``yes`` and ``on`` are booleans,
as for kubectl; instants stay text.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final

from core.api import fieldpath
from kubewire.yaml_booleans import BOOLEANS, key_text

MAX_BYTES: Final = 2 * 1024 * 1024
"""Size of one document; API servers store at most 1.5 MiB."""
MAX_VALUES: Final = 100_000
"""Objects, lists and scalars of one document; the values of an alias count each time."""
MAX_DEPTH: Final = 200

_MARKER: Final = re.compile(r"^(---|\.\.\.)(?=\s|$)", re.M)
_MEMBER: Final = re.compile(r"items\[(\d+)\]\.(.+)", re.S)
_DIRECTIVES: Final = re.compile(r"(?:[ \t]*(?:#[^\n]*)?\r?\n)*(?:%[^\n]*\n(?:[ \t]*(?:#[^\n]*)?\r?\n)*)+")
_TAG: Final = "tag:yaml.org,2002:"

Place = tuple[int, int]
"""Line and column, counted from 1."""
Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Chunk:
    """The text of one document, with its markers, unchanged."""

    text: str
    first_line: int


@dataclass(frozen=True, slots=True)
class WrittenBoolean:
    """A boolean, or a key, that is written as a word such as ``yes`` or ``on``, and the path of its field."""

    word: str
    path: str
    is_key: bool = False

    @property
    def meaning(self) -> str:
        value = "true" if BOOLEANS[self.word] else "false"
        what = f"the key {self.word}" if self.is_key else self.word
        return f"{what} is the boolean {value} for Kubernetes, although newer YAML reads a string"

    @property
    def remedy(self) -> str:
        return f'write {"true" if BOOLEANS[self.word] else "false"}, or "{self.word}" in quotes'


@dataclass(frozen=True, slots=True)
class Source:
    """One document: its value, and the places of its fields."""

    value: Any
    place: Place
    places: dict[str, Place] = field(default_factory=dict)
    """Places by field path, such as ``spec.steps[2].with``: of the key in an object, of the item in a list."""
    booleans: tuple[WrittenBoolean, ...] = ()
    """The booleans that another reader of YAML could take for strings."""

    def at(self, path: str) -> Place:
        """The place of a field, or of its nearest parent that is in the text."""
        while path and path not in self.places:
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return self.places.get(path, self.place)


def members(source: Source) -> list[Source]:
    """The objects of a ``List``, as kubectl prints them, each as a document; other documents stay as they are."""
    value = source.value
    items = value.get("items") if isinstance(value, dict) and is_list(value) else None
    if not isinstance(items, list):
        return [source]
    below: list[dict[str, Place]] = [{} for _ in items]
    for path, place in source.places.items():
        found = _MEMBER.match(path)
        if found is not None:
            below[int(found[1])][found[2]] = place
    booleans: list[list[WrittenBoolean]] = [[] for _ in items]
    for written in source.booleans:
        found = _MEMBER.match(written.path)
        if found is not None:
            booleans[int(found[1])].append(replace(written, path=found[2]))
    return [
        Source(item, source.at(f"items[{index}]"), below[index], tuple(booleans[index]))
        for index, item in enumerate(items)
    ]


def is_list(document: dict[str, Any]) -> bool:
    """Whether it is a list of objects, and not an object itself."""
    kind = document.get("kind")
    return isinstance(kind, str) and kind.endswith("List") and isinstance(document.get("items"), list)


class SourceError(Exception):
    """A text cannot be read; the message is about ``place``."""

    def __init__(self, message: str, place: Place, remedy: str = "") -> None:
        super().__init__(message)
        self.place = place
        self.remedy = remedy


def chunks(text: str) -> Iterator[Chunk]:
    """The documents of a text, not parsed; joined, they are the text."""
    starts = [0]
    for found in _MARKER.finditer(text):
        ends_document = found.group() == "..."
        position = _next_line(text, found.start()) if ends_document else found.start()
        if not ends_document and _DIRECTIVES.fullmatch(text, starts[-1], position):
            continue  # they belong to the document that begins here
        if position > starts[-1] and position < len(text):
            starts.append(position)
    line = 1
    for start, end in zip(starts, [*starts[1:], len(text)], strict=True):
        yield Chunk(text[start:end], line)
        line += text.count("\n", start, end)


def read(chunk: Chunk) -> Source | None:
    """The document of a chunk; None if it has only comments.

    Raises:
        SourceError: it does not parse, or exceeds a bound.
    """
    # Costly, and help loads this module.
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    if len(chunk.text) > MAX_BYTES:
        remedy = "no API server stores an object of that size; keep large data in storage"
        raise SourceError(f"the document is larger than {MAX_BYTES >> 20} MiB", (chunk.first_line, 1), remedy)
    yaml = YAML(typ="safe", pure=True)
    try:
        return _Reader(yaml, yaml.parse(io.StringIO(chunk.text)), chunk.first_line).document()
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = (mark.line + chunk.first_line, mark.column + 1) if mark else (chunk.first_line, 1)
        raise SourceError(f"does not parse: {error.problem or error.context}", place) from None
    except YAMLError as error:
        raise SourceError(f"does not parse: {str(error).splitlines()[0]}", (chunk.first_line, 1)) from None
    except RecursionError:
        raise SourceError("does not parse: something in it is nested too deeply", (chunk.first_line, 1)) from None


def _next_line(text: str, position: int) -> int:
    end = text.find("\n", position)
    return len(text) if end < 0 else end + 1


@dataclass(slots=True)
class _Anchored:
    """The value of an anchor; ``values`` is its count, None while it is being read."""

    value: Any = None
    values: int | None = None


class _Reader:
    """Makes one document from events."""

    def __init__(self, yaml: Any, events: Iterator[Any], first_line: int) -> None:
        self._yaml = yaml
        self._events = events
        self._line = first_line
        self._anchors: dict[str, _Anchored] = {}
        self._values = 0
        self._places: dict[str, Place] = {}
        self._booleans: list[WrittenBoolean] = []

    def document(self) -> Source | None:
        for event in self._events:
            match type(event).__name__:
                case "StreamStartEvent" | "DocumentStartEvent" | "CommentEvent":
                    continue
                case "StreamEndEvent" | "DocumentEndEvent":
                    return None
            place = self._place(event)
            value = self._value(event, (), 0)
            for _ in self._events:  # the rest of the chunk must parse, too
                pass
            return None if value is None else Source(value, place, self._places, tuple(self._booleans))
        return None

    def _value(self, event: Any, path: Path, depth: int) -> Any:
        name = type(event).__name__
        if name == "AliasEvent":
            return self._alias(event)
        self._count(1, event)
        if depth > MAX_DEPTH:
            raise SourceError(f"is nested deeper than {MAX_DEPTH} levels", self._place(event), "flatten it")
        before, anchored = self._values, _Anchored()
        if event.anchor:
            self._anchors[event.anchor] = anchored
        if name == "ScalarEvent":
            anchored.value = self._scalar(event, path)
        elif name == "SequenceStartEvent":
            anchored.value = self._sequence(path, depth)
        else:
            anchored.value = self._mapping(path, depth)
        anchored.values = self._values - before + 1
        return anchored.value

    def _sequence(self, path: Path, depth: int) -> list[Any]:
        items: list[Any] = []
        for event in self._events:
            if type(event).__name__ == "SequenceEndEvent":
                break
            here = (*path, len(items))
            self._places[fieldpath.render(here)] = self._place(event)
            items.append(self._value(event, here, depth + 1))
        return items

    def _mapping(self, path: Path, depth: int) -> dict[str, Any]:
        fields: dict[str, Any] = {}
        merged: list[Any] = []
        for event in self._events:
            if type(event).__name__ == "MappingEndEvent":
                break
            place = self._place(event)
            key = self._key(event, path, depth)
            is_merge = key == "<<" and getattr(event, "style", None) is None
            if key in fields and not is_merge:
                raise SourceError(f'does not parse: found duplicate key "{key}"', place, "keep one of them")
            here = (*path, key)
            self._places[fieldpath.render(here)] = place
            value = self._value(next(self._events), here, depth + 1)
            if is_merge:
                merged += value if isinstance(value, list) else [value]
            else:
                fields[key] = value
        for other in merged:
            if isinstance(other, dict):
                fields = {**other, **fields}
        return fields

    def _key(self, event: Any, path: Path, depth: int) -> str:
        if type(event).__name__ not in ("ScalarEvent", "AliasEvent"):
            raise SourceError("does not parse: a key must be a string", self._place(event), "put it in quotes")
        booleans = len(self._booleans)
        value = self._value(event, (), depth)
        key = key_text(value)
        for written in self._booleans[booleans:]:
            here = fieldpath.render((*path, key))
            self._booleans[-1] = WrittenBoolean(written.word, here, is_key=True)
        return key

    def _alias(self, event: Any) -> Any:
        anchored = self._anchors.get(event.anchor)
        if anchored is None:
            raise SourceError(f"does not parse: found undefined alias {event.anchor!r}", self._place(event))
        if anchored.values is None:
            raise SourceError(f"{event.anchor!r} refers to itself", self._place(event), "write it out")
        self._count(anchored.values, event)
        return anchored.value

    def _count(self, values: int, event: Any) -> None:
        self._values += values
        if self._values > MAX_VALUES:
            message = f"the document must have at most {MAX_VALUES:,} values, with its aliases expanded"
            raise SourceError(message, self._place(event), "split it")

    def _scalar(self, event: Any, path: Path) -> Any:
        from ruamel.yaml.nodes import ScalarNode

        tag = str(event.tag or "")
        if not tag and event.implicit[0] and event.value in BOOLEANS:
            self._booleans.append(WrittenBoolean(event.value, fieldpath.render(path)))
            return BOOLEANS[event.value]
        if not tag or tag == "!":
            tag = str(self._yaml.resolver.resolve(ScalarNode, event.value, event.implicit))
        node = ScalarNode(tag, event.value, event.start_mark, event.end_mark)
        constructor = self._yaml.constructor
        match tag.removeprefix(_TAG):
            case "null":
                return None
            case "bool":
                return bool(constructor.construct_yaml_bool(node))
            case "int":
                return _number(constructor.construct_yaml_int, node)
            case "float":
                return _number(constructor.construct_yaml_float, node)
        return event.value

    def _place(self, event: Any) -> Place:
        return event.start_mark.line + self._line, event.start_mark.column + 1


def _number(construct: Any, node: Any) -> Any:
    """The number; a string if it is not a number, or has thousands of digits."""
    try:
        return construct(node)
    except (ValueError, OverflowError):
        return node.value
