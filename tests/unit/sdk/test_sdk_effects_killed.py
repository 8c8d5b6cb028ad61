"""Two hundred containers want the same effect, and are killed at random instants."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from bubu_sdk.effects import EffectLease
from bubu_sdk.errors import EffectInProgressError, EffectLostError
from bubu_sdk.kube import KubeError, status_error
from tests.unit.sdk.simulated_processes import CLAIM, STEP_RUN, Container, Simulation
from webhooks.cluster_view import InMemoryView
from webhooks.validate import admission

CONTAINERS = 200
LEASE_SECONDS = 30
KILL_HOLDER = 0.15
"""The probability at each stop."""
KILL_OTHERS = 0.01


@pytest.fixture(autouse=True)
def _seeded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK gets the identities of holders, and the jitter of its retries, from the system."""
    monkeypatch.setattr(os, "urandom", random.Random(0).randbytes)


@dataclass
class PaymentService:
    """It charges each time that it is called, and records who called it."""

    charges: list[str] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)
    inside: list[Container] = field(default_factory=list)
    """Those that perform the effect now."""
    most_inside: int = 0

    def charge(self, container: Container, lease: EffectLease) -> dict[str, Any]:
        self.inside.append(container)
        chance = container.simulation.chance
        try:
            container.sleep(chance.uniform(0, 20))
            self.most_inside = max(self.most_inside, sum(not each.killed for each in self.inside))
            self.keys.add(lease.idempotency_key)
            self.charges.append(container.name)
            container.sleep(chance.uniform(0, 20))
        finally:
            self.inside.remove(container)
        return {"charge": len(self.charges), "by": container.name}


def admitted(simulation: Simulation) -> Callable[[str, str, Any], None]:
    """Our admission, in front of the API server."""
    step_run = {**simulation.cluster.objects[STEP_RUN], "apiVersion": "runs.bubustack.io/v1alpha1", "kind": "StepRun"}
    view = InMemoryView([step_run])

    def check(method: str, path: str, body: Any) -> None:
        if "effectclaims" not in path or method not in ("POST", "PUT"):
            return
        old = simulation.cluster.objects.get(path) if method == "PUT" else None
        stale = old is not None and old["metadata"]["resourceVersion"] != body["metadata"]["resourceVersion"]
        if not stale and (findings := admission.validate(body, old, view)):
            raise status_error(422, "; ".join(map(str, findings)))

    return check


def operator(container: Container) -> None:
    """Writes the status of the claim now and then, so that a write of its holder conflicts."""
    while True:
        container.sleep(container.simulation.chance.uniform(1, 15))
        claim = container.simulation.cluster.objects.get(CLAIM)
        if claim is not None:
            container.simulation.cluster.add(CLAIM, {**claim, "status": {"phase": "Reserved"}})
            if claim["spec"].get("completionStatus") == "completed":
                return


@dataclass
class Trial:
    """Containers that start one after the other within two minutes; each is tried again until it has an outcome."""

    simulation: Simulation
    service: PaymentService = field(default_factory=PaymentService)
    outcomes: list[dict[str, Any]] = field(default_factory=list)
    finished: set[str] = field(default_factory=set)
    """Names of the containers that have an outcome."""

    @property
    def killed(self) -> set[str]:
        return {name for name in self.service.charges if name not in self.finished}

    def want(self, container: Container) -> None:
        while True:
            try:
                outcome = container.effects.execute_once(
                    "charge-card", lambda lease: self.service.charge(container, lease), lease_seconds=LEASE_SECONDS
                )
            except (EffectInProgressError, EffectLostError, KubeError):
                container.sleep(self.simulation.chance.uniform(1, 20))
                continue
            self.outcomes.append(outcome.details)
            self.finished.add(container.name)
            return

    def run(self, *, spare_the_window: bool) -> None:
        simulation, chance = self.simulation, self.simulation.chance
        simulation.cluster.before = admitted(simulation)
        for number in range(CONTAINERS):
            container = simulation.container(f"pod-{number}")
            if number:
                container.may_be_killed = self._killer(container, spare_the_window)
            # The one that is never killed comes late.
            container.start(self.want, at=chance.uniform(0, 240) if number else 240)
        simulation.container("operator").start(operator)
        simulation.run(until=3600)
        assert not simulation.at_work

    def _killer(self, container: Container, spare_the_window: bool) -> Callable[[], bool]:
        """Mostly the holder is killed. Between its charge and the completion of the claim it may be spared."""

        def killed() -> bool:
            simulation, name = self.simulation, container.name
            if spare_the_window and name in self.service.charges:
                return False
            holds = str(simulation.claim.get("holderIdentity", "")).startswith(f"{name}:")
            return simulation.chance.random() < (KILL_HOLDER if holds else KILL_OTHERS)

        return killed


@pytest.mark.parametrize("seed", [0, 1, 3])
def test_the_effect_happens_once_if_nobody_is_killed_between_the_effect_and_its_completion(seed: int) -> None:
    trial = Trial(Simulation(seed, faults=0.01))

    trial.run(spare_the_window=True)

    assert trial.simulation.errors == []
    assert len(trial.service.charges) == 1
    assert trial.service.most_inside == 1
    assert trial.simulation.claim["completionStatus"] == "completed"
    assert trial.outcomes
    assert all(details == trial.outcomes[0] for details in trial.outcomes)
    assert [entry["key"] for entry in trial.simulation.recorded] == ["charge-card"]


def test_only_a_kill_between_the_effect_and_its_completion_repeats_it_with_the_same_idempotency_key() -> None:
    repetitions = takeovers = 0
    for seed in (3, 6, 10):
        trial = Trial(Simulation(seed, faults=0.01))

        trial.run(spare_the_window=False)

        *repeated, last = trial.service.charges
        assert trial.simulation.errors == []
        assert trial.simulation.claim["details"] == {"charge": len(repeated) + 1, "by": last}
        assert all(details["by"] == last for details in trial.outcomes)
        assert all(name in trial.killed for name in repeated)
        assert trial.service.most_inside == 1
        assert len(trial.service.keys) == 1
        repetitions += len(repeated)
        takeovers += trial.simulation.claim.get("leaseTransitions", 0)
    assert repetitions >= 3  # otherwise this proves little
    assert takeovers >= 6
