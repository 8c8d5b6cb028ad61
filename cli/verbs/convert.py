"""``convert``: manifests of the other version."""

from __future__ import annotations

import io
import json
import re
from enum import StrEnum
from typing import Annotated, Any, Final

import typer

from cli.completing import is_called
from cli.console import Console
from cli.manifests import texts
from cli.options import CLUSTER, CommonOptions, with_common_options
from cli.problem import RejectedManifestError, UsageError
from cli.yamlsource import Chunk, Source, SourceError
from core.api.resource import STORY
from core.story.choices import choosing_steps, primitive_of
from core.story.kinds import SETTINGS
from core.story.story import read_story
from kubewire.yaml_booleans import read_words_as_booleans
from webhooks.conversion.story import V1ALPHA1, V1BETA1, ConversionError, converted

if is_called():
    from ruamel.yaml import YAML

    from cli import yamlsource


class TargetVersion(StrEnum):
    V1ALPHA1 = "v1alpha1"
    V1BETA1 = "v1beta1"


def register(app: typer.Typer) -> None:
    app.command("convert")(with_common_options(convert, without=CLUSTER))


def convert(
    options: CommonOptions,
    files: Annotated[list[str], typer.Argument(metavar="FILE", help="Manifests or folders; - reads stdin.")],
    to: Annotated[TargetVersion, typer.Option("--to", help="The version to convert Stories to.")],
) -> None:
    """Print manifests with their Stories converted to another version, without loss.

    The operator's webhook converts in the same way. Comments stay where they still belong; documents that are not
    Stories stay unchanged. What the target version cannot express is kept in an annotation, and restored from it.
    """
    if options.output not in ("table", "yaml"):
        raise UsageError(
            f"convert has no output format {options.output!r}", remedy="the output is YAML, or JSON for JSON input"
        )
    parts: list[str] = []
    problems: list[str] = []
    for file, text in texts(files):
        try:
            parts.append(converted_text(file, text, VERSIONS[to]))
        except RejectedManifestError as error:
            problems.append(str(error))
    if problems:
        raise RejectedManifestError(problems)
    _print(options, parts)


def _print(options: CommonOptions, parts: list[str]) -> None:
    """Print the parts one after the other, as a stream of documents."""
    ended = [part if part.endswith("\n") else f"{part}\n" for part in parts if part]
    joined = "".join(
        part if index == 0 or part.startswith("---") else f"---\n{part}" for index, part in enumerate(ended)
    )
    Console(options).result(joined.removesuffix("\n"))


VERSIONS: Final = {"v1alpha1": V1ALPHA1, "v1beta1": V1BETA1}
_INDENTED_LIST: Final = re.compile(r"^( *)[^\s#-][^\n]*:[ \t]*(?:#[^\n]*)?\n(?:[ \t]*(?:#[^\n]*)?\n)*\1 +- ", re.M)
_WIDE: Final = 4096


def converted_text(file: str, text: str, api_version: str) -> str:
    """The text with all its Stories in ``api_version``.

    Raises:
        RejectedManifestError: some documents do not parse, or are Stories of an unknown version.
    """
    parts: list[str] = []
    problems: list[str] = []
    for chunk in yamlsource.chunks(text):
        try:
            parts.append(_converted_chunk(chunk, api_version))
        except SourceError as error:
            line, column = error.place
            remedy = f" ({error.remedy})" if error.remedy else ""
            problems.append(f"{file}:{line}:{column}: {error}{remedy}")
        except _StoryError as error:
            problems.append(f"{file}:{error.line}: apiVersion: {error}")
    if problems:
        raise RejectedManifestError(problems)
    return "".join(parts)


class _StoryError(Exception):
    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.line = line


def _converted_chunk(chunk: Chunk, api_version: str) -> str:
    source = yamlsource.read(chunk)
    if source is None or not isinstance(source.value, dict):
        return chunk.text
    members = yamlsource.members(source)
    wanted = [_converted_member(member, api_version) for member in members]
    if all(there is member.value for there, member in zip(wanted, members, strict=True)):
        return chunk.text
    is_list = yamlsource.is_list(source.value)
    return _rewritten(chunk, {**source.value, "items": wanted} if is_list else wanted[0])


def _converted_member(member: Source, api_version: str) -> Any:
    if not is_story(member.value):
        return member.value
    try:
        return converted(member.value, api_version)
    except ConversionError as error:
        raise _StoryError(str(error), member.at("apiVersion")[0]) from None


def is_story(document: Any) -> bool:
    """Whether it is a Story of our group, in any version."""
    if not isinstance(document, dict) or document.get("kind") != STORY.kind:
        return False
    return str(document.get("apiVersion")).rpartition("/")[0] == STORY.group


