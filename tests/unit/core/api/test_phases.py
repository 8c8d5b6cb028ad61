from __future__ import annotations

from core.api.phases import DEFAULT_REASONS, TERMINAL_PHASES, ExitClass, Phase


def test_terminal_phases_are_those_of_the_contract() -> None:
    expected = {"Succeeded", "Failed", "Finished", "Canceled", "Compensated", "Timeout", "Aborted", "Skipped"}
    assert set(TERMINAL_PHASES) == expected
    assert {phase for phase in Phase if phase.terminal} == expected


def test_a_failing_phase_is_terminal_and_neither_success_nor_skip() -> None:
    assert {phase for phase in Phase if phase.failing} == TERMINAL_PHASES - {Phase.SUCCEEDED, Phase.SKIPPED}


def test_every_phase_has_a_default_reason() -> None:
    assert DEFAULT_REASONS.keys() == set(Phase)


def test_what_is_unknown_is_worth_another_attempt() -> None:
    assert {word for word in ExitClass if word.retryable} == {"retry", "rateLimited", "unknown"}
