"""Data classes that compile their methods when these are called behave as those that compile them at once."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from process import lean_records

SOURCE = """
from __future__ import annotations
from dataclasses import dataclass, field, InitVar
from typing import ClassVar, Generic, TypeVar

T = TypeVar("T")

@dataclass(frozen=True, slots=True)
class Point:
    x: int
    y: int = 2
    tags: list[str] = field(default_factory=list, compare=False)
    known: ClassVar[int] = 3

@dataclass(frozen=True, slots=True)
class Point3(Point):
    z: int = field(default=0, kw_only=True)

@dataclass(order=True)
class Version:
    numbers: tuple[int, ...]
    note: str = field(default="", compare=False)

@dataclass(frozen=True)
class Box(Generic[T]):
    content: T
    secret: str = field(default="s", repr=False)

@dataclass
class Doubled:
    \"\"\"Has a text of its own.\"\"\"
    value: int
    factor: InitVar[int] = 2
    def __post_init__(self, factor: int) -> None:
        self.value *= factor

@dataclass(eq=False)
class Same:
    value: int

@dataclass(frozen=True)
class Empty:
    pass
"""
OURS, THEIRS = "core.records_of_this_test", "a_program_of_the_user"


@pytest.fixture(autouse=True)
def deferring() -> Iterator[None]:
    had = "exec" in vars(dataclasses)
    lean_records.compile_methods_when_called()
    yield
    if not had:
        del vars(dataclasses)["exec"]


def module_of(name: str) -> Any:
    module = ModuleType(name)
    sys.modules[name] = module
    exec(SOURCE, vars(module))
    return module


@pytest.fixture
def ours() -> Iterator[Any]:
    yield module_of(OURS)
    del sys.modules[OURS]


@pytest.fixture
def theirs() -> Iterator[Any]:
    yield module_of(THEIRS)
    del sys.modules[THEIRS]


def is_compiled(method: Any) -> bool:
    return bool(method.__code__.co_filename == "<string>")


def test_a_method_is_compiled_at_its_first_call_and_stays(ours: Any) -> None:
    assert not is_compiled(vars(ours.Point)["__init__"])

    ours.Point(1)

    assert is_compiled(vars(ours.Point)["__init__"])
    assert vars(ours.Point)["__init__"].__qualname__ == "Point.__init__"
    assert not is_compiled(vars(ours.Point)["__hash__"])


def test_classes_of_other_programs_are_compiled_at_once(theirs: Any) -> None:
    assert is_compiled(vars(theirs.Point)["__init__"])
    assert list(inspect.signature(theirs.Point).parameters) == ["x", "y", "tags"]


def behaviour(module: Any) -> list[Any]:
    point, deep = module.Point(1), module.Point3(1, z=5)
    answers: list[Any] = [
        repr(point),
        repr(deep),
        point == module.Point(1, 2, ["other"]),
        point == deep,
        point != module.Point(2),
        hash(point) == hash(module.Point(1)),
        {point: 1}[module.Point(1)],
        dataclasses.replace(deep, x=9),
        dataclasses.asdict(deep),
        copy.copy(point),
        copy.deepcopy(deep),
        pickle.loads(pickle.dumps(deep)),
        module.Version((1, 2)) < module.Version((1, 3)),
        module.Version((1, 2), "a") >= module.Version((1, 2), "b"),
        repr(module.Box("c")),
        module.Box([1]) == module.Box([1]),
        module.Doubled(4, factor=3),
        module.Doubled.__doc__,
        module.Same(1) == module.Same(1),
        module.Empty() == module.Empty(),
        hash(module.Empty()),
        module.Point.__match_args__,
        [each.name for each in dataclasses.fields(module.Point3)],
    ]
    for attempt in (
        lambda: module.Point(),
        lambda: module.Point(1, 2, [], 4),
        lambda: module.Point(1, wrong=2),
        lambda: module.Point3(1, 2, [], 3),
        lambda: setattr(point, "x", 2),
        lambda: delattr(point, "x"),
        lambda: setattr(deep, "z", 2),
        lambda: hash(module.Version((1,))),
        lambda: module.Version((1,)) < 3,
        lambda: hash(module.Point3([])),
    ):
        with pytest.raises((TypeError, AttributeError)) as failure:
            attempt()
        answers.append((type(failure.value), str(failure.value)))
    return [each if isinstance(each, bool | int | tuple | list | dict) else repr(each) for each in answers]


def test_they_behave_as_those_that_are_compiled_at_once(ours: Any, theirs: Any) -> None:
    assert behaviour(ours) == behaviour(theirs)
    assert behaviour(ours) == behaviour(theirs), "the second time, with the compiled methods"


def test_a_subclass_finds_the_method_of_its_base(ours: Any) -> None:
    class Marked(ours.Box):  # type: ignore[misc]  # the base is made at run time
        pass

    assert Marked("c").content == "c"
    assert is_compiled(vars(ours.Box)["__init__"])
    assert "__init__" not in vars(Marked)


def test_text_of_an_unknown_form_is_compiled_at_once() -> None:
    found: dict[str, Any] = {}

    vars(dataclasses)["exec"]("answer = 42", {"__name__": OURS}, found)

    assert found == {"answer": 42}


def test_the_packages_are_those_of_the_operator() -> None:
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"]

    assert {folder.rpartition("/")[2] for folder in wheel} - {"examples", "manifests"} == lean_records.OUR_PACKAGES
