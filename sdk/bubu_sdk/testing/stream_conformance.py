"""Checks that a streaming function keeps the contract, whatever it does with its messages.

    def test_main_conforms() -> None:
        check_stream(main, [{"text": "hello"}, {"text": "world"}])

Source: SDK contract 22.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from bubu_sdk.errors import Object, validate_structured_error
from bubu_sdk.streams import StreamFunction
from bubu_sdk.testing.conformance import PLAIN, ConformanceError, is_structured
from bubu_sdk.testing.stream_harness import WAIT_SECONDS, NotInTimeError, StreamHarness, StreamOutcome
from bubu_sdk.testing.stream_hub import StreamOutput

_FAILED: Final = 1
_TERMINATED: Final = 143


@dataclass(frozen=True, kw_only=True)
class _Demands:
    """What a caller asks for; see ``check_stream``."""

    min_outputs: int
    may_refuse: bool
    expect_error: bool
    require_structured_error: bool
    require_valid_messages: bool
    require_nonempty_output: bool


def check_stream(
    work: StreamFunction | Callable[..., Any],
    messages: Iterable[Any] = (),
    *,
    config: Mapping[str, Any] | None = None,
    secrets: Mapping[str, Mapping[str, str]] | None = None,
    min_outputs: int = 0,
    may_refuse: bool = False,
    expect_error: bool = False,
    require_structured_error: bool = False,
    require_valid_messages: bool = True,
    require_nonempty_output: bool = False,
    validate_output: Callable[[StreamOutput], None] | None = None,
    validate_error: Callable[[Object], None] | None = None,
    grace: str = "5s",
    timeout: float = WAIT_SECONDS,
) -> StreamOutcome:
    """Run ``work`` three times: undisturbed, over a connection that breaks, and with SIGTERM before it is done.

    Undisturbed, every message must become done, and a source must return. Over the broken connection, too. After
    SIGTERM the function must end within its grace period. Where an error is expected, the function must raise one the
    first two times, messages need not be done, and its outputs are checked all the same.

    Args:
        messages: as for ``StreamHarness.run``; none for a source.
        min_outputs: how many outputs there must be at least.
        may_refuse: messages that do not fit the function's type are no violation.
        expect_error: a success is the violation, not a failure.
        require_structured_error: the failure must have its own type, code or exit class; a plain exception is not
            enough.
        require_valid_messages: each output must be a valid message (``message_problems``).
        require_nonempty_output: each output must have a payload or inputs with fields, or a frame.
        validate_output: a further check of each output, also of those before an expected error.
        validate_error: a further check of the expected error; it gets the structured error.
        grace: how long the function has after SIGTERM.
        timeout: seconds for each run.
    Raises:
        ConformanceError: lists all violations.
    """
    values = list(messages)
    demands = _Demands(
        min_outputs=min_outputs,
        may_refuse=may_refuse,
        expect_error=expect_error,
        require_structured_error=require_structured_error,
        require_valid_messages=require_valid_messages,
        require_nonempty_output=require_nonempty_output,
    )

    def harness() -> StreamHarness:
        return StreamHarness(work, config=config, secrets=secrets, grace=grace)

    problems: list[str] = []
    outcome = _outcome(harness(), values, timeout, problems, breaks=False)
    if outcome is not None:
        problems += _problems(outcome, len(values), demands)
        broken = _outcome(harness(), values, timeout, problems, breaks=True)
        if broken is not None:
            found = _problems(broken, len(values), demands)
            problems += [f"over a connection that breaks: {problem}" for problem in found]
        problems += _problems_of_sigterm(harness(), values, timeout, expect_error=expect_error)
    if problems or outcome is None:
        raise ConformanceError("; ".join(problems))
    if validate_output is not None:
        for output in outcome.outputs:
            validate_output(output)
    if expect_error and validate_error is not None:
        validate_error(outcome.error or {})
    return outcome


def message_problems(output: StreamOutput) -> list[str]:
    """Why the output is no valid message; empty if it is one (streaming contract 11.4).

    Only what the SDK lets pass: it refuses most of what a message must not be, with an ``OutputError``.
    """
    problems = []
    if output.message_id != output.message_id.strip():
        problems.append(f"its id {output.message_id!r} must not have blanks around it")
    if output.kind == "error":
        if output.frame is not None:
            problems.append("it must have no frame")
        problems += validate_structured_error(output.payload if isinstance(output.payload, dict) else {})
    return [f"an output of kind {output.kind}: {problem}" for problem in problems]


def is_empty(output: StreamOutput) -> bool:
    """Whether the output has neither a payload or inputs with fields, nor a frame."""
    return not output.payload and not output.inputs and output.frame is None


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


def _problems(outcome: StreamOutcome, count: int, demands: _Demands) -> list[str]:
    problems = ["the function ignored SIGTERM and was ended by force"] if outcome.hung else []
    refused = {int(each["sequence"]) for each in outcome.refusals if each.get("sequence")}
    if demands.expect_error:
        problems += _problems_of_error(outcome, demands)
    else:
        problems += _problems_of_success(outcome, count, refused)
    if refused and not demands.may_refuse:
        problems.append(f"messages {sorted(refused)} were refused: {outcome.refusals[0].get('message')}")
    if len({output.message_id for output in outcome.outputs}) < demands.min_outputs:
        problems.append(f"there are {len(outcome.outputs)} outputs; at least {demands.min_outputs} are expected")
    if demands.require_valid_messages:
        problems += [problem for output in outcome.outputs for problem in message_problems(output)]
    if demands.require_nonempty_output and (empty := sum(map(is_empty, outcome.outputs))):
        problems.append(f"{empty} outputs have neither a payload or inputs with fields, nor a frame")
    return problems


def _problems_of_success(outcome: StreamOutcome, count: int, refused: set[int]) -> list[str]:
    problems = []
    expected = _TERMINATED if count else 0
    if outcome.exit_code not in (0, expected):
        problems.append(f"the exit code is {outcome.exit_code}; expected {expected}: {outcome.logs[-1:]}")
    open_messages = set(range(1, count + 1)) - set(outcome.receipts) - refused
    if open_messages and outcome.exit_code != 0:
        problems.append(f"messages {sorted(open_messages)} are not done; a message that is held needs done()")
    return problems


def _problems_of_error(outcome: StreamOutcome, demands: _Demands) -> list[str]:
    if outcome.error is None:
        return [f"the function has raised nothing (exit code {outcome.exit_code}); an error was expected"]
    problems = [f"the error: {problem}" for problem in validate_structured_error(outcome.error)]
    if outcome.exit_code != _FAILED:
        problems.append(f"the exit code is {outcome.exit_code}; expected {_FAILED}")
    if demands.require_structured_error and not is_structured(outcome.error):
        problems.append(PLAIN)
    return problems


def _problems_of_sigterm(harness: StreamHarness, values: list[Any], timeout: float, *, expect_error: bool) -> list[str]:
    with harness:
        for value in values:
            harness.send(value)
        try:
            if values:
                harness.wait_until(
                    lambda: bool(harness.hub.delivered) or harness.ended, "no message was delivered", timeout
                )
            outcome = harness.end(timeout)
        except NotInTimeError:
            return ["the function has not ended after SIGTERM"]
    if outcome.hung:
        return ["the function ignored SIGTERM and was ended by force"]
    if outcome.exit_code in (0, _TERMINATED) or (expect_error and outcome.exit_code == _FAILED):
        return []
    return [f"after SIGTERM the exit code is {outcome.exit_code}"]
