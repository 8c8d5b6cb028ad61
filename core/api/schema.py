"""The building blocks of kinds: base model, field types, schema keywords, validation rules.

A kind is a tree of ``WireModel`` classes. pydantic checks documents against it, and ``core.api.crd`` renders it as an
OpenAPI schema; both read the same annotations, so a CRD and the operator's own checks cannot differ. The markers
``Keywords``, ``Rendered`` and ``ListedAsRequired`` express properties that pydantic does not have (``x-kubernetes-…``,
formats).

Values keep their wire form: instants, durations and quantities stay strings. Keep this package's ``__init__`` free of
imports: processes that only handle plain dicts must not pay for the models.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, ClassVar, Final, TypeVar, Union, get_args, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainValidator
from pydantic.alias_generators import to_camel

from bubu_contract.instants import parse_instant
from core.api.phases import ExitClass, Phase
from core.api.quantity import parse_quantity


@dataclass(frozen=True, slots=True, eq=False)
class Keywords:
    """Schema keywords in addition to those of the type. Compared by identity, because annotations must be hashable."""

    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Rendered:
    """The whole schema of a type, when its Python form implies no useful one."""

    schema: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ListedAsRequired:
    """A field with a default that the schema nevertheless lists as required: the API server applies defaults first."""


@dataclass(frozen=True, slots=True)
class DescribedElsewhere:
    """The schema of a type without descriptions of its own: a definition must fit into an annotation of ``kubectl
    apply``, and Kubernetes, or another definition, describes the type.
    """


@dataclass(frozen=True, slots=True)
class CelRule:
    """A CEL rule of an object (``x-kubernetes-validations``), evaluated by the API server only."""

    rule: str
    message: str


class WireModel(BaseModel):
    """An object in wire form: camelCase there, snake_case here; frozen, strict about types, without unknown fields.

    ``schema_keywords`` and ``validations`` belong to the object's schema, in every place where the object is used.
    """

    model_config = ConfigDict(
        frozen=True, strict=True, extra="forbid", alias_generator=to_camel, defer_build=True, hide_input_in_errors=True
    )

    schema_keywords: ClassVar[Mapping[str, Any]] = {}
    validations: ClassVar[tuple[CelRule, ...]] = ()


T = TypeVar("T")

DNS_LABEL: Final = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
"""Also the contract's pattern for object names of up to 253 characters: references may not contain dots."""

QUANTITY_PATTERN: Final = (
    r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$"
)
_INT_OR_STRING: Final = {"anyOf": [{"type": "integer"}, {"type": "string"}], "x-kubernetes-int-or-string": True}


def _fits(bits: int) -> AfterValidator:
    limit = 2 ** (bits - 1)

    def within(value: int) -> int:
        if not -limit <= value < limit:
            raise ValueError(f"must fit into {bits} bits")
        return value

    return AfterValidator(within)


def _instant(text: str) -> str:
    parse_instant(text)
    return text


def _int_or_string(value: object) -> int | str:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError("must be an integer or a string")  # noqa: TRY004 - pydantic reports only ValueError as a field error
    return value


def _quantity(value: object) -> int | str:
    known = _int_or_string(value)
    parse_quantity(str(known))
    return known


Int32 = Annotated[int, Keywords({"format": "int32"}), _fits(32)]
Int64 = Annotated[int, Keywords({"format": "int64"}), _fits(64)]
Integer = Annotated[int, _fits(64)]
"""An integer whose schema has no format."""

Instant = Annotated[str, Keywords({"format": "date-time"}), AfterValidator(_instant)]
"""RFC 3339 text."""

JsonObject = Annotated[dict[str, Any], Rendered({"type": "object", "x-kubernetes-preserve-unknown-fields": True})]
"""Any JSON object, unchanged."""

JsonValue = Annotated[Any, Rendered({"x-kubernetes-preserve-unknown-fields": True})]
"""Any JSON value, unchanged; rules of its object cannot refer to it."""

IntOrName = Annotated[int | str, Rendered({"x-kubernetes-int-or-string": True}), PlainValidator(_int_or_string)]
"""An integer or a string, in the shortest schema: a definition must fit into an annotation of ``kubectl apply``."""
IntOrString = Annotated[int | str, Rendered(_INT_OR_STRING), PlainValidator(_int_or_string)]
Quantity = Annotated[int | str, Rendered({**_INT_OR_STRING, "pattern": QUANTITY_PATTERN}), PlainValidator(_quantity)]

AtomicList = Annotated[list[T], Keywords({"x-kubernetes-list-type": "atomic"})]
"""A list that server-side apply replaces as a whole."""

ObjectName = Annotated[str, Field(min_length=1, max_length=253, pattern=DNS_LABEL)]
NamespaceName = Annotated[str, Field(max_length=63, pattern=DNS_LABEL)]
LabelName = Annotated[str, Field(min_length=1, max_length=63, pattern=DNS_LABEL)]
VersionText = Annotated[str, Field(max_length=64)]

# Strict models accept only members of the enum; these values arrive as plain strings.
PhaseWord = Annotated[Phase, Field(strict=False)]
ExitClassWord = Annotated[ExitClass, Field(strict=False)]

ATOMIC_MAP: Final[Mapping[str, Any]] = {"x-kubernetes-map-type": "atomic"}


def peeled(annotation: Any) -> tuple[Any, list[Any]]:
    """The bare type inside ``Annotated`` and ``| None``, and all markers around it, outermost first."""
    markers: list[Any] = []
    while True:
        origin = get_origin(annotation)
        if origin is Annotated:
            annotation, *found = get_args(annotation)
            markers += found
        elif origin in (Union, UnionType):
            members = [member for member in get_args(annotation) if member is not NoneType]
            if len(members) != 1:
                return annotation, markers
            annotation = members[0]
        else:
            return annotation, markers
