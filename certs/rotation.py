"""Keeps one valid chain served and trusted, through changes of the Secret, of clocks and of the API server.

Every replica runs this loop. The replicas agree through the Secret alone; each write is bound to the version that was
read. The order within a pass is the guarantee: first the stored generation is updated, then the CA bundles of
everything that must trust it, and only then it is served. So the served certificate is trusted everywhere, at every
instant.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol

import trio

from certs.authority import within_time
from certs.errors import UnusableError
from certs.inject import DEFAULT_TARGETS, Publication, Publisher, Target
from certs.material import Material, pem_of
from certs.policy import (
    REACTIVE,
    CertRules,
    Foreign,
    Kept,
    Provided,
    RotationStep,
    SuccessionStep,
    decide,
    next_due,
    why_renew,
)
from certs.readiness import Readiness
from certs.serving import ServingContext
from certs.store import SecretStore, Snapshot
from certs.succession import follow, published, with_new_leaf
from certs.verifiertime import VerifierClock
from core.api.resource import SECRET
from core.engine.ports import Clock
from core.engine.wakeup import WakeUp
from core.kube.client import KubeClient
from core.kube.errors import KubeError
from core.kube.informer import Informer
from core.kube.retry import Backoff
from core.telemetry import catalogue, metrics
from core.telemetry.logs import get_logger
from kubewire import Object

DEFAULT_SECRET: Final = "bobrapet-webhook-server-cert"  # noqa: S105 - a name, not a secret

_LOG: Final = get_logger("certificates")
_STEPS_PER_PASS: Final = 12
"""More than any sequence of steps needs; an endless sequence of decisions must not become endless writes."""


class EventReporter(Protocol):
    """The part of core.kube.events.EventRecorder that is used here."""

    def record(self, regarding: Object, type_: str, reason: str, message: str) -> None:
        """Record an Event; never waits, never fails."""


@dataclass(frozen=True, slots=True)
class RotationPace:
    """Seconds between passes, and the limit of reactions to changes by others."""

    longest_wait_seconds: float = 600.0
    retry_seconds: float = 0.5
    longest_retry_seconds: float = 5.0
    reactions_per_minute: int = 2
    """Per replica: two programs that revert each other's writes must not flood the API server."""


