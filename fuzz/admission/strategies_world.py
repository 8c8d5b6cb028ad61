"""The objects around an object: each object that it refers to is created, together with the grants that it needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from core.api.objects import Object
from core.api.resource import (
    CONFIG_MAP,
    ENGRAM_TEMPLATE,
    REFERENCE_GRANT,
    SECRET,
    TRANSPORT,
    Resource,
)
from core.policy.settings import CrossNamespacePolicy
from fuzz.admission import strategies_values as values
from fuzz.admission.chance import Chance

ANY_TRANSPORT: Final[Object] = {
    "provider": "p",
    "driver": "d",
    "supportedAudio": [{"name": "opus"}],
    "supportedVideo": [{"name": "vp8"}],
    "supportedBinary": ["a/b"],
}
"""The spec of a Transport that carries everything and says nothing about streams."""
POLICIES: Final = (CrossNamespacePolicy.DENY, CrossNamespacePolicy.GRANT, CrossNamespacePolicy.ALLOW)


class Surroundings:
    """The other objects, the policy for references between namespaces, and the namespace of the object."""

    def __init__(self, chance: Chance, policies: Sequence[CrossNamespacePolicy] = POLICIES) -> None:
        self.chance = chance
        self.policy = chance.pick(policies)
        self.namespace = chance.pick(values.NAMESPACES)
        self.objects: list[Object] = []

    def put(self, resource: Resource, namespace: str, name: str, spec: Object | None = None) -> Object:
        """Creates an object."""
        made = written(resource, namespace, name, spec)
        self.objects.append(made)
        return made

    def name(self, resource: Resource) -> str:
        """A name that no other object of the kind has."""
        return f"{self.chance.pick(('x', 'orders', 'a-1'))}-{resource.plural[:3]}-{len(self.objects)}"

    def reference(self, source: Resource, target: Resource, spec: Object, *, versioned: bool = True) -> Object:
        """Creates an object with ``spec``; returns a reference to it that is allowed."""
        chance, name = self.chance, self.name(target)
        place = self._place(source, target, name)
        if versioned and "version" in spec and chance.yes(3):
            pin = {"version": chance.pick(("{}", " {} ")).format(spec["version"])}
        else:
            pin = {}
        self.put(target, place, name, spec)
        explicit = place != self.namespace or chance.yes(4)
        return {"name": name, **({"namespace": place} if explicit else {}), **pin}

    def payload_reference(self, source: Resource) -> Object:
        """A reference to storage, or to a Secret or ConfigMap that may be referenced."""
        place = self._place(source, self.chance.pick((SECRET, CONFIG_MAP)), "keys", anyone=True)
        return values.reference_map(self.chance, place)

    def _place(self, source: Resource, target: Resource, name: str, *, anyone: bool = False) -> str:
        chance = self.chance
        if self.policy is CrossNamespacePolicy.DENY or not chance.yes(3):
            return self.namespace
        place = chance.pick([other for other in values.NAMESPACES if other != self.namespace])
        if self.policy is CrossNamespacePolicy.GRANT:
            targets = (SECRET, CONFIG_MAP) if anyone else (target,)
            names: Object = {"name": name} if chance.yes() and not anyone else {}
            self.grant(source, place, [{"group": each.group, "kind": each.kind, **names} for each in targets])
        return place

    def grant(self, source: Resource, place: str, targets: list[Object]) -> Object:
        """Creates a grant: objects of kind ``source`` in this namespace may refer to ``targets`` in ``place``."""
        asking = {"group": source.group, "kind": source.kind, "namespace": self.namespace}
        others = [{"group": "a.example", "kind": "Other", "namespace": "other"}] if self.chance.yes(4) else []
        return self.put(REFERENCE_GRANT, place, self.name(REFERENCE_GRANT), {"from": [*others, asking], "to": targets})

    # --- definitions that others refer to ----------------------------------------------------------------------------

    def engram(self, *, streaming: bool, schema: Object | None = None, with_: Object | None = None) -> Object:
        """Creates a template; returns the spec of an Engram that refers to it."""
        modes = ("deployment", "statefulset") if streaming else ("job",)
        described: Object = {"secretSchema": {"api": {}, "db": {"required": True}}} if self.chance.yes() else {}
        if schema is not None:
            described["inputSchema"] = schema
        template = self.name(ENGRAM_TEMPLATE)
        template_spec = {"version": "v1", "image": "img", "supportedModes": list(modes), **described}
        self.put(ENGRAM_TEMPLATE, "", template, template_spec)
        spec: Object = {"templateRef": {"name": template}, "version": self.chance.pick(values.VERSIONS)}
        if streaming or self.chance.yes():
            spec["mode"] = self.chance.pick(modes)
        if with_ is not None:
            spec["with"] = with_
        return spec

    def story(self, *, schema: Object | None = None, realtime: bool = False) -> Object:
        """The spec of a small Story."""
        spec: Object = {"version": self.chance.pick(values.VERSIONS), "steps": [{"name": "x", "type": "stop"}]}
        if schema is not None:
            spec["inputsSchema"] = schema
        return spec | ({"pattern": "realtime"} if realtime else {})

    def transport(self, spec: Object) -> str:
        """Creates a Transport; returns its name."""
        name = self.name(TRANSPORT)
        self.put(TRANSPORT, "", name, spec)
        return name

    def secret(self, name: str) -> None:
        if not any(found["kind"] == "Secret" and found["metadata"]["name"] == name for found in self.objects):
            self.put(SECRET, self.namespace, name)


def written(resource: Resource, namespace: str, name: str, spec: Object | None = None) -> Object:
    """An object of that kind."""
    metadata = {"name": name} | ({"namespace": namespace} if resource.namespaced else {})
    found: Object = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata}
    return found if spec is None else {**found, "spec": spec}


def new_object(chance: Chance, around: Surroundings, resource: Resource, spec: Object, name: str = "") -> Object:
    """The object itself, perhaps with labels and annotations."""
    found = written(resource, around.namespace, name or chance.pick(values.NAMES), spec)
    if chance.yes(3):
        found["metadata"]["labels"] = {"app": "x", "a.example/b": ""}
    if chance.yes(3):
        found["metadata"]["annotations"] = {"note": chance.pick(values.WORDS)}
    return found
