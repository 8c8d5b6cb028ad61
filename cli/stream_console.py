"""The way from a command to the console of the hub: ask for it, wait until it is open, reach it, and let it go.

The request is an annotation of the step's TransportBinding, with the SHA-256 of a key that this command has made. It
counts for two minutes, and is renewed while the command runs. The answer is in the status of the binding: a port of
this machine, or a Service, which is reached through the API server. Source: streaming contract 5.5.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final

import orjson
import trio

from bubu_contract.instants import format_instant, parse_instant_or_none
from cli.problem import CommandError
from cli.runs import find_run
from cli.session import Session
from cli.step_logs import refuse_unknown_steps
from cli.streams import bindings_of
from core.api import keys
from core.api.conditions import find_condition
from core.api.objects import Object
from core.api.phases import ConditionType
from core.api.resource import TRANSPORT_BINDING
from core.engine.clock import system_now
from core.kube.client import KubeClient, open_client
from core.kube.config import ClusterConfig
from core.kube.connections import LaneTransport
from core.kube.errors import (
    ApiError,
    ForbiddenError,
    KubeError,
    NotFoundError,
    ServerTimeoutError,
    ServiceUnavailableError,
    TransportError,
)
from core.kube.http1 import Http1Lane, Peer
from core.kube.retry import ONCE
from hub.bindings import console_requests
from hub.console_grants import KEY_BYTES, KEY_HEADER, ConsoleGrantError, ConsoleReason, ConsoleVerb, read_grant
from manager.hub_endpoint import host_of, is_loopback, parse_endpoint
from views.flow import bindings_by_step

ASKED_FOR: Final = timedelta(minutes=2)
RENEW_SECONDS: Final = 45.0
ANSWER_SECONDS: Final = 20.0
"""How long a hub may take to open the console."""
LOOK_SECONDS: Final = 0.25
_WITHDRAW_SECONDS: Final = 5.0
_CONNECT_SECONDS: Final = 5.0
_SERVICE: Final = re.compile(r"([a-z0-9-]{1,63})/([a-z0-9-]{1,63}):([0-9]{1,5})")
_WAIT_FOR: Final = frozenset({ConsoleReason.UNKNOWN_KEY, ConsoleReason.EXPIRED, ConsoleReason.NOT_SERVED})
"""Refusals that end by themselves: the hub has not seen the request, or does not serve the run yet."""


class StreamOverError(Exception):
    """The step has finished, or its binding is gone."""


@dataclass(frozen=True, slots=True)
class ConsoleRoute:
    """How the console is reached now."""

    client: KubeClient
    prefix: str
    """Before the path of each request."""
    headers: Mapping[str, str]


async def step_of(session: Session, reference: str) -> tuple[Object, Object]:
    """The run and the TransportBinding that ``RUN/STEP`` names.

    Raises:
        CommandError: there is none.
    """
    name, slash, step = reference.partition("/")
    if not slash or not step:
        raise CommandError(f"{reference!r} must be RUN/STEP", remedy="for example: @latest/sink")
    run = await find_run(session, name)
    binding = await _binding_of(session, run, step)
    place = f"{run['metadata']['name']}/{step}"
    if binding is None:
        await refuse_unknown_steps(session, run, [step])
    if (run.get("status") or {}).get("finishedAt") or (binding is not None and _is_finished(binding)):
        raise CommandError(f"{place} has finished; no packets pass any more", remedy=session.command("get", name))
    if binding is None:
        raise CommandError(f"{place} has no stream, or not yet", remedy=f"see why: {session.command('why', place)}")
    return run, binding


class ConsoleAccess:
    """The console of one step, for one command; open it with ``open_console``."""

    def __init__(self, session: Session, binding: Object, verb: ConsoleVerb, nursery: trio.Nursery) -> None:
        self._session = session
        self._metadata = binding["metadata"]
        self._verb = verb
        self._nursery = nursery
        key = secrets.token_bytes(KEY_BYTES)
        self._digest = sha256(key).hexdigest()
        self._headers = {KEY_HEADER: key.hex()}
        self._annotation = f"{keys.ANNOTATION_STREAM_CONSOLE}.{self._digest[:16]}"
        self._direct: dict[str, KubeClient] = {}

    @property
    def path(self) -> str:
        return f"/v1/namespaces/{self._metadata['namespace']}/bindings/{self._metadata['name']}"

    async def ask(self, binding: Object | None = None) -> None:
        """Ask for the console, or go on asking. Requests of commands that have died are removed.

        Raises:
            KubeError: the API server has refused, or has not answered.
        """
        now = system_now()
        wish = {"until": format_instant(now + ASKED_FOR), "keySHA256": self._digest, "verbs": [self._verb]}
        over = _expired(binding, now) if binding is not None else []
        await self._patch({**dict.fromkeys(over), self._annotation: orjson.dumps(wish).decode()})

    async def withdraw(self) -> None:
        with trio.move_on_after(_WITHDRAW_SECONDS, shield=True), suppress(KubeError):
            await self._patch({self._annotation: None})

    async def keep_asking(self) -> None:
        while True:
            await trio.sleep(RENEW_SECONDS)
            with suppress(TransportError, ServiceUnavailableError, ServerTimeoutError, NotFoundError):
                await self.ask()

    async def route(self) -> ConsoleRoute | None:
        """How the console is reached now; None if the hub has not opened it yet.

        Raises:
            StreamOverError: the step has finished, or its binding is gone.
            CommandError: it is somewhere that this command cannot reach.
        """
        binding = await self._read()
        if _is_finished(binding):
            raise StreamOverError
        address = console_address(binding, system_now())
        if not address:
            return None
        if (found := _SERVICE.fullmatch(address)) is not None:
            prefix = f"/api/v1/namespaces/{found[1]}/services/https:{found[2]}:{found[3]}/proxy"
            return ConsoleRoute(self._session.client, prefix, self._headers)
        if not _is_here(address):
            raise CommandError(
                f"the hub says that its console is at {address[:80]!r}, which is neither a Service nor on this machine",
                remedy="start the hub with --console-service, or with --console-bind-address on the loopback interface",
            )
        return ConsoleRoute(await self._client_of(address), "", self._headers)

    async def explain_silence(self) -> CommandError:
        """Why there may be no console."""
        binding = await self._read()
        spec = binding["spec"]
        step = f"{(spec.get('storyRunRef') or {}).get('name')}/{spec['stepName']}"
        ready = find_condition((binding.get("status") or {}).get("conditions") or (), ConditionType.READY) or {}
        said = f"; it says of the step: {ready.get('message')}" if ready.get("message") else ""
        return CommandError(
            f"the hub has not opened a console for {step} within {ANSWER_SECONDS:.0f} s{said}",
            remedy="check that it runs, has the version of this command, and was started with --console-bind-address: "
            + self._session.command("why", step),
        )

    async def _read(self) -> Object:
        namespace, name = self._metadata["namespace"], self._metadata["name"]
        try:
            found = await self._session.client.get(TRANSPORT_BINDING, name, namespace)
        except NotFoundError:
            raise StreamOverError from None
        if found["metadata"]["uid"] != self._metadata["uid"]:
            raise StreamOverError
        return found

    async def _patch(self, annotations: Mapping[str, str | None]) -> None:
        namespace, name = self._metadata["namespace"], self._metadata["name"]
        patch = {"metadata": {"uid": self._metadata["uid"], "annotations": dict(annotations)}}
        await self._session.client.patch(TRANSPORT_BINDING, name, patch, namespace=namespace)

    async def _client_of(self, address: str) -> KubeClient:
        """A client for a port of this machine, without anything that belongs to the cluster."""
        if (known := self._direct.get(address)) is None:
            known = self._direct[address] = await self._nursery.start(_keep_open, address)
        return known


@asynccontextmanager
async def open_console(session: Session, binding: Object, verb: ConsoleVerb) -> AsyncIterator[ConsoleAccess]:
    """Ask for the console of a step while the block runs.

    Raises:
        KubeError: the API server has refused; most often the user may not patch TransportBindings.
    """
    async with trio.open_nursery() as nursery:
        console = ConsoleAccess(session, binding, verb, nursery)
        try:
            await console.ask(binding)
            nursery.start_soon(console.keep_asking)
            yield console
        finally:
            await console.withdraw()
        nursery.cancel_scope.cancel()


def console_address(binding: Object, now: datetime) -> str:
    """Where the hub says that the console is; empty if it is not open."""
    console = ((binding.get("status") or {}).get("stream") or {}).get("console") or {}
    until = parse_instant_or_none(console.get("until"))
    address = console.get("address")
    return address if isinstance(address, str) and until is not None and now < until else ""


def may_pass(error: KubeError) -> bool:
    """Whether the same request may succeed later: the hub starts, or has not seen something yet."""
    if isinstance(error, ApiError) and error.status.get("reason") in _WAIT_FOR:
        return True
    return isinstance(error, (TransportError, ServiceUnavailableError, ServerTimeoutError))


def explained(error: KubeError, route: ConsoleRoute) -> Exception:
    """The same error, with what a user needs who may not use the proxy of the API server."""
    is_of_hub = isinstance(error, ApiError) and error.status.get("reason") in frozenset(ConsoleReason)
    if isinstance(error, ForbiddenError) and not is_of_hub and route.prefix:
        place = route.prefix.split("/")
        return CommandError(
            error.message,
            remedy=f"ask for get and create on services/proxy in namespace {place[4]}, for the name {place[6]}",
        )
    if isinstance(error, ServiceUnavailableError) and route.prefix:
        return CommandError(
            f"the API server does not reach the console of the hub: {error.message.strip()}",
            remedy="check that the hub runs, and that network policies let the API server reach its port console",
        )
    if isinstance(error, ApiError) and is_of_hub and isinstance(error, ForbiddenError):
        return CommandError(f"the hub has refused: {error.message}")
    return error


async def _binding_of(session: Session, run: Object, step: str) -> Object | None:
    return bindings_by_step(await bindings_of(session, run, tolerant=False), run["metadata"]["uid"]).get(step)


def _is_finished(binding: Object) -> bool:
    return (binding["metadata"].get("annotations") or {}).get(keys.ANNOTATION_STREAM_FINISHED) == "true"


async def _keep_open(address: str, *, task_status: trio.TaskStatus[KubeClient]) -> None:
    host, port = host_of(address), int(address.rpartition(":")[2])
    peer = Peer(host, port, None, host, _CONNECT_SECONDS, 0.0)
    config = ClusterConfig(f"http://{address}", source="the status of the binding")
    async with open_client(config, transport=LaneTransport(lambda: Http1Lane(peer)), retry=ONCE) as client:
        task_status.started(client)
        await trio.sleep_forever()


def _is_here(address: str) -> bool:
    try:
        return is_loopback(host_of(parse_endpoint(address)))
    except ValueError:
        return False


def _expired(binding: Object, now: datetime) -> list[str]:
    """The annotations of commands that have ended without a word."""
    found = []
    for name, text in console_requests(binding).items():
        try:
            is_over = read_grant(text).until <= now
        except ConsoleGrantError:
            is_over = False  # not ours
        if is_over:
            found.append(name)
    return found
