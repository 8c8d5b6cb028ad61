from __future__ import annotations

import random
import time

from core.api.suggestion import closest

FIELDS = ["maxRetries", "delay", "backoff", "jitter"]


def test_a_misspelling_finds_the_word_meant() -> None:
    assert closest("maxRetrys", FIELDS) == "maxRetries"


def test_case_dashes_and_underscores_do_not_count() -> None:
    assert closest("max_retries", FIELDS) == "maxRetries"
    assert closest("BACK-OFF", FIELDS) == "backoff"


def test_a_word_unlike_all_others_finds_nothing() -> None:
    assert closest("template", FIELDS) is None
    assert closest("x", []) is None


def test_words_made_to_be_compared_for_long_are_not() -> None:
    shuffled = random.Random(1)
    word = "".join(shuffled.choices("ab", k=64))
    known = ["".join(shuffled.sample(word, 64)) for _ in range(10_000)]
    began = time.thread_time()

    closest(word, known)
    closest(word * 1000, known)
    closest("word", [word * 1000])

    assert time.thread_time() - began < 0.02


def test_the_best_of_many_similar_words_is_found() -> None:
    assert closest("step-77", [f"step-{number}" for number in range(150)]) == "step-77"
