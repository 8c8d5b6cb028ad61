from __future__ import annotations

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
