"""Manifest files: read, locate, check. Nothing is sent anywhere before every document of every file is valid.

A finding has the form ``file:line: spec.steps[2].with: message (remedy)``; all findings of all files are reported
together.
"""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cli.builtfiles import BuiltFile, is_python
from cli.problem import CommandError, RejectedManifestError, UsageError
from core.api.objects import Object
from kubewire.yaml_booleans import key_text, read_words_as_booleans

if TYPE_CHECKING:
    from webhooks.cluster_view import ClusterView


STDIN: Final = "-"
STDIN_NAME: Final = "<stdin>"
_SUFFIXES: Final = (".yaml", ".yml", ".json")
_MAX_FILE_BYTES: Final = 8 * 1024 * 1024

_ORDER: Final = (
    "CustomResourceDefinition",
    "Namespace",
    "ServiceAccount",
    "Secret",
    "ConfigMap",
    "PersistentVolumeClaim",
    "ClusterRole",
    "ClusterRoleBinding",
    "Role",
    "RoleBinding",
    "ReferenceGrant",
    "Transport",
    "EngramTemplate",
    "ImpulseTemplate",
    "Engram",
    "Story",
    "Impulse",
    "StoryRun",
    "StoryTrigger",
)
"""Kinds that others refer to come first; kinds that are not listed come between templates and runs."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """One document of a file."""

    document: Object
    file: str
    line: int
    lines: Mapping[str, int]
    """JSON field path → line, for every node of the document."""
    written: Object | None = None
    """The document in the file, if its version differs from that of ``document``, which is stored."""
    warnings: tuple[str, ...] = ()
    """About words of the file that are easily read in another way."""

    @property
    def kind(self) -> str:
        return str(self.document.get("kind", ""))

    @property
    def name(self) -> str:
        return str((self.document.get("metadata") or {}).get("name", ""))

    def at(self, path: str) -> str:
        """``file:line`` of a field, or of its nearest parent that is in the file."""
        path = self.in_its_words(path)
        while path and path not in self.lines:
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return f"{self.file}:{self.lines.get(path, self.line)}"

    def in_its_words(self, text: str) -> str:
        """``text`` with the field paths of the version in the file."""
        if self.written is None:
            return text
        # Costly, and only admission of a v1beta1 Story has such words.
        from webhooks.conversion.place import in_v1beta1_words

        return in_v1beta1_words(text, self.written)


def load_manifests(paths: Sequence[str], built: Iterable[BuiltFile] = ()) -> list[Manifest]:
    """Every document of the files (a folder: its manifests, ``-``: standard input), in the order to apply them.

    Documents of Python files, which are ``built`` already, are checked together with them.

    Raises:
        CommandError: a file cannot be read.
        RejectedManifestError: a document does not parse or does not match its kind.
    """
    manifests: list[Manifest] = []
    problems: list[str] = []
    for file, text in texts(paths):
        try:
            manifests += map(_stored, _documents(file, text))
        except RejectedManifestError as error:
            problems.append(str(error))
    manifests += map(_stored, _of_python(built))
    world = _world_of(manifests)
    for manifest in manifests:
        problems += _problems(manifest, world)
    problems += _duplicates(manifests)
    if problems:
        raise RejectedManifestError(problems)
    if not manifests:
        raise CommandError(
            f"no manifest in {', '.join(paths)}", remedy="give a file with apiVersion, kind and metadata"
        )
    return sorted(manifests, key=lambda manifest: apply_order(manifest.kind))


def chosen_story(manifests: Sequence[Manifest], name: str) -> Manifest:
    """The Story of that name; with an empty name, the only one.

    Raises:
        UsageError: there is no such Story, or there are several.
    """
    stories = [manifest for manifest in manifests if manifest.kind == "Story"]
    names = [story.name for story in stories]
    if name and name not in names:
        raise UsageError(f"no Story {name!r} in the files", remedy=f"they hold: {', '.join(names) or 'none'}")
    found = [story for story in stories if story.name == name] if name else stories
    if len(found) != 1:
        several = f"{len(names)} Stories ({', '.join(names)})" if names else "no Story"
        raise UsageError(f"the files hold {several}", remedy="choose one with --story NAME" if names else "add one")
    return found[0]


def _of_python(files: Iterable[BuiltFile]) -> Iterator[Manifest]:
    for file in files:
        for each in file.documents:
            yield Manifest(each.document, each.file, each.lines[""], each.lines)


def apply_order(kind: str) -> int:
    """Rank of a kind when several are applied together; objects are deleted in reverse order."""
    return _ORDER.index(kind) if kind in _ORDER else _ORDER.index("Impulse")


def texts(paths: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Name and text of every file; a folder stands for its manifests, ``-`` for standard input.

    Raises:
        CommandError: one cannot be read.
    """
    for path in paths:
        if path == STDIN:
            yield STDIN_NAME, sys.stdin.read(_MAX_FILE_BYTES)
            continue
        if is_python(path):
            raise CommandError(
                f"{path}: this command executes no Python",
                remedy=f"bobrapet manifest {path} > manifests.yaml",
            )
        for file in _files(Path(path)):
            try:
                if file.stat().st_size > _MAX_FILE_BYTES:
                    raise CommandError(f"{file} is larger than {_MAX_FILE_BYTES >> 20} MiB", remedy="split it")
                yield str(file), file.read_text(encoding="utf-8")
            except OSError as error:
                raise CommandError(f"cannot read {file}: {error.strerror}") from None
            except UnicodeDecodeError as error:
                raise CommandError(
                    f"{file} is not UTF-8 text (byte {error.start})", remedy="give a manifest, saved as UTF-8"
                ) from None


