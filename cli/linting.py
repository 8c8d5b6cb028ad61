"""Finds the errors in files: runs the validators of admission on all of them together, and adds each place."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from cli import secretnames, yamlsource
from cli.builtfiles import BuiltFile
from cli.yamlsource import Place, Source, SourceError
from core.api import manifest as border
from core.api import named_kinds
from core.api.fieldpath import is_within
from core.api.objects import Object
from core.api.resource import OUR_RESOURCES, STORY
from core.api.sound_part import SoundPart, sound_part
from core.api.suggestion import closest
from webhooks.cluster_view import ClusterView, InMemoryView
from webhooks.conversion.place import choices, in_v1beta1_words
from webhooks.conversion.story import V1ALPHA1, V1BETA1, converted
from webhooks.finding import CauseType, Finding, Rule, Severity
from webhooks.validate import admission
from webhooks.validate.admission import SHAPE
from webhooks.validate.catalogue import RULES
from webhooks.validate.steps import REF_OR_TYPE

UNREADABLE: Final = Rule("file/unreadable", "")
NO_OBJECT: Final = Rule("file/no-object", "")
NO_MANIFEST: Final = Rule("file/no-manifest", "", CauseType.REQUIRED)
STRAY: Final = Rule("file/stray", "", severity=Severity.WARNING)
NAMELESS: Final = Rule("file/nameless", "", CauseType.REQUIRED)
TWICE: Final = Rule("file/twice", "", CauseType.DUPLICATE)
FOREIGN: Final = Rule("file/foreign-kind", "", severity=Severity.WARNING)
YAML_BOOLEAN: Final = Rule("file/yaml-boolean", "", severity=Severity.WARNING)

ALL_RULES: Final = (
    UNREADABLE,
    NO_OBJECT,
    NO_MANIFEST,
    STRAY,
    NAMELESS,
    TWICE,
    FOREIGN,
    YAML_BOOLEAN,
    secretnames.MISSING,
    *RULES,
)

_OUR_GROUPS: Final = frozenset(resource.group for resource in OUR_RESOURCES)


@dataclass(frozen=True, slots=True, eq=False)
class Document:
    """One document of a file.

    Attributes:
        stored: the form that an API server stores: a v1beta1 Story in v1alpha1. ``None`` if it does not match its kind.
        misfits: why it does not match.
        part: the part of it that does match, in the form that an API server stores.
    """

    file: str
    source: Source
    stored: Object | None
    misfits: tuple[Finding, ...]
    part: SoundPart | None = None

    @property
    def written(self) -> Object:
        document: Object = self.source.value
        return document

    @property
    def kind(self) -> str:
        return str(self.written.get("kind") or "")

    @property
    def name(self) -> str:
        return _text_in(self.written.get("metadata"), "name")

    @property
    def namespace(self) -> str:
        return _text_in(self.written.get("metadata"), "namespace")


@dataclass(frozen=True, slots=True)
class Located:
    """A finding and its place: ``place`` in ``file``, in ``document`` if that could be read."""

    file: str
    place: Place
    finding: Finding
    document: Document | None = None


def read_documents(
    files: Iterable[tuple[str, str]], gathered: Collection[str] = ()
) -> tuple[list[Document], list[Located]]:
    """The documents that can be read, and findings about the others.

    Args:
        files: name and text of each.
        gathered: files that were found in folders, not named by the user: some of them may not be manifests.
    """
    documents: list[Document] = []
    findings: list[Located] = []
    for file, text in files:
        for chunk in yamlsource.chunks(text):
            try:
                source = yamlsource.read(chunk)
            except SourceError as error:
                findings.append(Located(file, error.place, UNREADABLE.at("", str(error), error.remedy)))
                continue
            for each in yamlsource.members(source) if source is not None else ():
                unusable = _unusable(each, is_gathered=file in gathered)
                if unusable is None:
                    documents.append(_document(file, each))
                else:
                    findings.append(Located(file, each.place, unusable))
    return documents, findings


def of_python(files: Iterable[BuiltFile]) -> list[Document]:
    """The documents that Python files describe; their places are lines of the Python code."""
    return [
        _document(
            each.file, Source(each.document, (each.lines[""], 1), {path: (n, 1) for path, n in each.lines.items()})
        )
        for file in files
        for each in file.documents
    ]


def _first_columns(lines: Mapping[str, int]) -> dict[str, Place]:
    return {path: (line, 1) for path, line in lines.items()}


def _unusable(source: Source, *, is_gathered: bool) -> Finding | None:
    """A finding if it is not a manifest."""
    if not isinstance(source.value, dict):
        return NO_OBJECT.at("", "a manifest must be an object", "start with apiVersion, kind and metadata")
    if "apiVersion" in source.value or "kind" in source.value:
        return None
    rule = STRAY if is_gathered else NO_MANIFEST
    return rule.at("", "must have apiVersion and kind", "leave it out, or add them")


def check(documents: Sequence[Document], world: ClusterView, namespace: str = "") -> Iterator[Located]:
    """Findings about the documents; ``world`` has all of them that are valid.

    Args:
        namespace: that of documents without a namespace; empty if unknown.
    """
    for document in documents:
        for finding in _all_about(document, world, namespace):
            yield Located(document.file, document.source.at(finding.path), finding, document)
    yield from _twice(documents)


def _all_about(document: Document, world: ClusterView, namespace: str) -> Iterator[Finding]:
    yield from document.misfits
    yield from _validated(document, world, namespace)
    yield from _named(document)
    yield from _booleans(document)


def sound(documents: Iterable[Document], namespace: str = "") -> list[Object]:
    """The documents that other documents may refer to; ``namespace`` is set if they have none."""
    return [in_namespace(document.stored, namespace) for document in documents if document.stored is not None]


def in_namespace(stored: Object, namespace: str) -> Object:
    """The object with ``namespace``, if it has none and its kind has namespaces."""
    kind = named_kinds.kind_named(str(stored.get("kind")))
    metadata = stored.get("metadata")
    if not namespace or not isinstance(metadata, Mapping) or metadata.get("namespace"):
        return stored
    if kind is not None and not kind.resource.namespaced:
        return stored
    return {**stored, "metadata": {**metadata, "namespace": namespace}}


def world_of_files(documents: Sequence[Document], namespace: str = "") -> ClusterView:
    """A view of all documents; the cluster may have more objects."""
    return InMemoryView(sound(documents, namespace), complete=False, namespace=namespace)


def in_order(findings: Iterable[Located], files: Iterable[str]) -> list[Located]:
    """Each finding once, ordered by file as given, then by place."""
    order = {file: index for index, file in enumerate(files)}
    return sorted(dict.fromkeys(findings), key=lambda found: (order[found.file], found.place))


def _document(file: str, source: Source) -> Document:
    written: Object = source.value
    if not _is_ours(written):
        misfits = tuple(_foreign(written))
        has_metadata = isinstance(written.get("metadata"), dict)
        return Document(file, source, written if has_metadata else None, misfits)
    errors = [SHAPE.at(error.path, error.message, error.remedy) for error in border.errors_of(_without_status(written))]
    if errors:
        return Document(file, source, None, tuple(errors[: admission.MAX_FINDINGS]), _part(written))
    if written["apiVersion"] != V1BETA1:
        return Document(file, source, written, ())
    return Document(file, source, converted(written, V1ALPHA1), tuple(choices(written)))


def _part(written: Object) -> SoundPart | None:
    model = named_kinds.model_for(str(written.get("apiVersion")), str(written.get("kind")))
    part = sound_part(model, _without_status(written)) if model is not None else None
    if part is None or written["apiVersion"] != V1BETA1:
        return part
    return SoundPart(converted(part.document, V1ALPHA1), part.removed)


def _booleans(document: Document) -> Iterator[Finding]:
    """A finding for each word that only Kubernetes reads as a boolean."""
    for written in document.source.booleans:
        yield YAML_BOOLEAN.at(written.path, written.meaning, written.remedy)


def _validated(document: Document, world: ClusterView, namespace: str) -> Iterator[Finding]:
    """The findings of admission; for a v1beta1 Story, with its own field names."""
    part, stored = document.part, document.stored
    if part is not None:
        found = admission.validate_part(replace(part, document=in_namespace(part.document, namespace)), world)
    elif stored is not None and _is_ours(stored):
        stored = in_namespace(stored, namespace)
        found = admission.validate(stored, None, world)
        if document.kind == STORY.kind:
            found += secretnames.findings(stored, stored["metadata"].get("namespace") or namespace, world)
    else:
        return
    typed = document.written.get("apiVersion") == V1BETA1
    for finding in found:
        if not typed:
            yield finding
        elif finding.rule is not REF_OR_TYPE:  # v1beta1 has its own finding for this
            path, message = (in_v1beta1_words(words, document.written) for words in (finding.path, finding.message))
            if part is None or not any(is_within(path, gone) or is_within(gone, path) for gone in part.removed):
                yield replace(finding, path=path, message=message)


def _foreign(written: Object) -> Iterator[Finding]:
    """A finding about one of our kinds in an unknown group."""
    group, _, version = str(written.get("apiVersion")).rpartition("/")
    near = closest(group, _OUR_GROUPS)
    if near is not None:
        message = f"group {group!r} is not one of bobrapet's; nothing else was checked"
        yield FOREIGN.at("apiVersion", message, f"did you mean {near}/{version}?")


def _named(document: Document) -> Iterator[Finding]:
    metadata = document.written.get("metadata")
    named = isinstance(metadata, dict) and (metadata.get("name") or metadata.get("generateName"))
    if not named and not any(finding.path.startswith("metadata") for finding in document.misfits):
        yield NAMELESS.at("metadata.name", "is required", "name the object")


def _twice(documents: Iterable[Document]) -> Iterator[Located]:
    seen: dict[tuple[str, str, str, str], Document] = {}
    for document in documents:
        if not document.name:
            continue
        group = str(document.written.get("apiVersion") or "").rpartition("/")[0]
        first = seen.setdefault((group, document.kind, document.namespace, document.name), document)
        if first is not document:
            line, _ = first.source.at("metadata.name")
            message = f"{document.kind} {document.name!r} is already declared at {first.file}:{line}"
            finding = TWICE.at("metadata.name", message, "keep one of them, or choose another name")
            yield Located(document.file, document.source.at("metadata.name"), finding, document)


def _is_ours(document: Mapping[str, Any]) -> bool:
    """Whether it is in one of our groups; also true if group or kind is missing, so that this is reported."""
    api_version, kind = document.get("apiVersion"), document.get("kind")
    if not isinstance(api_version, str) or not isinstance(kind, str) or not api_version or not kind:
        return True
    return api_version.rpartition("/")[0] in _OUR_GROUPS


def _without_status(document: Object) -> Object:
    return {key: value for key, value in document.items() if key != "status"}


def _text_in(parent: Any, key: str) -> str:
    value = parent.get(key) if isinstance(parent, Mapping) else None
    return value if isinstance(value, str) else ""
