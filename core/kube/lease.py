"""Leader election: one holder of a Lease at a time, judged by each process's own clock.

The body runs only between acquiring and losing the lease. Losing it cancels the body, and a clean end releases the
lease at once. A process that was suspended notices this only a moment after it resumes: the writes of the body must
therefore call ``check`` at the last moment before they are sent. A request that was sent before is not fenced: every
write must carry its own precondition, or be harmless.
Source: operator contract 5; the rules of client-go's leader election.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import trio

from bubu_contract.instants import format_precise_instant
from core.api.resource import LEASE
from core.kube.client import KubeClient
from core.kube.errors import AlreadyExistsError, ConflictError, KubeError, NotFoundError
from core.kube.retry import Backoff
from core.ownership.ownership import OwnedKey
from core.telemetry import catalogue, metrics
from core.telemetry.logs import get_logger
from kubewire import Object, copy_value

RELEASE_DEADLINE_SECONDS: Final = 5.0
LAST_TRY_SECONDS: Final = 1.0
"""For releasing a lease that could not be renewed: the holder must be gone before others may take the lease."""

_LOG: Final = get_logger("leader-election")


class LeaseLostError(KubeError):
    """The lease could not be renewed in time, or another process took it; the body was cancelled."""


@dataclass(frozen=True, slots=True)
class LeaseTiming:
    """Seconds; each value must leave room for the next."""

    lease_seconds: float = 15.0
    """How long others wait for a silent holder."""
    renew_deadline_seconds: float = 10.0
    """How long a holder tries to renew before it stops leading by itself."""
    retry_seconds: float = 2.0

    def __post_init__(self) -> None:
        if not self.lease_seconds > self.renew_deadline_seconds > self.retry_seconds > 0:
            raise ValueError(f"lease, renew deadline and retry must fall in this order: {self}")


class LeaderLease:
    """One candidate for one Lease.

    Args:
        identity: of this process; different from that of any other process.
        now: the wall clock, for the stored times that people read; no decision depends on it.
    """

    def __init__(
        self,
        client: KubeClient,
        *,
        name: str,
        namespace: str,
        identity: str,
        now: Callable[[], datetime],
        timing: LeaseTiming = LeaseTiming(),
    ) -> None:
        self.name = name
        self.namespace = namespace
        self.identity = identity
        self._client = client.for_itself()
        self._now = now
        self._timing = timing
        self._observed: Object | None = None
        self._observed_at = 0.0
        self._renewed_at = 0.0
        self.is_leader = False

    @property
    def holder(self) -> str:
        """The holder of the lease at the last read; empty when it had none."""
        return _holder_of(self._observed)

    def check(self, key: OwnedKey | None = None) -> None:
        """Whether this process may still act as the holder; one lease covers every key.

        Raises:
            LeaseLostError: the lease was not renewed in time, or never held; others may have taken it.
        """
        del key
        if not self.is_leader or trio.current_time() >= self._renewed_at + self._timing.renew_deadline_seconds:
            raise LeaseLostError(f"lease {self.namespace}/{self.name} was not renewed in time; nothing is written")

    async def run(self, body: Callable[[], Awaitable[None]]) -> None:
        """Wait for the lease, run ``body`` under it, release it.

        The lease is renewed until ``body`` has ended, including its cleanup after a cancellation.

        Raises:
            LeaseLostError: the lease was lost while the body ran.
        """
        await self._acquire()
        self._set_leading(True)
        patience = RELEASE_DEADLINE_SECONDS
        try:
            await self._lead(body)
        except LeaseLostError:
            patience = LAST_TRY_SECONDS
            raise
        finally:
            self._set_leading(False)
            await self._release(patience)

    async def _acquire(self) -> None:
        backoff = Backoff(self._timing.retry_seconds, self._timing.retry_seconds * 4)
        while True:
            try:
                if await self._try_to_hold():
                    _LOG.info("leading", lease=self.name, identity=self.identity)
                    return
                backoff.reset()
                wait = self._timing.retry_seconds
            except KubeError as error:
                wait = backoff.next_seconds(error)
                level = _LOG.warning if backoff.failures == 1 else _LOG.debug
                level("cannot acquire the lease", lease=self.name, error=str(error))
            await trio.sleep(wait)

    async def _lead(self, body: Callable[[], Awaitable[None]]) -> None:
        lost = False
        working, keeping = trio.CancelScope(), trio.CancelScope(shield=True)

        async def keep() -> None:
            nonlocal lost
            with keeping:
                await self._renew_until_lost()
                lost = True
                working.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(keep)
            try:
                with working:
                    await body()
            finally:
                keeping.cancel()
        if lost:
            raise LeaseLostError(
                f"lease {self.namespace}/{self.name} was lost; it is held by {self.holder or 'no process'}"
            )

    async def _renew_until_lost(self) -> None:
        """Renew until cancelled; return when this process can no longer rely on the lease."""
        while True:
            await trio.sleep(self._timing.retry_seconds)
            with trio.move_on_at(self._renewed_at + self._timing.renew_deadline_seconds):
                try:
                    if not await self._try_to_hold() and self.holder not in ("", self.identity):
                        return
                except KubeError as error:
                    _LOG.warning("cannot renew the lease", lease=self.name, error=str(error))
            if trio.current_time() >= self._renewed_at + self._timing.renew_deadline_seconds:
                return

    async def _try_to_hold(self) -> bool:
        """One attempt to take or keep the lease; False while another process holds it.

        Raises:
            KubeError: the server could not be reached.
        """
        began_at = trio.current_time()
        try:
            found = await self._client.get(LEASE, self.name, self.namespace)
        except NotFoundError:
            return await self._write(self._claim(None), began_at, create=True)
        self._observe(found)
        if _holder_of(found) not in ("", self.identity) and not self._has_expired(found):
            return False
        return await self._write(self._claim(found), began_at, create=False)

    async def _write(self, lease: Object, began_at: float, *, create: bool) -> bool:
        try:
            stored = await (self._client.create(LEASE, lease) if create else self._client.replace(LEASE, lease))
        except (ConflictError, AlreadyExistsError, NotFoundError):
            return False  # another process was faster; the next attempt reads its identity
        self._observe(stored)
        self._renewed_at = began_at
        return True

    def _claim(self, found: Object | None) -> Object:
        now = format_precise_instant(self._now())
        if found is None:
            spec: Object = {"leaseTransitions": 0}
            lease: Object = {
                "apiVersion": LEASE.api_version,
                "kind": LEASE.kind,
                "metadata": {"name": self.name, "namespace": self.namespace},
                "spec": spec,
            }
        else:
            lease = copy_value(found)
            spec = lease.setdefault("spec", {})
        if spec.get("holderIdentity") != self.identity:
            spec["acquireTime"] = now
            if found is not None:
                spec["leaseTransitions"] = int(spec.get("leaseTransitions") or 0) + 1
        spec["holderIdentity"] = self.identity
        spec["leaseDurationSeconds"] = max(1, round(self._timing.lease_seconds))
        spec["renewTime"] = now
        return lease

    async def _release(self, seconds: float) -> None:
        """Release the lease, so that the next process need not wait; does nothing if another process holds it."""
        with trio.move_on_after(seconds, shield=True):
            try:
                found = await self._client.get(LEASE, self.name, self.namespace)
                if _holder_of(found) != self.identity:
                    return
                lease = copy_value(found)
                lease["spec"] |= {"holderIdentity": "", "leaseDurationSeconds": 1}
                self._observe(await self._client.replace(LEASE, lease))
            except KubeError as error:
                _LOG.info("the lease was not released and will run out", lease=self.name, error=str(error))

    def _observe(self, lease: Object) -> None:
        """Remember when this process first saw the lease in this state, by its own clock: stored times may be of
        another clock.
        """
        if self._observed is None or self._observed.get("spec") != lease.get("spec"):
            self._observed_at = trio.current_time()
        self._observed = lease

    def _has_expired(self, lease: Object) -> bool:
        seconds = (lease.get("spec") or {}).get("leaseDurationSeconds") or self._timing.lease_seconds
        return trio.current_time() >= self._observed_at + float(seconds)

    def _set_leading(self, leading: bool) -> None:
        self.is_leader = leading
        metrics.set_gauge(catalogue.LEADER_STATUS, float(leading), name=self.name)


def _holder_of(lease: Object | None) -> str:
    return str(((lease or {}).get("spec") or {}).get("holderIdentity") or "")