class CertificateKeeper:
    """The certificate rotation of one replica; ``serving`` is the context of its server.

    Args:
        client: may read and write the Secret, and patch the targets.
        clock: the local wall clock; decisions use the API server's (certs.verifiertime).
        series: begins the label of the metrics, where one process keeps several chains.
        on_adopted: called when ``held`` may have changed.
    """

    def __init__(
        self,
        client: KubeClient,
        serving: ServingContext,
        *,
        namespace: str,
        rules: CertRules,
        clock: Clock,
        events: EventReporter,
        secret: str = DEFAULT_SECRET,
        targets: Sequence[Target] = DEFAULT_TARGETS,
        pace: RotationPace = RotationPace(),
        series: str = "",
        on_adopted: Callable[[], None] = lambda: None,
    ) -> None:
        self._series = series
        self._on_adopted = on_adopted
        self._client = client.for_itself()
        self._serving = serving
        self._rules = rules
        self._clock = clock
        self._events = events
        self._pace = pace
        self._store = SecretStore(self._client, secret, namespace, rules.names)
        self._publisher = Publisher(self._client, targets)
        self._time = VerifierClock(self._client, clock)
        self._wakeup = WakeUp()
        self._held: Material | None = None
        """The newest generation that this replica uses."""
        self._served: Material | Provided | None = None
        self._reactions: deque[float] = deque()
        self._trusted_at_least_once = False
        self._trouble = "the Secret has not been read yet"

    @property
    def readiness(self) -> Readiness:
        """Ready when all callers trust the served certificate; later problems only change the text."""
        if self._served is not None and self._trusted_at_least_once:
            return Readiness(True, self._trouble or "serving a certificate that the API servers trust")
        return Readiness(False, f"no trusted certificate yet: {self._trouble}")

    @property
    def held(self) -> Material | None:
        """The generation that this replica uses."""
        return self._held

    async def run(self) -> None:
        """Run until cancelled; woken by changes of the Secret and the targets, by due dates, and after failures."""
        async with trio.open_nursery() as nursery:
            for informer in self._informers():
                informer.add_handler(lambda _: self._wakeup.wake())
                nursery.start_soon(informer.run, name=f"informer {informer.resource.plural}")
            backoff = Backoff(self._pace.retry_seconds, self._pace.longest_retry_seconds)
            while True:
                self._wakeup.clear()
                due = await self.look()
                if due is None:
                    await trio.sleep(backoff.next_seconds())
                else:
                    backoff.reset()
                    await self._wait(due)

    async def look(self) -> datetime | None:
        """One pass; returns when the next is due by the API server's clock, None to retry soon."""
        now = await self._time.ask()
        try:
            snapshot, decision = await self._take_due_steps(now)
        except KubeError as error:
            self._fail("store", f"the Secret {self._store.namespace}/{self._store.name}: {error}")
            self._serve_alone(now)
            return None
        match snapshot.stored:
            case Kept(material) if decision.step is SuccessionStep.SERVE:
                return await self._establish(material, snapshot, now)
            case Foreign() as foreign:
                return await self._serve_foreign(foreign, now)
            case _:  # the limit of reactions is reached, or others write faster than this reads
                self._trouble = f"waiting before the next step: {decision.reason}"
                self._serve_alone(now)
                return None

    # The stored generation.

    async def _take_due_steps(self, now: datetime) -> tuple[Snapshot, RotationStep]:
        """Take every step that is due; returns the stored state then, and the decision that ended the sequence."""
        snapshot = await self._store.read(now)
        decision = decide(snapshot.stored, self._held, now, self._rules)
        for _ in range(_STEPS_PER_PASS):
            if decision.step in (SuccessionStep.SERVE, SuccessionStep.HOLD) or not self._may_take(decision.step):
                break
            material = follow(decision.step, snapshot.stored, self._held, now, self._rules)
            written = await self._store.write(material, snapshot, now)
            if written is not None:
                self._emit(decision)
            snapshot = written or await self._store.read(now)
            decision = decide(snapshot.stored, self._held, now, self._rules)
        return snapshot, decision

    def _may_take(self, step: SuccessionStep) -> bool:
        if step not in REACTIVE:
            return True
        now = trio.current_time()
        while self._reactions and self._reactions[0] <= now - 60:
            self._reactions.popleft()
        if len(self._reactions) >= self._pace.reactions_per_minute:
            return False
        self._reactions.append(now)
        return True

    # Publication, and serving.

    async def _establish(self, material: Material, snapshot: Snapshot, now: datetime) -> datetime | None:
        publication = await self._publish(material.bundle)
        if publication.complete or self._may_precede_publication(material, now):
            self._adopt(material)
        if not publication.complete:
            return None
        self._trusted_at_least_once = True
        self._trouble = ""
        if material.upcoming is not None and material.published_at is None:
            return now if await self._note_publication(material, snapshot, now) else None
        return next_due(material, self._rules)

    async def _note_publication(self, material: Material, snapshot: Snapshot, now: datetime) -> bool:
        try:
            await self._store.write(published(material, now), snapshot, now)
        except KubeError as error:
            self._fail("store", f"the Secret {self._store.namespace}/{self._store.name}: {error}")
            return False
        return True

    def _may_precede_publication(self, material: Material, now: datetime) -> bool:
        """Whether serving it now cannot make a client fail that would not fail anyway."""
        served = self._served
        if isinstance(served, Material):
            alike = served.active.certificate == material.active.certificate
            return alike or not within_time(served.leaf.certificate, now)
        return served is None or not within_time(served.leaf.certificate, now)

    async def _serve_foreign(self, foreign: Foreign, now: datetime) -> datetime | None:
        """Serve another component's certificate; if it cannot be served, continue with the one in use."""
        provided = foreign.provided
        if provided is None:
            self._fail(
                "read",
                f"the Secret {self._store.namespace}/{self._store.name} does not belong to the operator "
                f"and cannot be served ({'; '.join(foreign.problems)}): delete it, or let its owner repair it",
            )
            self._serve_alone(now)
            return now + timedelta(seconds=self._pace.longest_wait_seconds)
        if provided.trusted:
            publication = await self._publish(pem_of(provided.trusted), beside_others_at=now)
            if not publication.complete and not self._may_serve_unpublished(now):
                return None
        if not self._install(provided):
            return None
        self._trusted_at_least_once = True
        self._trouble = (
            f"serving the certificate that another component maintains in {self._store.namespace}/{self._store.name}"
        )
        return provided.leaf.certificate.not_valid_after_utc

    def _may_serve_unpublished(self, now: datetime) -> bool:
        return self._served is None or not within_time(self._served.leaf.certificate, now)

    def _serve_alone(self, now: datetime) -> None:
        """While nothing can be stored: a new leaf of the current authority is trusted like the one before."""
        held = self._held
        served = self._served if isinstance(self._served, Material) else held
        if held is None or served is None or not within_time(held.active.certificate, now):
            return
        if why_renew(served, now, self._rules):
            renewed = with_new_leaf(held, now, self._rules)
            self._install(renewed)

    def _adopt(self, material: Material) -> None:
        served = self._served
        same = isinstance(served, Material) and served.leaf.certificate == material.leaf.certificate
        if same or self._install(material):
            self._held = material
            self._on_adopted()
            end = material.active.certificate.not_valid_after_utc
            metrics.set_gauge(catalogue.CERTIFICATE_EXPIRY, end.timestamp(), certificate=f"{self._series}authority")

    def _install(self, served: Material | Provided) -> bool:
        certificates = served.chain if isinstance(served, Provided) else (served.leaf.certificate,)
        already = self._served is not None and self._served.leaf.certificate == served.leaf.certificate
        if not already:
            try:
                self._serving.install(pem_of(certificates), served.leaf)
            except UnusableError as error:
                self._fail("serve", str(error))
                return False
        self._served = served
        end = served.leaf.certificate.not_valid_after_utc
        metrics.set_gauge(catalogue.CERTIFICATE_EXPIRY, end.timestamp(), certificate=f"{self._series}leaf")
        return True

    async def _publish(self, bundle: bytes, *, beside_others_at: datetime | None = None) -> Publication:
        publication = await self._publisher.publish(bundle, beside_others_at=beside_others_at)
        for target in publication.repaired:
            _LOG.info("the CA bundle was published", target=str(target))
            note = f"{target} now trusts the current CA bundle"
            self._events.record(self._store.reference(), "Normal", "CABundlePublished", note)
        for failure in publication.failures:
            self._fail("publish", f"the CA bundle could not be published: {failure}")
        return publication

    # Reporting and waiting.

    def _emit(self, decision: RotationStep) -> None:
        metrics.count(catalogue.CERTIFICATE_ROTATIONS, step=str(decision.step))
        _LOG.info("certificates changed", step=str(decision.step), why=decision.reason)
        kind = "Warning" if decision.step in REACTIVE - {SuccessionStep.BOOTSTRAP} else "Normal"
        note = f"{decision.step}: {decision.reason}"
        self._events.record(self._store.reference(), kind, "CertificatesChanged", note)

    def _fail(self, operation: str, trouble: str) -> None:
        metrics.count(catalogue.CERTIFICATE_FAILURES, operation=operation)
        if trouble != self._trouble:
            _LOG.warning("certificates have a problem", operation=operation, error=trouble)
            self._events.record(self._store.reference(), "Warning", "CertificateTrouble", trouble)
        self._trouble = trouble

    async def _wait(self, due: datetime) -> None:
        with trio.move_on_after(self._pace.longest_wait_seconds):
            await self._clock.wait_until(self._time.on_our_clock(due), self._wakeup.wait)
        await trio.lowlevel.checkpoint()

    def _informers(self) -> list[Informer]:
        """They only wake this loop: decisions use fresh reads, and the informers store no keys."""
        by_name = f"metadata.name={self._store.name}"
        found = [Informer(self._client, SECRET, namespace=self._store.namespace, field_selector=by_name, trim=_bare)]
        for target in self._publisher.targets:
            named = f"metadata.name={target.name}"
            found.append(Informer(self._client, target.resource, field_selector=named, trim=_bare))
        return found


def _bare(obj: Object) -> Object:
    metadata = obj.get("metadata") or {}
    kept = ("name", "namespace", "uid", "resourceVersion", "deletionTimestamp")
    return {"metadata": {key: metadata[key] for key in kept if key in metadata}}
