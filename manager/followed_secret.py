"""One Secret, followed by its name: each usable content is adopted, and an unusable one changes nothing."""

from __future__ import annotations

from collections.abc import Callable

import trio

from core.api.objects import Object
from core.api.resource import SECRET
from core.kube.client import KubeClient
from core.kube.informer import Change, Informer
from core.telemetry.logs import get_logger

_log = get_logger("hub")


class FollowedSecret:
    """
    Args:
        adopt: gets each state of the Secret; raises ``ValueError``, with what must be there and without any part of it,
            to refuse it.
        provider: who writes the Secret, for messages.
    """

    def __init__(
        self,
        client: KubeClient,
        namespace: str,
        name: str,
        adopt: Callable[[Object], None],
        *,
        provider: str = "the operator",
    ) -> None:
        self._place = f"{namespace}/{name}"
        self._adopt = adopt
        self._provider = provider
        by_name = f"metadata.name={name}"
        self._informer = Informer(client.for_itself(), SECRET, namespace=namespace, field_selector=by_name)
        self._informer.add_handler(self._changed)
        self._adopted = trio.Event()
        self._problem = ""

    @property
    def trouble(self) -> str:
        """Why there is no content to use yet; empty once there is."""
        if self._adopted.is_set():
            return ""
        return self._problem or f"waits for the Secret {self._place}, which {self._provider} creates"

    async def run(self) -> None:
        """Follow until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._informer.run)
            await self._informer.wait_until_synced()
            if self.trouble:
                _log.warning("not serving yet", cause=self.trouble)

    async def wait_until_adopted(self) -> None:
        """Return when there is content to use."""
        await self._adopted.wait()

    def _changed(self, change: Change) -> None:
        if change.new is None:
            _log.warning("a Secret was deleted; its last content stays in use", object=self._place)
            return
        try:
            self._adopt(change.new)
        except ValueError as error:
            self._problem = f"the Secret {self._place} cannot be used: {error}"
            _log.error("a Secret cannot be used; the former content stays", object=self._place, cause=str(error))
            return
        _log.info("a Secret is in use", object=self._place)
        self._problem = ""
        self._adopted.set()
