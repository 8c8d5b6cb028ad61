"""What the supervisor tells the process of one step, and what this process answers. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from bubu_sdk.contract import Identity
from bubu_sdk.errors import Object
from bubu_sdk.logs import names_of
from bubu_sdk.status import StatusUpdate
from bubu_sdk.workers.assignment import AssignedAttempt, instant_or_none
from bubu_sdk.workers.outcome import AttemptOutcome


@dataclass(frozen=True)
class StepOrder:
    """One attempt to run."""

    attempt: AssignedAttempt
    step_run: Object
    folder: str | None = None
    """The working folder; ``None``: that of the worker."""
    ends_at: float | None = None
    """When the function must end, by ``clock.now()``, which all processes of a machine have in common."""
    mark: str = ""
    """Begins the records among what its process prints; see ``records``."""

    @property
    def log_fields(self) -> dict[str, object]:
        """The fields of each line that this attempt writes; ``attempt`` counts from 1."""
        environment = self.attempt.environment
        identity = Identity.of({"BUBU_STEPRUN_NAME": self.attempt.step_run, **environment})
        return {**names_of(identity), "attempt": self.attempt.attempt + 1}

    def environment(self, inherited: Mapping[str, str]) -> dict[str, str]:
        """The variables of the step."""
        return {**inherited, "BUBU_STEPRUN_NAME": self.attempt.step_run, **self.attempt.environment}


def order_to_wire(order: StepOrder) -> bytes:
    attempt = order.attempt
    return json.dumps(
        {
            "stepRun": order.step_run,
            "folder": order.folder,
            "endsAt": order.ends_at,
            "mark": order.mark,
            "attempt": attempt.attempt,
            "workerUid": attempt.worker_uid,
            "environment": dict(attempt.environment),
            "deadlineAt": attempt.deadline_at.isoformat() if attempt.deadline_at is not None else None,
        },
        ensure_ascii=False,
    ).encode(errors="surrogatepass")


def order_of_wire(message: bytes) -> StepOrder:
    given = json.loads(message.decode(errors="surrogatepass"))
    metadata = given["stepRun"]["metadata"]
    attempt = AssignedAttempt(
        metadata["name"],
        metadata["uid"],
        given["attempt"],
        given["workerUid"],
        given["environment"],
        instant_or_none(given["deadlineAt"]),
    )
    return StepOrder(attempt, given["stepRun"], given["folder"], given["endsAt"], given["mark"])


def outcome_to_wire(outcome: AttemptOutcome) -> bytes:
    update = None if outcome.update is None else [outcome.update.fields, list(outcome.update.cleared)]
    return json.dumps({"exitCode": outcome.exit_code, "update": update}, ensure_ascii=False).encode(
        errors="surrogatepass"
    )


def outcome_of_wire(message: bytes) -> AttemptOutcome:
    """What the process of a step says of itself.

    Raises:
        ValueError: it is no outcome; the process has sent what it liked.
    """
    try:
        given = json.loads(message.decode(errors="surrogatepass"))
        exit_code, update = int(given["exitCode"]), given["update"]
        if update is None:
            return AttemptOutcome(exit_code)
        return AttemptOutcome(exit_code, StatusUpdate(dict(update[0]), tuple(map(str, update[1]))))
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError, OverflowError) as error:
        raise ValueError(f"no outcome: {error}") from error
