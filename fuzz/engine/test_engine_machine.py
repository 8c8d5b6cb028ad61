"""Random Stories under random schedules of users, faults and deaths: all invariants hold, and the run ends in time."""

from __future__ import annotations

from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from fuzz.engine.client_machine import ClientMachine
from fuzz.engine.machine import EngineMachine
from fuzz.engine.profile import budget
from fuzz.engine.stream_machine import StreamMachine


class SmallStories(EngineMachine):
    """Up to eight steps, so that more executions fit into the same time."""

    largest = 8


def test_small_stories_under_any_schedule() -> None:
    run_state_machine_as_test(SmallStories, settings=settings(budget(200, 100_000), stateful_step_count=10))


def test_clients_under_any_schedule() -> None:
    run_state_machine_as_test(ClientMachine, settings=settings(budget(85, 50_000), stateful_step_count=12))


def test_streams_under_any_schedule() -> None:
    run_state_machine_as_test(StreamMachine, settings=settings(budget(60, 50_000), stateful_step_count=10))


def test_stories_of_up_to_thirty_steps_under_any_schedule() -> None:
    run_state_machine_as_test(EngineMachine, settings=settings(budget(75, 50_000), stateful_step_count=25))
