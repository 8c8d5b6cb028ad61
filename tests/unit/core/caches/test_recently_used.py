"""A cache keeps what was used last, up to its size, also with several threads; a kept result is not computed again."""

from __future__ import annotations

import threading
from collections import OrderedDict

import pytest
from hypothesis import given
from hypothesis import strategies as some

from core.caches.recently_used import ENTRY_BYTES, RecentlyUsed, kept_by_text

LIMIT = 10
OPERATIONS = some.lists(
    some.tuples(some.sampled_from("abcdef"), some.one_of(some.none(), some.integers(0, 2 * LIMIT))), max_size=60
)


@given(OPERATIONS)
def test_it_keeps_what_the_plain_rule_keeps(operations: list[tuple[str, int | None]]) -> None:
    cache, plain = RecentlyUsed[str, int](LIMIT), OrderedDict[str, int]()
    for key, size in operations:
        if size is None:
            assert cache.get(key) == plain.get(key)
            if key in plain:
                plain.move_to_end(key)
            continue
        cache.put(key, size, size)
        plain.pop(key, None)
        plain[key] = size
        while sum(plain.values()) > LIMIT and len(plain) > 1:
            plain.popitem(last=False)
    assert len(cache) == len(plain)
    assert [cache.get(key) for key in "abcdef"] == [plain.get(key) for key in "abcdef"]


def test_threads_may_ask_and_add_at_the_same_time() -> None:
    cache, wrong = RecentlyUsed[int, str](40), list[object]()

    def work(first: int) -> None:
        for number in range(first, first + 3_000):
            key = number % 97
            found = cache.get(key)
            if found not in (None, str(key)):
                wrong.append(found)
            cache.put(key, str(key), 1 + number % 3)

    threads = [threading.Thread(target=work, args=(first * 31,)) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    cache.put(98, "98", 1)
    assert wrong == []
    assert 13 <= len(cache) <= 40


def test_a_result_is_computed_once_while_it_is_kept() -> None:
    asked: list[tuple[str, int]] = []

    @kept_by_text(4 * ENTRY_BYTES)
    def length(text: str, factor: int) -> int:
        asked.append((text, factor))
        return factor * len(text)

    assert [length("ab", 1), length("ab", 2), length("ab", 1)] == [2, 4, 2]
    assert asked == [("ab", 1), ("ab", 2)]
    assert (length.cache_info().hits, length.cache_info().currsize) == (1, 2)
    assert length.__wrapped__("abc", 1) == 3
    length.cache_clear()
    assert length.cache_info().currsize == 0
    length("x" * 3 * ENTRY_BYTES, 1)
    assert length.cache_info().currsize == 1, "a long text leaves no room for others"


def test_what_a_result_takes_counts() -> None:
    @kept_by_text(10 * ENTRY_BYTES, len)
    def repeated(text: str) -> str:
        return text * 1_900

    for text in "abcdef":
        repeated(text)
    assert repeated.cache_info().currsize == 2


def test_an_error_is_not_kept() -> None:
    tries: list[str] = []

    @kept_by_text(ENTRY_BYTES)
    def fails_once(text: str) -> str:
        tries.append(text)
        if len(tries) == 1:
            raise ValueError(text)
        return text

    with pytest.raises(ValueError, match="a"):
        fails_once("a")
    assert fails_once("a") == "a"
    assert tries == ["a", "a"]
