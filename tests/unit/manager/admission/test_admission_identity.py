from __future__ import annotations

from typing import Any, cast

import pytest
import trio
from trio.testing import MockClock

from core.kube.client import KubeClient
from core.kube.errors import UnreachableError
from manager.admission.identity import DEADLINE_SECONDS, own_user_name


class Busy:
    """Answers from the fourth request on, or never."""

    def __init__(self, answers_from: float) -> None:
        self.asked = 0
        self._answers_from = answers_from

    async def create(self, resource: Any, obj: Any) -> Any:
        self.asked += 1
        if self.asked < self._answers_from:
            raise UnreachableError("too busy")
        return {"status": {"userInfo": {"username": "operator"}}}


async def test_a_busy_server_is_asked_again(autojump_clock: MockClock) -> None:
    busy = Busy(4)

    assert await own_user_name(cast("KubeClient", busy)) == "operator"
    assert busy.asked == 4


async def test_a_server_that_never_answers_is_given_up(autojump_clock: MockClock) -> None:
    busy = Busy(float("inf"))
    with pytest.raises(UnreachableError):
        await own_user_name(cast("KubeClient", busy))

    assert DEADLINE_SECONDS <= trio.current_time() < DEADLINE_SECONDS + 4
