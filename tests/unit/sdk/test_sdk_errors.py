"""What a step reports about an exception, so that a retry policy can decide."""

from __future__ import annotations

import pytest

from bubu_sdk import EngramError
from bubu_sdk.errors import InputError
from bubu_sdk.testing import EngramEnvironment


class FlakyError(ConnectionError):
    pass


class UserError(EngramError):
    pass


@pytest.mark.parametrize(
    ("error", "exceptions", "forbids_retry"),
    [
        (FlakyError("x"), [f"{__name__}.FlakyError", "ConnectionError", "OSError", "Exception"], False),
        (SystemExit(75), ["SystemExit"], False),
        (EngramError("x"), ["bubu_sdk.errors.EngramError", "Exception"], False),
        (UserError("x"), [f"{__name__}.UserError", "bubu_sdk.errors.EngramError", "Exception"], False),
        (EngramError("x", retryable=True), ["bubu_sdk.errors.EngramError", "Exception"], False),
        (EngramError("x", retryable=False), ["bubu_sdk.errors.EngramError", "Exception"], True),
        (EngramError("x", exit_class="terminal"), ["bubu_sdk.errors.EngramError", "Exception"], True),
        (InputError("x"), ["bubu_sdk.errors.InputError", "bubu_sdk.errors.EngramError", "Exception"], True),
    ],
)
def test_the_classes_of_an_exception_are_reported_and_whether_it_forbids_a_retry(
    error: BaseException, exceptions: list[str], forbids_retry: bool
) -> None:
    def main() -> None:
        raise error

    outcome = EngramEnvironment().run(main)

    assert outcome.error is not None
    assert (outcome.error["exceptions"], outcome.error.get("forbidsRetry", False)) == (exceptions, forbids_retry)
