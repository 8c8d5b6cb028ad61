"""How the supervisor of a step waits for events."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator

import pytest

from bubu_sdk.stage import NewsDesk, Stage, Terminated


@pytest.fixture
def heard() -> Iterator[NewsDesk]:
    """A desk to which SIGUSR1 is posted."""
    desk = NewsDesk()
    before = signal.signal(signal.SIGUSR1, lambda number, _: desk.post(Terminated(number)))
    yield desk
    signal.signal(signal.SIGUSR1, before)


def test_a_signal_that_does_not_wake_the_main_thread_is_heard_all_the_same(heard: NewsDesk) -> None:
    let_go = threading.Event()
    stage = Stage("deaf", let_go.wait, heard)

    def raise_it() -> None:
        time.sleep(0.2)
        signal.raise_signal(signal.SIGUSR1)  # arrives in this thread, but the main thread must run the handler

    threading.Thread(target=raise_it, daemon=True).start()
    started = time.monotonic()

    assert not heard.wait_for(stage, started + 20)
    assert time.monotonic() - started < 10
    assert heard.terminated == Terminated(signal.SIGUSR1)
    let_go.set()


def test_the_wait_ends_at_its_instant_and_not_before() -> None:
    desk, let_go = NewsDesk(), threading.Event()
    stage = Stage("slow", let_go.wait, desk)
    started = time.monotonic()

    assert not desk.wait_for(stage, started + 1.2)
    assert time.monotonic() - started >= 1.2
    let_go.set()
    assert desk.wait_for(stage, time.monotonic() + 20)
