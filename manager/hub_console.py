"""The port of the hub's console: it listens only while the binding of a step asks for it.

So a hub that nobody asks has no such port, and has loaded nothing for it. Where the console is, the status of each
binding says that asks for it.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

import trio

from core.api.objects import NamespacedName, Object
from core.kube.informer import Change, Informer
from core.telemetry.logs import get_logger
from hub.binding_status import ConsolePlace
from hub.bindings import console_requests
from hub.console_grants import live_grants
from hub.run_book import BindingStanding, RunBook
from hub.service import Hub
from manager.bind import Address
from manager.hub_endpoint import is_loopback

if TYPE_CHECKING:
    from hub.console import ConsoleApp

RETRY_SECONDS: Final = 5.0
"""After the address was in use."""

_log = get_logger("hub")


@dataclass(frozen=True, slots=True)
class ConsoleOptions:
    """Where the console listens, and how commands reach it."""

    address: Address
    service: str = ""
    """``namespace/service:port``, unless it is on the loopback interface."""


class HubConsole:
    """Opens and closes the port; ``place_of`` says where it is.

    Args:
        bindings: as the watch has them.
        look_at: is told which status is to be written.
        now: the wall clock.
        context: the TLS context for the next connection; None: plaintext, on the loopback interface.
    """

    def __init__(
        self,
        options: ConsoleOptions,
        bindings: Informer,
        book: RunBook,
        hub: Hub,
        look_at: Callable[[NamespacedName], None],
        now: Callable[[], datetime],
        context: Callable[[], ssl.SSLContext] | None,
    ) -> None:
        self._options = options
        self._bindings = bindings
        self._book = book
        self._hub = hub
        self._look_at = look_at
        self._now = now
        self._context = context
        self._until: dict[NamespacedName, datetime] = {}
        """The bindings that ask, and until when."""
        self._address = ""
        """Where commands reach it; empty while it does not listen."""
        self._news = trio.Event()

    @property
    def is_asked(self) -> bool:
        """Whether a binding asks for it now."""
        return bool(self._until)

    def place_of(self, name: NamespacedName) -> ConsolePlace | None:
        """Where the console of a binding is; None if nobody asks for it, or it does not listen."""
        until = self._until.get(name)
        return ConsolePlace(self._address, until) if until is not None and self._address else None

    async def run(self) -> None:
        """Listen whenever somebody asks, until cancelled."""
        for binding in self._bindings.each():
            self._note(_name_of(binding), binding)
        self._bindings.add_handler(self._changed)
        while True:
            await self._until_asked()
            try:
                await self._listen_while_asked()
            finally:
                self._address = ""

    # What the bindings say.

    def binding(self, name: NamespacedName) -> Object | None:
        return self._bindings.get(*name)

    def standing(self, name: NamespacedName) -> BindingStanding | None:
        return self._book.standing(name)

    def _changed(self, change: Change) -> None:
        if change.new is None:
            if self._until.pop(_name_of(change.object), None) is not None:
                self._news.set()
        elif console_requests(change.new) or _name_of(change.new) in self._until:
            self._note(_name_of(change.new), change.new)

    def _note(self, name: NamespacedName, binding: Object) -> None:
        grants = live_grants(binding, self._now())
        before = self._until.pop(name, None)
        if grants:
            self._until[name] = max(grant.until for grant in grants)
        if before == self._until.get(name):
            return
        if before is None or not grants:
            verbs = sorted({verb for grant in grants for verb in grant.verbs})
            said = "a user opened the console of a step" if grants else "the last user closed the console of a step"
            _log.info(said, binding="/".join(name), verbs=verbs)
        self._news.set()
        if self._address:
            self._look_at(name)

    # The port.

    async def _until_asked(self) -> None:
        while not self._until:
            self._news = trio.Event()
            await self._news.wait()

    async def _listen_while_asked(self) -> None:
        from manager.serving import ListenError, serve_on

        async with trio.open_nursery() as nursery:

            async def serve(*, task_status: trio.TaskStatus[str]) -> None:
                context = self._context() if self._context is not None else None
                await serve_on(self._app(), self._options.address, context=context, task_status=task_status)

            try:
                url = await nursery.start(serve)
            except ListenError as error:
                _log.error("the console cannot listen", cause=str(error), pause_seconds=RETRY_SECONDS)
                await trio.sleep(RETRY_SECONDS)
                return
            self._address = self._reached_at(url)
            for name in self._until:
                self._look_at(name)
            await self._until_nobody_asks()
            self._address = ""
            nursery.cancel_scope.cancel()

    async def _until_nobody_asks(self) -> None:
        while self._until:
            self._news = trio.Event()
            wait = (min(self._until.values()) - self._now()).total_seconds()
            with trio.move_on_after(max(wait, 0.0)):
                await self._news.wait()
            for name in [name for name, until in self._until.items() if until <= self._now()]:
                binding = self._bindings.get(*name)
                if binding is not None:
                    self._note(name, binding)
                else:
                    del self._until[name]

    def _reached_at(self, url: str) -> str:
        host, port = self._options.address.host, url.rpartition(":")[2]
        if not is_loopback(host):
            return self._options.service
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def _app(self) -> ConsoleApp:
        from hub.console import ConsoleApp

        return ConsoleApp(self, self._hub, self._now)


def _name_of(binding: Object) -> NamespacedName:
    return NamespacedName(binding["metadata"]["namespace"], binding["metadata"]["name"])