def _files(path: Path) -> list[Path]:
    if not path.exists():
        raise CommandError(f"{path} does not exist", remedy="check the path")
    if not path.is_dir():
        return [path]
    found = sorted(each for each in path.rglob("*") if each.suffix in _SUFFIXES and each.is_file())
    if not found:
        raise CommandError(f"{path} holds no {', '.join(_SUFFIXES)} file", remedy="name the files themselves")
    return found


def _documents(file: str, text: str) -> Iterator[Manifest]:
    # Costly; completion loads this module, but mostly no file.
    from ruamel.yaml import YAML
    from ruamel.yaml.comments import CommentedMap
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    yaml = YAML(typ="rt")
    read_words_as_booleans(yaml)
    # An instant stays the text in the file: JSON has no dates.
    yaml.constructor.add_constructor("tag:yaml.org,2002:timestamp", type(yaml.constructor).construct_yaml_str)
    warnings = _warnings(file, text)
    try:
        for document in yaml.load_all(io.StringIO(text)):
            if document is None:
                continue
            if not isinstance(document, CommentedMap):
                raise RejectedManifestError([f"{file}: a manifest must be an object with apiVersion and kind"])
            lines: dict[str, int] = {}
            _collect_lines(document, "", lines)
            yield Manifest(_plain(document), file, document.lc.line + 1, lines, warnings=warnings)
            warnings = ()
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{file}:{mark.line + 1}:{mark.column + 1}" if mark else file
        raise RejectedManifestError([f"{where}: does not parse: {error.problem or error.context}"]) from None
    except YAMLError as error:
        raise RejectedManifestError([f"{file}: does not parse: {error}"]) from None
    except RecursionError:
        raise RejectedManifestError([f"{file}: does not parse: something in it is nested too deeply"]) from None


def _warnings(file: str, text: str) -> tuple[str, ...]:
    """A sentence for each word that only Kubernetes reads as a boolean."""
    # Most files need no second reading.
    from cli import yamlsource
    from kubewire.yaml_booleans import BOOLEANS

    if not re.search(rf"(?:^|[\s,\[{{])(?:{'|'.join(BOOLEANS)})\s*(?:$|[:,\]}}#])", text, re.M):
        return ()  # mostly so, and a second reading takes time
    try:
        sources = [found for chunk in yamlsource.chunks(text) if (found := yamlsource.read(chunk)) is not None]
    except yamlsource.SourceError:
        return ()  # the other reader says what is wrong
    return tuple(
        f"{file}:{source.at(word.path)[0]}: {word.path}: {word.meaning} ({word.remedy})"
        for source in sources
        for word in source.booleans
    )


