"""Applies the rules of ``core.policy.floor``, ``classes`` and ``borrowed`` to the values of a layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.api.objects import ReadOnlyObject
from core.policy import borrowed, classes, floor
from core.policy.settings import OperatorSettings
from core.policy.sources import OPERATOR, TEMPLATES, Layer
from core.policy.volumes import MountedPath, borrowed_objects


class PolicyBounds:
    """The bounds for one resolution; ``notes`` name the values that were not applied."""

    def __init__(self, settings: OperatorSettings, template: ReadOnlyObject, namespace: str) -> None:
        """``namespace`` is that of the containers; empty: that of all definitions."""
        self._settings = settings
        self._template = template
        self._namespace = namespace
        self._floor = floor.floor_of(settings, template)
        self._ignored: dict[str, str] = {}
        self._problems: list[str] = []
        self.notes: list[str] = []

    def allowed(self, layer: Layer, key: str, value: Any) -> Any:
        """``value`` of the setting ``key``, or the allowed value instead of it; None: the layer sets nothing."""
        if layer.label == OPERATOR:
            return value
        if key in floor.STRICT:
            return self._at_least_the_floor(layer, key, value)
        if key == "tolerations":
            return self._tolerated(layer, value)
        if key in classes.CLASSES:
            return self._named(layer, key, value)
        if layer.definition is not None and borrowed.is_foreign(layer.definition, self._namespace):
            return self._from_another_namespace(layer, key, value)
        return value

    def problems(self, secrets: Mapping[str, str]) -> list[str]:
        """Problems of ignored values that the step needs; ``secrets`` are those that are used."""
        return [*self._problems, *borrowed.lacking(secrets, self._ignored, self._template)]

    def secret_mounts(self, secrets: Mapping[str, str]) -> tuple[MountedPath, ...]:
        """The paths at which the template mounts ``secrets`` as files, if it names a path."""
        schema = (self._template.get("spec") or {}).get("secretSchema") or {}
        return tuple(
            MountedPath(definition["mountPath"], f"secretSchema.{name} of the template")
            for name, definition in sorted(schema.items())
            if name in secrets and definition.get("mountPath") and definition.get("mountType") in ("file", "both")
        )

    def _named(self, layer: Layer, key: str, value: Any) -> Any:
        if layer.label in TEMPLATES or not classes.is_class_name(value):
            return value  # a name that is invalid is a problem of its own
        if refused := classes.why_not_named(key, value, self._settings):
            field = classes.CLASSES[key].field
            self.notes.append(f"{layer.label}: {field} is ignored: it {refused} ({classes.class_remedy(key)})")
            return None
        return value

    def _at_least_the_floor(self, layer: Layer, key: str, value: Any) -> Any:
        settings, strict = self._settings, floor.STRICT[key]
        is_template = layer.label in TEMPLATES
        least = getattr(settings.security, key) if is_template else self._floor[key]
        if value == strict or least != strict or floor.may_lower(settings, is_template=is_template):
            return value
        field = floor.REQUIREMENTS[key][0] if is_template else f"security.{floor.FIELDS[key]}"
        self.notes.append(
            f"{layer.label}: {field} is below the minimum; {floor.FIELDS[key]} stays {str(strict).lower()} "
            f"({floor.LOWERED_BY_KEY} in the operator's ConfigMap decides who may lower it)"
        )
        return None

    def _tolerated(self, layer: Layer, value: tuple[Mapping[str, Any], ...]) -> tuple[Mapping[str, Any], ...]:
        kept = []
        for index, toleration in enumerate(value):
            if refused := floor.why_not_tolerated(toleration, self._settings):
                place = f"{layer.label}: placement.tolerations[{index}]"
                self.notes.append(f"{place}: is ignored: it {refused} ({floor.toleration_remedy()})")
            else:
                kept.append(toleration)
        return tuple(kept)

    def _from_another_namespace(self, layer: Layer, key: str, value: Any) -> Any:
        assert layer.definition is not None, "only a layer with an object can be of another namespace"
        where = f"{layer.label} of namespace {borrowed.namespace_of(layer.definition)}"
        if key == "secrets":
            for name in value:
                self._ignored[name] = where
                self.notes.append(f"{where}: secrets.{name} is ignored: {borrowed.WHY}")
            return None
        if key == "image_pull_secrets":
            self.notes.append(f"{where}: imagePullSecrets is ignored: {borrowed.WHY}")
            return None
        if key == "volumes":
            self._problems += [
                f"{where}: {field}: names {named}, but {borrowed.WHY}; use emptyDir, or name it in a Story here"
                for field, named in borrowed_objects(value)
            ]
        if key == "storage":
            found = borrowed.storage_problems(value, self._settings.storage)
            self._problems += [f"{where}: {problem}" for problem in found]
        return value