def _rewritten(chunk: Chunk, wanted: dict[str, Any]) -> str:
    """The chunk with ``wanted`` instead of its document, and with all comments that still have a place."""
    yaml = YAML(typ="rt")
    read_words_as_booleans(yaml)
    yaml.preserve_quotes = True
    yaml.width = _WIDE
    yaml.explicit_start = chunk.text.startswith("---")
    if _INDENTED_LIST.search(chunk.text):
        yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.constructor.add_constructor("tag:yaml.org,2002:timestamp", type(yaml.constructor).construct_yaml_str)
    document = yaml.load(chunk.text)
    for each in document["items"] if yamlsource.is_list(document) else [document]:
        if is_story(each):
            _rename_in(each)
    _become(document, wanted)
    for form in (document, wanted):  # the second has no comments: for aliases or tags that the first cannot express
        written = _dumped(yaml, form)
        if _reads_as(written, wanted):
            return written
    # JSON is also YAML; the YAML writer does not quote every key that needs it.
    start = "---\n" if yaml.explicit_start else ""
    return f"{start}{json.dumps(wanted, indent=2, ensure_ascii=False)}\n"


def _reads_as(written: str, wanted: dict[str, Any]) -> bool:
    try:
        source = yamlsource.read(Chunk(written, 1))
    except SourceError:
        return False
    return source is not None and bool(source.value == wanted)


def _dumped(yaml: Any, document: Any) -> str:
    buffer = io.StringIO()
    yaml.dump(document, buffer)
    return buffer.getvalue()


def _rename_in(document: Any) -> None:
    """Rename the keys of all steps to those of the other version, in place, if only the names differ."""
    if document.get("apiVersion") == V1ALPHA1:
        for placed in read_story(document).every_step():
            _to_typed(placed.declared)
    else:
        for step, _ in list(choosing_steps(document)):
            _to_untyped(step)


def _to_typed(step: Any) -> None:
    """``type: sleep`` and its ``with`` become ``sleep``."""
    primitive = step.get("type")
    if not isinstance(primitive, str) or primitive not in SETTINGS or primitive in step:
        return
    beside, below = _comments_taken(step, "type")[0], _comments_taken(step, "with")
    settings = step.pop("with", None)
    place = list(step).index("type")
    del step["type"]
    step.insert(place, str(primitive), settings if isinstance(settings, dict) else {})
    inside = [*([below[0]] if beside and below[0] else []), *below[1]]
    _put_comments(step, str(primitive), beside or below[0], inside)


def _to_untyped(step: Any) -> None:
    """``sleep`` becomes ``type: sleep`` and a ``with``."""
    primitive = primitive_of(step)
    if primitive is None or "type" in step or "with" in step:
        return
    beside, inside = _comments_taken(step, primitive)
    settings = step[primitive]
    place = list(step).index(primitive)
    del step[primitive]
    step.insert(place, "type", primitive)
    _put_comments(step, "type", beside, [])
    if settings:
        step.insert(place + 1, "with", settings)
        _put_comments(step, "with", None, inside)


def _comments_taken(step: Any, key: str) -> tuple[Any, list[Any]]:
    """The comment on the line of ``key``, and those between it and its content; they are removed from the value."""
    slots = step.ca.items.pop(key, None) or []
    if hasattr(step.get(key), "ca"):
        step[key].ca.comment = None
    beside, inside = ([*slots, None, None, None, None])[2:4]
    return beside, list(inside or [])


def _put_comments(step: Any, key: str, beside: Any, inside: list[Any]) -> None:
    if beside or inside:
        step.ca.items[key] = [None, None, beside, inside or None]


def _become(node: Any, wanted: Any) -> None:
    """Change ``node``, an object or list with comments, into ``wanted``; equal parts stay the same objects."""
    if isinstance(node, dict):
        for key in [key for key in node if key not in wanted]:
            del node[key]
        for key, value in wanted.items():
            if key not in node or not _becomes(node[key], value):
                node[key] = value
    else:
        del node[len(wanted) :]
        for index, value in enumerate(wanted):
            if index == len(node):
                node.append(value)
            elif not _becomes(node[index], value):
                node[index] = value


def _becomes(node: Any, wanted: Any) -> bool:
    """Whether ``node`` equals ``wanted`` now; a scalar cannot be changed in place."""
    for kind in (dict, list):
        if isinstance(node, kind) and isinstance(wanted, kind):
            _become(node, wanted)
            return True
    return type(wanted) in (str, bool, type(None)) and isinstance(node, type(wanted)) and node == wanted
