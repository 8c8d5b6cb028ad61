"""Random wire objects from the models of the kinds: the type, bounds and pattern of each field decide its values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Final, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from core.api.execution import PolicyRule, RetrySpec
from core.api.objects import Object
from core.api.scheduling import Toleration
from core.api.schema import QUANTITY_PATTERN, Keywords, Rendered, WireModel, peeled
from fuzz.admission import strategies_values as values
from fuzz.admission.chance import Chance

_KINDS: Final = (
    *("cpu", "memory", "ephemeralStorage"),
    *("recommendedCpu", "recommendedMemory", "recommendedEphemeralStorage"),
)
_BY_NAME: Final[dict[str, Callable[[Chance], Any]]] = {
    "timeout": values.duration,
    "delay": values.duration_or_none,
    "maxDelay": values.duration_or_none,
    "checkpointInterval": values.duration,
    "gracefulShutdownTimeout": values.duration_or_none,
    "step": values.duration,
    "cleanup": values.duration,
    "story": values.duration,
    "samplePolicy": lambda chance: chance.pick(("", "rate", " Random ", "ALWAYS", "never")),
    **dict.fromkeys((f"{kind}Request" for kind in _KINDS), lambda chance: chance.pick(("500m", "1", ""))),
    **dict.fromkeys((f"{kind}Limit" for kind in _KINDS), lambda chance: chance.pick(("1", "2Gi", ""))),
    "maxInlineSize": lambda chance: chance.pick((0, 4096, 9000)),
    "runAsNonRoot": lambda chance: chance.yes() or True,
    "readOnlyRootFilesystem": lambda chance: chance.yes() or True,
    "allowPrivilegeEscalation": lambda chance: chance.yes() and False,
}
"""Fields whose text is checked by more than the schema."""
_MOST: Final = 2


def _volumes(chance: Chance) -> list[Object]:
    kinds: tuple[Object, ...] = (
        {"emptyDir": {}},
        {"emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}},
        {"persistentVolumeClaim": {"claimName": "data"}, "readOnly": True},
        {"configMap": {"name": "settings", "optional": True}, "subPath": "a/b"},
    )
    return [
        {"name": name, "mountPath": f"/mnt/{name}", **chance.pick(kinds)} for name in chance.some(("a", "b-1", "c"), 2)
    ]


_BY_ALIAS: Final[dict[str, Callable[[Chance], Any]]] = {
    "volumes": _volumes,
    "sharedMemory": lambda chance: chance.pick((0, "2Gi", 1048576)),
    "extended": lambda chance: chance.pick(({}, {"nvidia.com/gpu": 1}, {"a.b/C_d": "2", "hugepages-2Mi": "4Mi"})),
    "extendedResources": lambda chance: {"nvidia.com/gpu": chance.pick((0, "8"))},
    "priorityClassName": lambda chance: None,
    "runtimeClassName": lambda chance: None,
    "recommendedRetryOn": lambda chance: chance.pick((["transient", 1], ["storage_error"])),
    "warm": lambda chance: chance.pick(({"maxReplicas": 0}, {"enabled": False, "replicas": 2, "idleTimeout": "1h"})),
}
"""Fields whose values the schema describes only in part; None: the field is left out."""


def fill(chance: Chance, model: type[WireModel], given: Object | None = None, *, leave: Sequence[str] = ()) -> Object:
    """A wire object of ``model``: the ``given`` fields, the required ones, and a few other fields except ``leave``."""
    found, fields = dict(given or {}), _fields(model)
    for alias, field in fields.items():
        if field.required and alias not in found:
            found[alias] = _value(chance, alias, field)
    optional = [alias for alias, field in fields.items() if not field.required and alias not in (*found, *leave)]
    for alias in chance.some(optional, _MOST):
        value = _value(chance, alias, fields[alias])
        if value is not None:
            found[alias] = value
    return found


class _Field:
    """The facts about a field: its bare type, and its constraints."""

    def __init__(self, annotation: Any, info: FieldInfo | None = None) -> None:
        self.type, markers = peeled(annotation)
        self.required = info is not None and info.is_required()
        marks: list[Any] = list(info.metadata) if info else []
        for marker in markers:
            marks += [marker, *(marker.metadata if isinstance(marker, FieldInfo) else ())]
        self.keywords: Object = {}
        for mark in marks:
            if isinstance(mark, Keywords | Rendered):
                self.keywords |= mark.values if isinstance(mark, Keywords) else mark.schema
            for bound in ("ge", "le", "min_length", "max_length", "pattern"):
                if getattr(mark, bound, None) is not None:
                    self.keywords[bound] = getattr(mark, bound)


@cache
def _fields(model: type[WireModel]) -> dict[str, _Field]:
    return {info.alias or name: _Field(info.annotation, info) for name, info in model.model_fields.items()}


@cache
def _inner(annotation: Any) -> _Field:
    return _Field(annotation)


def retry_policy(chance: Chance) -> Object:
    """A retry policy that has an effect on every container."""
    failures = chance.pick((["any"], ["transient", 1, "timeout"], [75, 255]))
    given: Object = {"maxRetries": chance.number(1, 10)} | ({"retryOn": failures} if chance.yes() else {})
    return fill(chance, RetrySpec, given, leave=("retryOn",))


def _value(chance: Chance, alias: str, field: _Field) -> Any:
    if (
        field.type is RetrySpec
    ):  # in most places it has no effect, which is a finding: ``retry_policy`` is for the others
        return None
    if alias in _BY_ALIAS:
        return _BY_ALIAS[alias](chance)
    if alias in _BY_NAME and field.type in (str, int, bool):
        return _BY_NAME[alias](chance)
    if "x-kubernetes-int-or-string" in field.keywords:
        texts = ("1Gi", "500m", "1e3") if field.keywords.get("pattern") == QUANTITY_PATTERN else ("http", "80")
        return chance.pick((1, *texts))
    if field.type is str:
        return _text(chance, field)
    if field.type is bool:
        return chance.yes()
    if field.type is int:
        least = field.keywords.get("ge", 0)
        return chance.number(least, field.keywords.get("le", least + 100))
    return _composed(chance, alias, field)


def _text(chance: Chance, field: _Field) -> str:
    if field.keywords.get("format") == "date-time":
        return chance.pick(values.INSTANTS)
    return chance.pick(values.NAMES) if "pattern" in field.keywords else chance.pick(values.WORDS)


def _composed(chance: Chance, alias: str, field: _Field) -> Any:
    origin, arguments = get_origin(field.type), get_args(field.type)
    if origin is Literal:
        return chance.pick(arguments)
    if origin is list:
        least = field.keywords.get("min_length", 0)
        return [_value(chance, alias, _inner(arguments[0])) for _ in range(chance.number(least, least + 1))]
    if origin is dict and arguments[1] is Any:
        return values.payload(chance)
    if origin is dict:
        keys = chance.some(("a", "app.kubernetes.io/name", "ünï"), 2)
        return {key: _value(chance, alias, _inner(arguments[1])) for key in keys}
    if field.type is Toleration:
        return {**fill(chance, Toleration), "key": "gpu"}
    if field.type is PolicyRule:
        return values.handed_on(chance)
    if isinstance(field.type, type) and issubclass(field.type, WireModel):
        return fill(chance, field.type)
    raise NotImplementedError(f"no values for {alias}: {field.type}")
