"""Sends 5,000 webhook deliveries, each by two clients, while programs are killed: each starts its run, and only once.

On a real control plane: etcd keeps what the API server has stored, and reports every write, so that nothing that was
created twice goes unseen. The rows are about what happened; what is wrong is printed as well.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Final

import trio

from bench.report import Row, Value, exactly
from tests.e2e.deliveries.campaign import CLIENTS, DeliveryOutcome, DeliveryPlan, play
from tests.e2e.deliveries.killing import Victim

PLAN: Final = DeliveryPlan(
    count=5000,
    per_second=200.0,
    kills={Victim.OPERATOR: 7, Victim.WEBHOOK: 7, Victim.API_SERVER: 6},
    seconds=1800.0,
)


def measure() -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="bobrapet-bench-", ignore_cleanup_errors=True) as folder:
        outcome = trio.run(play, PLAN, Path(folder))
    sys.stderr.write("".join(f"WRONG: {problem}\n" for problem in outcome.problems))
    return _rows(outcome)


def _rows(outcome: DeliveryOutcome) -> list[Row]:
    killed = Counter(str(kill.victim) for kill in outcome.kills)
    away = [kill.over_at - kill.at for kill in outcome.kills if kill.victim is Victim.API_SERVER]
    count = PLAN.count
    return [
        Row("deliveries accepted, by each of two clients", exactly(len(outcome.accepted), count)),
        Row(
            "kills",
            Value(
                killed.total(),
                at_least=sum(PLAN.kills.values()),
                note=f": {', '.join(f'{victim} {many}' for victim, many in killed.items())}",
            ),
        ),
        Row(
            "what is wrong: lost, doubled, failed, answered in two ways, errors in the log",
            exactly(len(outcome.problems), 0),
        ),
        Row(
            f"rate of acceptance of what was sent at {PLAN.per_second:.0f}/s, kills included",
            f"{len(outcome.accepted) / (outcome.sent_seconds or 1):.0f}/s",
        ),
        Row("… longest time until a client had its 202", f"{outcome.longest_seconds:.0f} s"),
        Row("… the Impulse counts", exactly(outcome.counted, count)),
        Row("all runs ended after", f"{outcome.run_seconds:.0f} s"),
        Row(f"requests of {len(CLIENTS)} clients; repeated because of", f"{outcome.requests:,}; {_repeated(outcome)}"),
        Row("the API server was away each time for, at most", f"{max(away, default=0.0):.1f} s"),
    ]


def _repeated(outcome: DeliveryOutcome) -> str:
    return ", ".join(f"{why} {many:,}" for why, many in sorted(outcome.repeated.items())) or "nothing"
