"""A supported Python that is not there is never passed over in silence where it counts."""

from __future__ import annotations

import pytest

from tests.e2e.pythons import WITHOUT, missing, python, supported


def test_a_missing_python_skips_a_test_at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match=r"this machine has no Python 3\.99"):
        missing("Python 3.99")


def test_a_missing_python_fails_a_test_in_ci_and_says_which_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    monkeypatch.delenv(WITHOUT, raising=False)
    with pytest.raises(pytest.fail.Exception, match=r"CI has no Python 3\.99; install it, or accept"):
        missing("Python 3.99")


def test_ci_may_accept_that_one_is_untested(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    monkeypatch.setenv(WITHOUT, "1")
    with pytest.raises(pytest.skip.Exception, match=r"Python 3\.99"):
        missing("Python 3.99")


def test_a_python_that_is_supported_and_does_not_start_is_none() -> None:
    assert python("3.99") is None
    assert len(supported()) >= 3
