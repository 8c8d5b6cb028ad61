"""Mistakes made on purpose: each breaks one rule in an object that was right, at a place of its own.

A mutation is a function that changes a ``Draft`` and says at which paths the rule is now broken; ``breaks`` names the
rule and the kinds. Where an object has no place for the mistake, the place is made first, rightly.
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
KEYS: Final = ("put", "also", "zz")
"""Of payloads, at which no object that is right has anything."""
BAD_DURATIONS: Final = ("soon", "5 seconds", "-1s", "1d", "1", "s", "{{ inputs.t }}", "99999999999h", "1h-1m", "٣s")
"""Wherever a duration is asked for."""


@dataclass
class Draft:
    """A write that is being spoilt; everything in it may be changed in place."""

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
        """An object of the world; one without a namespace, too."""
        return next(
            found
            for found in self.objects
            if found["kind"] == kind
            and found["metadata"]["name"] == name.strip()
            and found["metadata"].get("namespace", namespace) == namespace
        )

    def referred(self, kind: str, reference: Object) -> Object:
        """What ``reference`` leads to."""
        return self.find(kind, reference["name"], (reference.get("namespace") or self.namespace).strip())

    def remove(self, found: Object) -> None:
        self.objects = [other for other in self.objects if other is not found]


@dataclass(frozen=True)
class Mutation:
    """How a rule is broken.

    Attributes:
        update: whether the object was there before; ``None``: both.
        policies: under which it can be broken.
        realtime: of which Stories; ``None``: both.
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
    """A case that is wrong, and where."""

    case: Case
    rule: str
    paths: tuple[str, ...]

    def _repr_pretty_(self, printer: Any, _is_cycle: bool) -> None:
        """How Hypothesis prints it."""
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
    """An object that was right, with that mistake in it."""
    return spoil(Chance(draw), mutation)


def spoil(chance: Chance, mutation: Mutation) -> Broken:
    """``broken``, as ``chance`` has it."""
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
    """An object with several mistakes in it; one that does not fit to those before is left out."""
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
"""Mistakes beside which no others are told, and those of another writer."""


# --- what several mistakes have in common ----------------------------------------------------------------------------


def section(parent: Object, *keys: str) -> Object:
    """The object below ``parent``, made where there is none."""
    for key in keys:
        if not isinstance(parent.get(key), dict):
            parent[key] = {}
        parent = parent[key]
    return parent


def enlarge(value: Object, limit_bytes: int, whole: Object | None = None) -> None:
    """Put so much into ``value`` that it is one byte larger than the limit, or the ``whole`` that it is part of."""
    value["pad"] = ""
    value["pad"] = "x" * (limit_bytes + 1 - (size_bytes(value if whole is None else whole) or 0))


def insert(chance: Chance, parent: Object, key: str, value: Any) -> int:
    """Put ``value`` somewhere into a list; its index."""
    items = parent.setdefault(key, [])
    index = chance.number(0, len(items))
    items.insert(index, value)
    return index


def malformed(chance: Chance) -> tuple[Object, str]:
    """A reference map that is none, and the path of the mistake below it."""
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
    """A reference to an object in a namespace that may not be referred to."""
    kind = chance.pick(("$bubuSecretRef", "$bubuConfigMapRef"))
    return chance.pick(({kind: f"{NOWHERE}/n:k"}, {kind: {"name": "n", "key": "k", "namespace": NOWHERE}})), kind


def somewhere(chance: Chance, parent: Object, path: str, value: Any) -> str:
    """Put ``value`` into a payload, at any depth; its path."""
    key, place = chance.pick(KEYS), chance.number(0, 2)
    if place == 0:
        parent[key] = value
        return f"{path}.{key}"
    parent[key] = [None, {"deep": value}] if place == 1 else {"deep": [value]}
    return f"{path}.{key}[1].deep" if place == 1 else f"{path}.{key}.deep[0]"


def bad_schema(chance: Chance) -> Object:
    """No JSON Schema, or one that leads out of itself."""
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
    """More than can be compiled while somebody waits."""
    return {"properties": {f"p{index}": {"pattern": f"^[a-z]{{1,{index + 9}}}$"} for index in range(90)}}