def _stored(manifest: Manifest) -> Manifest:
    """A Story in the stored version; an invalid Story stays unchanged, and is refused later."""
    from core.api import manifest as border
    from webhooks.conversion.story import V1ALPHA1, V1BETA1, converted

    written = manifest.document
    if (manifest.kind, written.get("apiVersion")) != ("Story", V1BETA1) or border.errors_of(written):
        return manifest
    return replace(manifest, document=converted(written, V1ALPHA1), written=written)


def _collect_lines(node: Any, path: str, lines: dict[str, int]) -> None:
    from ruamel.yaml.comments import CommentedMap, CommentedSeq

    if isinstance(node, CommentedMap):
        for key, child in node.items():
            child_path = f"{path}.{key_text(key)}" if path else key_text(key)
            lines[child_path] = node.lc.key(key)[0] + 1
            _collect_lines(child, child_path, lines)
    elif isinstance(node, CommentedSeq):
        for index, child in enumerate(node):
            child_path = f"{path}[{index}]"
            lines[child_path] = node.lc.item(index)[0] + 1
            _collect_lines(child, child_path, lines)


def _plain(node: Any) -> Any:
    """ruamel's round-trip types as plain JSON."""
    from ruamel.yaml.scalarbool import ScalarBoolean

    if isinstance(node, dict):
        return {key_text(key): _plain(child) for key, child in node.items()}
    if isinstance(node, list):
        return [_plain(child) for child in node]
    if isinstance(node, (bool, ScalarBoolean)) or node is None:  # the second one has an anchor
        return None if node is None else bool(node)
    for plain in (int, float, str):
        if isinstance(node, plain):
            return plain(node)
    return str(node)


def _world_of(manifests: Iterable[Manifest]) -> ClusterView:
    """A view of all documents; the cluster may have more objects."""
    # Costly, as all of admission below: completion reads files, and checks none.
    from webhooks.cluster_view import InMemoryView

    return InMemoryView((manifest.document for manifest in manifests if _is_sound(manifest)), complete=False)


def _is_sound(manifest: Manifest) -> bool:
    """Whether others may refer to it: one of our kinds must match its schema, another kind must have metadata."""
    from core.api import manifest as border
    from core.api import named_kinds

    if named_kinds.kind_named(manifest.kind) is not None:
        return not border.errors_of(manifest.document)
    return isinstance(manifest.document.get("metadata"), dict)


def _problems(manifest: Manifest, world: ClusterView) -> Iterator[str]:
    """The findings of admission for our kinds, and the minimum that any kind needs."""
    from core.api import manifest as border
    from core.api.errors import FieldError
    from core.api.resource import OUR_RESOURCES
    from webhooks.conversion.place import choices
    from webhooks.finding import errors_among
    from webhooks.validate import admission

    document = manifest.document
    api_version = str(document.get("apiVersion", ""))
    ours = {resource.group for resource in OUR_RESOURCES}
    if api_version.partition("/")[0] in ours or not api_version or not manifest.kind:
        shape = border.errors_of(document)
        if manifest.written is not None:
            shape = [FieldError(odd.path, odd.message, odd.remedy) for odd in choices(manifest.written)]
        found = (
            [] if shape and manifest.written is not None else errors_among(admission.validate(document, None, world))
        )
        errors = [FieldError(each.path, each.message, each.remedy, each.excerpt) for each in found]
        if shape:
            rest = (error for error, each in zip(errors, found, strict=True) if each.rule is not admission.SHAPE)
            errors = [*shape, *rest]
        for error in errors:
            yield f"{manifest.at(error.path)}: {manifest.in_its_words(str(error))}"
    metadata = document.get("metadata")
    if not isinstance(metadata, dict) or not (metadata.get("name") or metadata.get("generateName")):
        yield f"{manifest.at('metadata')}: metadata.name: is required (name the object)"


def _duplicates(manifests: Iterable[Manifest]) -> Iterator[str]:
    seen: dict[tuple[str, str, str], Manifest] = {}
    for manifest in manifests:
        metadata = manifest.document.get("metadata") or {}
        if not isinstance(metadata, dict) or not metadata.get("name"):
            continue
        identity = (manifest.kind, str(metadata.get("namespace", "")), str(metadata["name"]))
        if identity in seen:
            first = seen[identity]
            where = manifest.at("metadata.name")
            yield f"{where}: {manifest.kind} {identity[2]!r} is already declared at {first.at('metadata.name')}"
        seen.setdefault(identity, manifest)
