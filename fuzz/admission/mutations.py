"""Deliberate mistakes: each breaks one rule in a valid object, at a place of its own.

A mutation is a function that changes a ``Draft`` and returns the paths at which the rule is now broken. ``breaks``
gives the rule and the kinds. If an object has no place for the mistake, the mutation first makes a valid one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final

from hypothesis import strategies as st

from core.api.objects import Object
from core.policy.settings import CrossNamespacePolicy
from fuzz.admission import strategies
from fuzz.admission.cases import Case
from fuzz.admission.chance import Chance
from fuzz.admission.strategies_world import POLICIES
from webhooks.caller import Caller
from webhooks.validate.payload import size_bytes

Paths = str | Sequence[str]
Mistake = Callable[[Chance, "Draft"], Paths]

NOT_ALLOWED: Final = (CrossNamespacePolicy.DENY, CrossNamespacePolicy.GRANT)
NOWHERE: Final = "nowhere"
"""A namespace without objects and grants."""
ALWAYS_ON: Final = {"pattern": "realtime", "streamingStrategy": "PerStory"}
"""Fields of a Story whose only run the operator keeps."""
KEYS: Final = ("put", "also", "zz")
"""Keys of payloads that no valid object uses."""
BAD_DURATIONS: Final = ("soon", "5 seconds", "-1s", "1d", "1", "s", "{{ inputs.t }}", "99999999999h", "1h-1m", "٣s")
"""Invalid values for each field that holds a duration."""


@dataclass
class Draft:
    """A write to which a mutation adds mistakes; all parts may be changed in place."""

    new: Object
    old: Object | None
    objects: list[Object]
    policy: CrossNamespacePolicy
    caller: Caller | None = None
    author: Caller | None = None

    @property
    def spec(self) -> Object:
        spec: Object = self.new["spec"]
        return spec

    @property
    def namespace(self) -> str:
        return str(self.new["metadata"].get("namespace") or "")

    def find(self, kind: str, name: str, namespace: str = "") -> Object:
        """An object around the write, with this namespace or without any."""
        return next(
            found
            for found in self.objects
            if found["kind"] == kind
            and found["metadata"]["name"] == name.strip()
            and found["metadata"].get("namespace", namespace) == namespace
        )

    def referred(self, kind: str, reference: Object) -> Object:
        """The object that ``reference`` refers to."""
        return self.find(kind, reference["name"], (reference.get("namespace") or self.namespace).strip())

    def remove(self, found: Object) -> None:
        self.objects = [other for other in self.objects if other is not found]


@dataclass(frozen=True)
class Mutation:
    """A way to break a rule.

    Attributes:
        update: whether the write is an update; ``None``: both are possible.
        policies: the policies under which the rule can be broken.
        realtime: whether the Story is a realtime one; ``None``: both are possible.
    """

    rule: str
    kind: str
    mistake: Mistake
    update: bool | None
    policies: Sequence[CrossNamespacePolicy]
    realtime: bool | None

    def __str__(self) -> str:
        return f"{self.rule} {self.kind} {self.mistake.__name__.strip('_')}"


@dataclass(frozen=True, repr=False)
class Broken:
    """An invalid case, with the rule that it breaks and where."""

    case: Case
    rule: str
    paths: tuple[str, ...]

    def _repr_pretty_(self, printer: Any, _is_cycle: bool) -> None:
        """The text that Hypothesis prints."""
        printer.text(repr(self))

    def __repr__(self) -> str:
        return f"\n# must break {self.rule} at {', '.join(self.paths)}{self.case!r}"


MUTATIONS: Final[list[Mutation]] = []


def breaks(
    rule: str,
    *kinds: str,
    update: bool | None = None,
    policies: Sequence[CrossNamespacePolicy] = POLICIES,
    realtime: bool | None = None,
) -> Callable[[Mistake], Mistake]:
    """Register a mistake."""

    def register(mistake: Mistake) -> Mistake:
        for kind in kinds:
            asked = update if kind in strategies.FREE or update is not None else False
            MUTATIONS.append(Mutation(rule, kind, mistake, asked, policies, realtime))
        return mistake

    return register


@st.composite
def broken(draw: st.DrawFn, mutation: Mutation) -> Broken:
    """A valid object with this mistake added."""
    return spoil(Chance(draw), mutation)


def spoil(chance: Chance, mutation: Mutation) -> Broken:
    """The same as ``broken``, with the choices of ``chance``."""
    case = strategies.created(chance, mutation.kind, mutation.policies, realtime=mutation.realtime)
    if chance.yes(3) if mutation.update is None else mutation.update:
        case = strategies.changed(chance, case)
    case = case.copied()
    draft = Draft(case.new, case.old, list(case.objects), case.policy)
    paths = mutation.mistake(chance, draft)
    if draft.old is not None and mutation.update is None and draft.new.get("spec") == draft.old["spec"]:
        draft.old["spec"] = {"before": True}
    spoilt = replace(case, new=draft.new, old=draft.old, objects=tuple(draft.objects), policy=draft.policy)
    found = (paths,) if isinstance(paths, str) else tuple(paths)
    return Broken(replace(spoilt, caller=draft.caller, author=draft.author), mutation.rule, found)


@st.composite
def broken_often(draw: st.DrawFn) -> Case:
    """An object with several mistakes; a mistake that does not fit to the earlier ones is left out."""
    chance = Chance(draw)
    kind = chance.pick(tuple(strategies.KINDS))
    case = strategies.created(chance, kind, NOT_ALLOWED)
    mistakes = [m.mistake for m in MUTATIONS if m.kind == kind and not m.update and not m.rule.startswith(_APART)]
    for _ in range(chance.number(2, 8)):
        tried = case.copied()
        draft = Draft(tried.new, None, list(tried.objects), tried.policy)
        with suppress(LookupError, AttributeError, TypeError, StopIteration):
            chance.pick(mistakes)(chance, draft)
            case = replace(tried, objects=tuple(draft.objects))
    return case


_APART: Final = ("any/", "status/", "author/", "claim/author", "story/total-size", "step-run/total-size")
"""Mistakes that suppress all other findings, and those of another writer."""


# --- shared by several mistakes --------------------------------------------------------------------------------------


def section(parent: Object, *keys: str) -> Object:
    """The object below ``parent``; it is created if it does not exist."""
    for key in keys:
        if not isinstance(parent.get(key), dict):
            parent[key] = {}
        parent = parent[key]
    return parent


def enlarge(value: Object, limit_bytes: int, whole: Object | None = None) -> None:
    """Enlarge ``value`` until it, or the ``whole`` around it, is one byte larger than the limit."""
    value["pad"] = ""
    value["pad"] = "x" * (limit_bytes + 1 - (size_bytes(value if whole is None else whole) or 0))


def insert(chance: Chance, parent: Object, key: str, value: Any) -> int:
    """Put ``value`` at a random position in a list; returns its index."""
    items = parent.setdefault(key, [])
    index = chance.number(0, len(items))
    items.insert(index, value)
    return index


def malformed(chance: Chance) -> tuple[Object, str]:
    """An invalid reference map, and the path of the mistake in it."""
    variants: list[tuple[Object, str]] = [
        ({"$bubuSecretRef": {"name": "n"}}, "$bubuSecretRef.key"),
        ({"$bubuSecretRef": {"name": " ", "key": "k"}}, "$bubuSecretRef.name"),
        ({"$bubuConfigMapRef": {"name": "n", "key": "k", "namespace": 3}}, "$bubuConfigMapRef.namespace"),
        ({"$bubuConfigMapRef": {"name": "n", "key": "k", "format": "xml"}}, "$bubuConfigMapRef.format"),
        ({"$bubuConfigMapRef": {"name": "n", "key": "k", "zz": 1}}, "$bubuConfigMapRef.zz"),
        ({"$bubuSecretRef": 3}, "$bubuSecretRef"),
        ({"$bubuSecretRef": " "}, "$bubuSecretRef"),
        ({"$bubuSecretRef": "n:k", "beside": 1}, "beside"),
        ({"$bubuStorageRef": " "}, "$bubuStorageRef"),
        ({"$bubuStorageRef": "k", "$bubuStorageSchema": 7}, "$bubuStorageSchema"),
        ({"$bubuStorageRef": "k", "beside": 1}, "beside"),
    ]
    return chance.pick(variants)


def out_of_reach(chance: Chance) -> tuple[Object, str]:
    """A reference to an object in a namespace that may not be referenced."""
    kind = chance.pick(("$bubuSecretRef", "$bubuConfigMapRef"))
    return chance.pick(({kind: f"{NOWHERE}/n:k"}, {kind: {"name": "n", "key": "k", "namespace": NOWHERE}})), kind


def somewhere(chance: Chance, parent: Object, path: str, value: Any) -> str:
    """Put ``value`` into a payload, at a random depth; returns its path."""
    key, place = chance.pick(KEYS), chance.number(0, 2)
    if place == 0:
        parent[key] = value
        return f"{path}.{key}"
    parent[key] = [None, {"deep": value}] if place == 1 else {"deep": [value]}
    return f"{path}.{key}[1].deep" if place == 1 else f"{path}.{key}.deep[0]"


def bad_schema(chance: Chance) -> Object:
    """An invalid JSON Schema, or one that refers to another document."""
    wrong: tuple[Object, ...] = (
        {"type": "objekt"},
        {"$ref": "https://example.org/schema.json"},
        {"properties": {"a": {"$ref": "file:///etc/passwd"}}},
        {"properties": {"a": {"pattern": "(?=a)"}}},
        {"properties": {"a": {"minimum": "x"}}},
        {"properties": {"a": {"enum": 3}}},
        {"items": 3},
        {"properties": {"a": {"$ref": "#/$defs/none"}}},
    )
    return chance.pick(wrong)


def costly_schema() -> Object:
    """A schema whose compilation costs more than a review may take."""
    return {"properties": {f"p{index}": {"pattern": f"^[a-z]{{1,{index + 9}}}$"} for index in range(90)}}
