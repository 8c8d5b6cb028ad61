"""Which of the Secrets that an object names do not exist, by metadata alone."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
from trio.testing import MockClock

from core.api.objects import NamespacedName
from core.api.resource import SECRET, Resource
from core.kube.errors import KubeError, UnreachableError, error_from_status
from kubewire import Object, StatusReason, status_failure
from manager.admission.secret_names import ANSWER_SECONDS, AT_ONCE, SecretNames

HAVE, LACK = NamespacedName("team", "openai"), NamespacedName("team", "gone")


def refusal(reason: StatusReason) -> KubeError:
    return error_from_status(status_failure(reason, "no", details={"name": "gone", "kind": "secrets"}))


class Store:
    """The Secret ``openai``; ``fail`` may raise something else for a name."""

    def __init__(self, fail: Callable[[str], None] = lambda name: None, seconds: float = 0.0) -> None:
        self.asked: list[tuple[str, str | None]] = []
        self.at_once = self.most_at_once = 0
        self._fail = fail
        self._seconds = seconds

    async def get_metadata(self, resource: Resource, name: str, namespace: str | None = None) -> Object:
        assert resource is SECRET
        self.asked.append((name, namespace))
        self.at_once += 1
        self.most_at_once = max(self.at_once, self.most_at_once)
        try:
            await trio.sleep(self._seconds)
        finally:
            self.at_once -= 1
        self._fail(name)
        if name != HAVE.name:
            raise refusal(StatusReason.NOT_FOUND)
        return {"kind": "PartialObjectMetadata", "metadata": {"name": name}}


async def test_only_what_the_server_says_does_not_exist_is_missing() -> None:
    store = Store()

    assert await SecretNames(store).missing([HAVE, LACK]) == [LACK]
    assert sorted(store.asked) == [("gone", "team"), ("openai", "team")]


async def test_a_name_that_no_secret_can_have_is_missing_without_a_request() -> None:
    store = Store()

    assert await SecretNames(store).missing([NamespacedName("team", "a/../b")]) == [NamespacedName("team", "a/../b")]
    assert store.asked == []


@pytest.mark.parametrize("error", [refusal(StatusReason.FORBIDDEN), UnreachableError("nobody there")])
async def test_without_an_answer_nothing_is_missing(error: KubeError) -> None:
    def fail(name: str) -> None:
        raise error

    assert await SecretNames(Store(fail)).missing([LACK]) == []


async def test_a_slow_server_holds_no_review_up(autojump_clock: MockClock) -> None:
    store = Store(seconds=60)

    assert await SecretNames(store).missing([NamespacedName("team", f"s{number}") for number in range(20)]) == []
    assert trio.current_time() == ANSWER_SECONDS
    assert store.most_at_once == AT_ONCE
