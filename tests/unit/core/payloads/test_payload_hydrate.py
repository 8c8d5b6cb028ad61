"""References become values, within limits, and with the same result as in the SDK."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import example, given
from hypothesis import strategies as st

from bubu_sdk.errors import EngramError
from bubu_sdk.hydrate import Hydrator
from bubu_sdk.testing import InMemoryStore
from core.expressions.paths import is_reference
from core.payloads.errors import PayloadError, StoreUnavailableError
from core.payloads.hydrate import HydrationBounds, hydrate
from core.payloads.store import open_file_store

PLACE = "outputs/ns/sr/"
USUAL = HydrationBounds()
SECRET = "hunter2"


def wrapped(data: Any) -> bytes:
    return json.dumps({"contentType": "raw" if isinstance(data, str) else "json", "data": data}).encode()


def ref(name: str, path: str | None = None) -> dict[str, str]:
    reference = {"$bubuStorageRef": PLACE + name}
    return reference if path is None else {**reference, "$bubuStoragePath": path}


class KeptStore:
    """Objects in memory; records what was read."""

    def __init__(self, **objects: Any) -> None:
        self.objects = {PLACE + name: wrapped(data) for name, data in objects.items()}
        self.read_keys: list[str] = []

    async def read(self, key: str, limit_bytes: int) -> bytes:
        await trio.lowlevel.checkpoint()
        self.read_keys.append(key)
        content = self.objects.get(key)
        if content is None or len(content) > limit_bytes:
            raise PayloadError(f"the stored object {key!r} cannot be had")
        return content


async def hydrated(value: Any, bounds: HydrationBounds = USUAL, **objects: Any) -> Any:
    return await hydrate(value, KeptStore(**objects), namespace="ns", field="spec.inputs", bounds=bounds)


async def complaint(value: Any, bounds: HydrationBounds = USUAL, **objects: Any) -> str:
    with pytest.raises(PayloadError) as caught:
        await hydrated(value, bounds, **objects)
    assert SECRET not in str(caught.value)
    return str(caught.value)


async def test_a_reference_is_followed_through_further_references() -> None:
    value = {"a": [ref("outer"), 1], "b": {"c": None}}

    assert await hydrated(value, outer={"inner": ref("inner"), "n": 1}, inner="text") == {
        "a": [{"inner": "text", "n": 1}, 1],
        "b": {"c": None},
    }


async def test_references_that_are_not_below_a_prefix_stay_as_they_are() -> None:
    store = KeptStore(**{"mine/a": {"text": ref("b"), "n": 1}, "b": "text"})
    broken = {"$bubuStorageRef": "other", "and": "a key"}
    value = {"a": ref("mine/a"), "b": ref("b"), "c": broken}

    assert await hydrate(value, store, namespace="ns", field="spec.input", below=f"{PLACE}mine/") == {
        "a": {"text": ref("b"), "n": 1},
        "b": ref("b"),
        "c": broken,
    }
    assert store.read_keys == [f"{PLACE}mine/a"]


async def test_files_of_the_store_are_read(tmp_path: Path) -> None:
    (tmp_path / PLACE).mkdir(parents=True)
    (tmp_path / PLACE / "o").write_bytes(wrapped({"a": ["x" * 100_000]}))

    value = await hydrate(ref("o", "a[0]"), open_file_store(str(tmp_path)), namespace="ns", field="inputs")

    assert value == "x" * 100_000


async def test_neither_the_value_nor_a_stored_object_is_changed() -> None:
    value = {"a": [ref("o"), ref("o", "n")], "b": {"c": []}}
    before = copy.deepcopy(value)

    assert await hydrated(value, o={"n": [1]}) == {"a": [{"n": [1]}, [1]], "b": {"c": []}}
    assert value == before


@pytest.mark.parametrize("value", [None, 1, "text", [], {"a": [{}]}, {"$bubuStorageRef": 1}], ids=str)
async def test_a_value_without_references_stays_as_it_is(value: Any) -> None:
    assert await hydrated(value) is value


@pytest.mark.parametrize(
    "reference",
    [
        {"$bubuSecretRef": "db:password"},
        {"$bubuConfigMapRef": {"name": "a", "key": "k"}},
        {"$bubuSecretRef": ref("o")},
    ],
    ids=str,
)
async def test_references_to_config_maps_and_secrets_stay(reference: dict[str, Any]) -> None:
    assert await hydrated([reference, ref("x")], x={"y": reference}) == [reference, {"y": reference}]


OBJECT = {"items": [{"n": 1, "tags": ["a"]}, {"n": 2}], "deep": {"x": {"y": None}}, "ref": ref("other")}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("items[0].n", 1),
        ("items[*].n", [1, 2]),
        ("items[*].tags", [["a"], None]),
        ("items[*].tags[0]", ["a", None]),
        ("items[*]", OBJECT["items"]),
        ("items", OBJECT["items"]),
        ("deep.x.y", None),
        ("..deep . x", {"y": None}),
        ("ref", {"a": [{"b": 7}]}),
        ("ref.a[0].b", 7),
        ("ref.a[*].b", [7]),
        (" ", {**OBJECT, "ref": {"a": [{"b": 7}]}}),
    ],
)
async def test_a_sub_path_selects_a_part(path: str, expected: Any) -> None:
    assert await hydrated(ref("o", path), o=OBJECT, other={"a": ref("last", "c")}, last={"c": [{"b": 7}]}) == expected


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("items[2]", "index 2 is missing"),
        ("missing", "field 'missing' is missing"),
        ("deep[0]", "an index is applied to an object"),
        ("items.n", "a field is looked up in a list"),
        ("items[*].n.x", "a field is looked up in a number"),
        ("deep.x.y.z", "a field is looked up in null"),
        ("items[0].tags[0].x", "a field is looked up in a string"),
    ],
)
async def test_a_sub_path_that_names_nothing_is_refused_with_its_place(path: str, problem: str) -> None:
    said = await complaint({"a": [0, ref("o", path)]}, o=OBJECT)

    assert said == (
        f"spec.inputs.a[1]: the sub-path {path!r} does not fit the stored object 'outputs/ns/sr/o': {problem}"
    )


async def test_what_a_sub_path_does_not_lead_to_is_not_read() -> None:
    store = KeptStore(o={"big": ref("big"), "n": 1, "next": ref("next")}, next={"m": 2, "big": ref("big")})

    value = await hydrate([ref("o", "n"), ref("o", "next.m")], store, namespace="ns", field="f")

    assert value == [1, 2]
    assert store.read_keys == [PLACE + "o", PLACE + "next"]


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ({"$bubuStorageRef": ""}, "invalid storage reference '': it is empty"),
        ({"$bubuStorageRef": "outputs/ns/../x/y"}, "must be relative, without '..'"),
        ({"$bubuStorageRef": "outputs/other/sr/o"}, "does not belong to namespace 'ns'"),
        ({**ref("o"), "$bubuStoragePath": 1}, r"\$bubuStoragePath of a storage reference must be a string"),
        ({**ref("o"), SECRET: SECRET}, "a storage reference has 1 keys that are not allowed"),
        (ref("o", "a["), "must be"),
        (ref("none"), "'outputs/ns/sr/none' cannot be had"),
    ],
)
async def test_a_reference_that_is_no_good_is_refused_wherever_it_is(value: Any, problem: str) -> None:
    with pytest.raises(PayloadError, match=rf"^spec\.inputs\.a\[0\]: .*{problem}"):
        await hydrated({"a": [value]})
    with pytest.raises(PayloadError, match=rf"^spec\.inputs\.in: .*{problem}"):
        await hydrated(ref("o"), o={"in": value})


async def test_nothing_that_templates_take_for_a_reference_is_left() -> None:
    for odd in ({"$bubuStorageRef": " k "}, {"$bubuStorageRef": "k", "x": 1}):
        assert is_reference(odd)
        await complaint(odd)


async def test_a_malformed_object_is_refused_without_a_word_of_what_is_in_it() -> None:
    store = KeptStore()
    store.objects[PLACE + "o"] = b'{"contentType":"hunter2","data":"hunter2"}'

    with pytest.raises(PayloadError, match=r"^f\.x: the stored object 'outputs/ns/sr/o' is not a payload") as caught:
        await hydrate({"x": ref("o")}, store, namespace="ns", field="f")

    assert SECRET not in str(caught.value)


async def test_no_complaint_has_a_path_without_end() -> None:
    said = await complaint({"k" * 100_000: ref("none")})

    assert len(said) < 400


class BrokenStore:
    async def read(self, key: str, limit_bytes: int) -> bytes:
        raise StoreUnavailableError("no answer")


async def test_a_store_that_fails_says_nothing_about_the_value() -> None:
    with pytest.raises(StoreUnavailableError, match=r"^no answer$"):
        await hydrate(ref("o"), BrokenStore(), namespace="ns", field="f")


@pytest.mark.parametrize(
    ("start", "loop"),
    [
        (ref("o"), ref("o")),
        (ref("o"), {"again": ref("o")}),
        (ref("o", "x"), {"x": ref("o", "x")}),
        (ref("o", "x.y"), {"x": ref("o", "x")}),
        (ref("o", "x[*].y"), {"x": [ref("o", "x[*].y")]}),
    ],
    ids=["itself", "inside", "its part", "on the way", "in a wildcard"],
)
async def test_an_object_that_refers_to_itself_is_too_deep(start: Any, loop: Any) -> None:
    assert "nested deeper than 32 levels, references included" in await complaint(start, o=loop)
    assert "nested deeper than 128 levels" in await complaint(start, HydrationBounds(depth=10_000), o=loop)


def nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize("levels", [33, 1_000, 100_000])
async def test_a_value_is_refused_by_its_depth_however_deep(levels: int) -> None:
    assert "nested deeper than 32" in await complaint(nested(levels))


async def test_the_deepest_value_that_is_allowed_passes() -> None:
    assert await hydrated(nested(32)) == nested(32)
    assert await hydrated(nested(128), HydrationBounds(depth=128)) == nested(128)
    assert await hydrated(ref("o"), o=nested(31)) == nested(31)
    assert "nested deeper than 32" in await complaint(ref("o"), o=nested(32))
    assert await hydrated(ref("o", "[*]" * 31 + "[*]"), HydrationBounds(depth=128), o=nested(40)) == nested(40)


async def test_references_are_counted_wherever_they_are() -> None:
    store = KeptStore(o=1)

    with pytest.raises(PayloadError, match="more than 1,000 storage references"):
        await hydrate([ref("o")] * 100_000, store, namespace="ns", field="f")

    assert store.read_keys == [PLACE + "o"]
    assert "more than 3 storage" in await complaint(ref("o"), HydrationBounds(references=3), o=[ref("p")] * 3, p=1)
    assert "more than 3 storage" in await complaint(
        ref("o", "[*].x"), HydrationBounds(references=3), o=[ref("p")] * 3, p={"x": 1}
    )


async def test_an_object_that_is_too_large_is_not_asked_for() -> None:
    assert "cannot be had" in await complaint(ref("o"), HydrationBounds(object_bytes=99), o="x" * 100)


async def test_all_that_is_read_is_bounded_and_each_object_counts_once() -> None:
    bounds = HydrationBounds(total_bytes=200)

    assert await hydrated([ref("o", "n")] * 100, bounds, o={"n": 1, "x": "x" * 100}) == [1] * 100
    assert "more than 200 bytes of stored objects in total" in await complaint(
        [ref("o", "n"), ref("p", "n")], bounds, o={"n": 1, "x": "x" * 100}, p={"n": 1, "x": "x" * 100}
    )


@pytest.mark.parametrize(
    "data",
    ["x" * 100, ["x" * 100], {"x" * 100: 1}, [1] * 50, [[]] * 50],
    ids=["text", "list", "key", "numbers", "lists"],
)
async def test_what_grows_by_repetition_is_bounded(data: Any) -> None:
    bounds = HydrationBounds(total_bytes=500)

    assert len(await hydrated([ref("o")] * 3, bounds, o=data)) == 3
    assert "more than 500 bytes" in await complaint([ref("o")] * 6, bounds, o=data)
    assert "more than 500 bytes" in await complaint([ref("o", "d")] * 6, bounds, o={"d": data})


async def test_others_have_their_turn_while_much_is_looked_at() -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(count)
        await hydrated([0] * 400_000)
        nursery.cancel_scope.cancel()

    assert turns >= 90


_LEAVES = st.none() | st.booleans() | st.integers(-5, 5) | st.text("ab", max_size=3)
_NAMES = st.sampled_from(["a", "b", "c"])
_PATHS = st.lists(st.sampled_from(["a", "b", "[0]", "[1]", "[*]", ".a[0]", " b", "[*].a"]), max_size=4).map(".".join)


def _references(objects: int) -> st.SearchStrategy[Any]:
    return st.builds(ref, st.integers(0, objects - 1).map(str), st.none() | _PATHS)


def _values(objects: int) -> st.SearchStrategy[Any]:
    """Values that refer to the first ``objects`` objects."""
    return st.recursive(
        _LEAVES | _references(objects) if objects else _LEAVES,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, min_size=1, max_size=3),
        max_leaves=8,
    )


@given(st.tuples(*map(_values, range(3)), _references(3)))
@example(({"a": [{"a": 1}]}, ref("0", "a"), {"b": ref("1", "[*]")}, ref("2", "b[0].a")))
def test_the_sdk_gives_the_same(values: tuple[Any, ...]) -> None:
    objects = {str(index): wrapped(value) for index, value in enumerate(values[:-1])}
    theirs = InMemoryStore()
    theirs.objects |= {PLACE + name: content for name, content in objects.items()}
    ours = KeptStore()
    ours.objects = dict(theirs.objects)

    try:
        expected = Hydrator(theirs, lambda *_: "", namespace="ns", max_depth=32).hydrate(values[-1], "f")
    except EngramError:
        return  # perhaps because of a part that the operator does not read
    assert trio.run(lambda: hydrate(values[-1], ours, namespace="ns", field="f")) == expected
