"""Mistakes that objects of any kind can have: wrong shape of fields, too deep, too costly, too many."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, Literal, get_args, get_origin

from core.api import fieldpath, named_kinds
from core.api.schema import WireModel, peeled
from fuzz.admission.chance import Chance
from fuzz.admission.mutations import Draft, breaks, costly_schema, section
from fuzz.admission.strategies import KINDS
from webhooks.validate.admission import MAX_DEPTH, MAX_FINDINGS

Place = tuple[Any, int | str, Any, tuple[int | str, ...]]
"""A parent, one of its keys, the type of the value there, and the path."""

_SCHEMAS: Final = {
    "Story": ("inputsSchema", "outputsSchema"),
    "EngramTemplate": ("inputSchema", "outputSchema", "configSchema"),
    "ImpulseTemplate": ("contextSchema", "configSchema"),
    "Transport": ("configSchema",),
}
_FREE_OBJECTS: Final = {
    "Story": ("output", "inputsSchema"),
    "Engram": ("with",),
    "Impulse": ("with",),
    "EngramTemplate": ("inputSchema",),
    "ImpulseTemplate": ("contextSchema",),
    "StoryRun": ("inputs",),
    "StoryTrigger": ("inputs",),
    "StepRun": ("input",),
    "EffectClaim": ("details",),
    "Transport": ("defaultSettings",),
    "TransportBinding": ("rawSettings",),
}


@breaks("any/shape", *KINDS)
def _of_another_type(chance: Chance, draft: Draft) -> str:
    """A value of a type that its field does not accept."""
    found = list(_places(draft))
    parent, key, annotation, path = chance.pick([place for place in found if _wrong(place[2]) is not None])
    parent[key] = _wrong(annotation)
    return fieldpath.render(path)


@breaks("any/shape", *KINDS)
def _unknown_field(chance: Chance, draft: Draft) -> str:
    objects = [place for place in _places(draft) if _is_closed(place[2])]
    parent, key, _annotation, path = chance.pick(objects)
    parent[key]["zz"] = chance.pick((None, 1, {}))
    return fieldpath.render((*path, "zz"))


@breaks("any/shape", *KINDS)
def _field_lacking(chance: Chance, draft: Draft) -> str:
    lacking = [
        (parent[key], name, (*path, name))
        for parent, key, annotation, path in _places(draft)
        for name, required in _fields(_model(annotation))
        if required and name in parent[key]
    ]
    parent, name, path = chance.pick(lacking)
    del parent[name]
    return fieldpath.render(path)


def _places(draft: Draft) -> Iterator[Place]:
    """All values in ``spec`` whose type the kind's model knows; the spec itself is first."""
    model = named_kinds.model_for(draft.new["apiVersion"], draft.new["kind"])
    assert model is not None
    yield from _below(draft.new, "spec", model.model_fields["spec"].annotation, ("spec",))


def _below(parent: Any, key: int | str, annotation: Any, path: tuple[int | str, ...]) -> Iterator[Place]:
    yield parent, key, annotation, path
    value, bare = parent[key], peeled(annotation)[0]
    model, origin = _model(annotation), get_origin(bare)
    if model is not None and isinstance(value, dict):
        for name, info in model.model_fields.items():
            alias = info.alias or name
            if alias in value:
                yield from _below(value, alias, info.annotation, (*path, alias))
    elif origin is list and isinstance(value, list):
        for index in range(len(value)):
            yield from _below(value, index, get_args(bare)[0], (*path, index))
    elif origin is dict and get_args(bare)[1] is not Any and isinstance(value, dict):
        for name in value:
            yield from _below(value, name, get_args(bare)[1], (*path, name))


def _is_closed(annotation: Any) -> bool:
    """Whether it is an object whose schema refuses unknown fields. Those of a volume are refused by a rule."""
    model = _model(annotation)
    return model is not None and model.model_config.get("extra") == "forbid"


def _model(annotation: Any) -> type[WireModel] | None:
    bare = peeled(annotation)[0]
    return bare if isinstance(bare, type) and issubclass(bare, WireModel) else None


def _fields(model: type[WireModel] | None) -> Iterator[tuple[str, bool]]:
    for name, info in model.model_fields.items() if model is not None else ():
        yield info.alias or name, info.is_required()


def _wrong(annotation: Any) -> Any:
    """A value of another type; ``None`` if admission would not report it at exactly this path."""
    bare = peeled(annotation)[0]
    if bare in (str, bool):
        return 7
    if bare is int:
        return "7"
    if get_origin(bare) is Literal:
        return "no-such-word"
    return [] if get_origin(bare) is dict or _model(annotation) else "text" if get_origin(bare) is list else None


@breaks("any/too-deep", *_FREE_OBJECTS)
def _too_deep(chance: Chance, draft: Draft) -> str:
    key = chance.pick(_FREE_OBJECTS[draft.new["kind"]])
    value: Any = "x"
    for _ in range(MAX_DEPTH + chance.number(0, 3)):
        value = [value] if chance.yes() else {"a": value}
    draft.spec[key] = {"a": value}
    return f"spec.{key}"


@breaks("any/schema-too-costly", *_SCHEMAS)
def _costly_schema(chance: Chance, draft: Draft) -> str:
    key = chance.pick(_SCHEMAS[draft.new["kind"]])
    draft.spec[key] = costly_schema()
    return f"spec.{key}"


@breaks("any/schema-too-costly", "Engram", "Impulse")
def _costly_template(chance: Chance, draft: Draft) -> str:
    template = draft.find(f"{draft.new['kind']}Template", draft.spec["templateRef"]["name"])
    template["spec"]["configSchema"] = {**costly_schema(), "additionalProperties": True}
    return "spec.with"


@breaks("any/too-many", "Story")
def _too_many(chance: Chance, draft: Draft) -> str:
    many = {f"s{number}": " " for number in range(MAX_FINDINGS + chance.number(1, 3))}
    draft.spec["steps"].append({"name": "planted", "type": "stop"})
    section(draft.spec["steps"][-1], "secrets").update(many)
    return ""


@breaks("any/name", "StoryRun", "Story", "Engram", "Impulse", update=False)
def _named_as_nothing_refers(chance: Chance, draft: Draft) -> str:
    draft.new["metadata"]["name"] = chance.pick(("my.run", "a.b", "a.b.c-d", f"{'n' * 100}.n"))
    if "annotations" in draft.new["metadata"]:
        draft.new["metadata"]["annotations"].pop("storyrun.bubustack.io/trigger-token", None)
    return "metadata.name"
