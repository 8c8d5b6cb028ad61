from __future__ import annotations

from typing import Annotated

import pytest
from pydantic import Field, ValidationError

from core.api.schema import AtomicList, Instant, Int32, Keywords, PhaseWord, Quantity, WireModel, peeled


class _Sample(WireModel):
    """A model with one field of each kind that differs from plain pydantic."""

    step_count: Int32 | None = None
    at: Instant | None = None
    size: Quantity | None = None
    phase: PhaseWord | None = None
    names: AtomicList[str] | None = None
    from_: str | None = Field(None, alias="from")


def test_fields_are_camel_case_on_the_wire_only() -> None:
    assert _Sample.model_validate({"stepCount": 3, "from": "a"}).step_count == 3
    for wrong in ({"step_count": 3}, {"from_": "a"}):
        with pytest.raises(ValidationError):
            _Sample.model_validate(wrong)


@pytest.mark.parametrize(
    "value",
    [{"stepCount": "3"}, {"stepCount": True}, {"stepCount": 3.5}, {"names": ("a",)}, {"phase": "running"}, {"at": 5}],
    ids=lambda value: str(value),
)
def test_nothing_is_coerced(value: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        _Sample.model_validate(value)


@pytest.mark.parametrize(
    ("value", "fits"), [(2**31 - 1, True), (-(2**31), True), (2**31, False), (-(2**31) - 1, False)]
)
def test_integers_keep_to_the_width_their_format_names(value: int, fits: bool) -> None:
    if fits:
        assert _Sample.model_validate({"stepCount": value}).step_count == value
    else:
        with pytest.raises(ValidationError, match="must fit into 32 bits"):
            _Sample.model_validate({"stepCount": value})


def test_quantities_and_instants_keep_their_spelling() -> None:
    document = {"size": "1024Ki", "at": "2026-01-02T03:04:05+02:00", "phase": "Running"}
    sample = _Sample.model_validate(document)
    assert sample.model_dump(mode="json", by_alias=True, exclude_unset=True) == document


def test_peeling_gives_the_bare_type_and_all_markers() -> None:
    inner, outer = Keywords({"a": 1}), Keywords({"b": 2})
    assert peeled(Annotated[Annotated[int, inner] | None, outer]) == (int, [outer, inner])
    assert peeled(int | str) == (int | str, [])
    assert peeled(list[str] | None) == (list[str], [])
