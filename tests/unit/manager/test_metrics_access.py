from __future__ import annotations

from typing import Any

import pytest
import trio

from core.kube.errors import UnreachableError
from manager.metrics_access import ALLOWED_FOR_SECONDS, DENIED_FOR_SECONDS, REVIEW_DEADLINE_SECONDS, MetricsAccess


class Reviews:
    """Knows two users: ``good`` may read metrics, and ``poor`` may not. Counts its requests."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.delay = 0.0
        self.reachable = True

    async def create(self, resource: Any, body: dict[str, Any]) -> dict[str, Any]:
        self.asked.append(resource.kind)
        await trio.sleep(self.delay)
        if not self.reachable:
            raise UnreachableError("nobody there")
        if resource.kind == "TokenReview":
            known = body["spec"]["token"] in ("good", "poor")
            return {"status": {"authenticated": known, "user": {"username": body["spec"]["token"]}}}
        assert body["spec"]["nonResourceAttributes"] == {"path": "/metrics", "verb": "get"}
        return {"status": {"allowed": body["spec"]["user"] == "good"}}


def access(reviews: Reviews) -> MetricsAccess:
    return MetricsAccess(reviews)  # type: ignore[arg-type]  # only create() is used


@pytest.mark.parametrize(
    ("authorization", "status"),
    [("", 401), ("Basic good", 401), ("Bearer ", 401), ("Bearer who", 401), ("Bearer poor", 403), ("bearer good", 200)],
)
async def test_the_token_is_reviewed_and_then_its_access(authorization: str, status: int) -> None:
    assert await access(Reviews())(authorization) == status


async def test_a_verdict_is_remembered_for_a_while(autojump_clock: trio.testing.MockClock) -> None:
    reviews = Reviews()
    ask = access(reviews)

    assert [await ask("Bearer good"), await ask("Bearer good")] == [200, 200]
    assert reviews.asked == ["TokenReview", "SubjectAccessReview"]
    await trio.sleep(ALLOWED_FOR_SECONDS + 1)
    await ask("Bearer good")
    assert len(reviews.asked) == 4


async def test_a_refusal_is_remembered_for_less_long(autojump_clock: trio.testing.MockClock) -> None:
    reviews = Reviews()
    ask = access(reviews)

    await ask("Bearer poor")
    await trio.sleep(DENIED_FOR_SECONDS + 1)
    await ask("Bearer poor")

    assert len(reviews.asked) == 4
    assert DENIED_FOR_SECONDS < ALLOWED_FOR_SECONDS


async def test_reviews_that_fail_or_take_too_long_are_an_error_and_not_remembered(
    autojump_clock: trio.testing.MockClock,
) -> None:
    reviews = Reviews()
    ask = access(reviews)
    reviews.reachable = False
    unreachable = await ask("Bearer good")
    reviews.reachable, reviews.delay = True, REVIEW_DEADLINE_SECONDS * 2
    slow = await ask("Bearer good")
    reviews.delay = 0

    assert (unreachable, slow, await ask("Bearer good")) == (500, 500, 200)
