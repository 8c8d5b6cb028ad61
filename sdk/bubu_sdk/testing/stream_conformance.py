"""Checks that a streaming function keeps the contract, whatever it does with its messages.

    def test_main_conforms() -> None:
        check_stream(main, [{"text": "hello"}, {"text": "world"}])

Source: SDK contract 22.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from bubu_sdk.errors import validate_structured_error
from bubu_sdk.streams import StreamFunction
from bubu_sdk.testing.conformance import ConformanceError
from bubu_sdk.testing.stream_harness import WAIT_SECONDS, NotInTimeError, StreamHarness, StreamOutcome
from bubu_sdk.testing.stream_hub import StreamOutput

_TERMINATED = 143


def check_stream(
    work: StreamFunction | Callable[..., Any],
    messages: Iterable[Any] = (),
    *,
    config: Mapping[str, Any] | None = None,
    secrets: Mapping[str, Mapping[str, str]] | None = None,
    min_outputs: int = 0,
    may_refuse: bool = False,
    validate_output: Callable[[StreamOutput], None] | None = None,
    grace: str = "5s",
    timeout: float = WAIT_SECONDS,
) -> StreamOutcome:
    """Run ``work`` three times: undisturbed, over a connection that breaks, and with SIGTERM before it is done.

    Undisturbed, every message must become done, and a source must return. Over the broken connection, too. After
    SIGTERM the function must end within its grace period.

    Args:
        messages: as for ``StreamHarness.run``; none for a source.
        min_outputs: how many outputs there must be at least.
        may_refuse: messages that do not fit the function's type are no violation.
        validate_output: a further check of each output.
        grace: how long the function has after SIGTERM.
        timeout: seconds for each run.
    Raises:
        ConformanceError: lists all violations.
    """
    values = list(messages)

    def harness() -> StreamHarness:
        return StreamHarness(work, config=config, secrets=secrets, grace=grace)

    problems: list[str] = []
    outcome = _outcome(harness(), values, timeout, problems, breaks=False)
    if outcome is not None:
        problems += _problems(outcome, len(values), min_outputs, may_refuse=may_refuse)
        broken = _outcome(harness(), values, timeout, problems, breaks=True)
        if broken is not None:
            found = _problems(broken, len(values), min_outputs, may_refuse=may_refuse)
            problems += [f"over a connection that breaks: {problem}" for problem in found]
        problems += _problems_of_sigterm(harness(), values, timeout)
    if problems or outcome is None:
        raise ConformanceError("; ".join(problems))
    if validate_output is not None:
        for output in outcome.outputs:
            validate_output(output)
    return outcome


def _outcome(
    harness: StreamHarness, values: list[Any], timeout: float, problems: list[str], *, breaks: bool
) -> StreamOutcome | None:
    try:
        if not breaks or not values:
            return harness.run(values, timeout)
        with harness:
            numbers = []
            for value in values:
                numbers.append(harness.send(value))
                harness.drop_connection()
            harness.wait_settled(*numbers, timeout=timeout)
        return harness.outcome
    except NotInTimeError as error:
        problems.append(str(error))
        return None


def _problems(outcome: StreamOutcome, count: int, min_outputs: int, *, may_refuse: bool) -> list[str]:
    problems = ["the function ignored SIGTERM and was ended by force"] if outcome.hung else []
    expected = _TERMINATED if count else 0
    if outcome.exit_code not in (0, expected):
        problems.append(f"the exit code is {outcome.exit_code}; expected {expected}: {outcome.logs[-1:]}")
    refused = {int(each["sequence"]) for each in outcome.refusals if each.get("sequence")}
    open_messages = set(range(1, count + 1)) - set(outcome.receipts) - refused
    if open_messages and outcome.exit_code != 0:
        problems.append(f"messages {sorted(open_messages)} are not done; a message that is held needs done()")
    if refused and not may_refuse:
        problems.append(f"messages {sorted(refused)} were refused: {outcome.refusals[0].get('message')}")
    if len({output.message_id for output in outcome.outputs}) < min_outputs:
        problems.append(f"there are {len(outcome.outputs)} outputs; at least {min_outputs} are expected")
    for output in outcome.outputs:
        if output.kind == "error":
            problems += [f"an output of kind error: {each}" for each in validate_structured_error(output.payload)]
    return problems


def _problems_of_sigterm(harness: StreamHarness, values: list[Any], timeout: float) -> list[str]:
    with harness:
        for value in values:
            harness.send(value)
        try:
            if values:
                harness.wait_until(lambda: bool(harness.hub.delivered), "no message was delivered", timeout)
            outcome = harness.end(timeout)
        except NotInTimeError:
            return ["the function has not ended after SIGTERM"]
    if outcome.hung:
        return ["the function ignored SIGTERM and was ended by force"]
    return [] if outcome.exit_code in (0, _TERMINATED) else [f"after SIGTERM the exit code is {outcome.exit_code}"]
