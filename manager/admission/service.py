"""Answer admission reviews from this process: its certificate, its port, and whether it is ready.

After the signal to stop it continues to answer for a while, because API servers learn later that a replica is gone.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from functools import partial
from typing import Protocol, cast

import trio

from certs.inject import targets_of
from certs.mounted import MountedCertificate
from certs.policy import CertRules
from certs.readiness import Readiness
from certs.rotation import CertificateKeeper
from certs.serving import ServingContext
from certs.verifiertime import VerifierClock
from core.engine.ports import Clock
from core.kube.client import KubeClient
from core.kube.events import EventRecorder
from core.policy.settings import OperatorSettings
from core.telemetry.logs import get_logger
from manager.admission.draining import Application, LastAnswers
from manager.admission.informer_view import InformerView
from manager.admission.secret_names import SecretNames
from manager.bind import Address
from manager.options import DEFAULT_PREFIX, AdmissionOptions
from reconcilers.adapters.world import World
from webhooks.app import admission_app
from webhooks.conversion.review import answer
from webhooks.server import serve_admission
from webhooks.setup import AdmissionSetup

_log = get_logger("webhook")


def certificate_names(
    namespace: str, further: tuple[str, ...] = (), *, prefix: str = DEFAULT_PREFIX
) -> tuple[str, ...]:
    """The names that API servers use for this server: those of the Service first, whose name begins with ``prefix``."""
    service = f"{prefix}webhook-service.{namespace}.svc"
    return tuple(dict.fromkeys((service, f"{service}.cluster.local", *further)))


class AdmissionService:
    """The admission server of one process; ``trouble`` says why it cannot answer reviews yet.

    Args:
        namespace: that of the Secret with the certificate, and of the Service.
        operator: the user name of this process at the API server.
    """

    def __init__(
        self,
        options: AdmissionOptions,
        address: Address,
        client: KubeClient,
        world: World,
        settings: Callable[[], OperatorSettings],
        events: EventRecorder,
        clock: Clock,
        namespace: str,
        operator: str,
    ) -> None:
        self._options = options
        self._address = address
        self._view = InformerView(client, world, settings)
        self._serving = ServingContext(partial(_configure, options))
        self._certificate = _certificate(options, self._serving, client, events, clock, namespace)
        self._setup = AdmissionSetup(
            world=lambda: self._view,
            operator=operator,
            trouble=lambda: self._view.trouble,
            changed=self._view.changed,
            convert=answer,
            missing_secrets=SecretNames(client).missing,
        )
        self._app = LastAnswers(cast("Application", admission_app(self._setup)))

    def trouble(self) -> str:
        """Empty once API servers trust the certificate and every cache is filled."""
        readiness = self._certificate.readiness
        return self._view.trouble if readiness.ready else readiness.word

    def stuck(self) -> str:
        """Kinds that only admission looks up and cannot watch at the moment; empty while it can watch all of them."""
        return self._view.stuck

    async def run(self, *, task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled, and ``options.drain_seconds`` longer; started with the URL once the port is open.

        Raises:
            ListenError: the port is in use.
        """
        shield = trio.CancelScope(shield=True)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._view.run)
            nursery.start_soon(self._certificate.run)
            url: str = await nursery.start(self._serve, shield)
            task_status.started(url)
            try:
                await self._serving.wait_until_installed()
                _log.info("admission reviews are answered", url=url)
                await trio.sleep_forever()
            finally:
                self._app.begin()
                shield.deadline = trio.current_time() + self._options.drain_seconds

    async def _serve(self, shield: trio.CancelScope, *, task_status: trio.TaskStatus[str]) -> None:
        with shield:
            await serve_admission(
                self._app,
                self._address.host,
                self._address.port,
                lambda: self._serving.context,
                client_ca=self._options.client_ca,
                http2=self._options.http2,
                task_status=task_status,
            )


def _configure(options: AdmissionOptions, context: ssl.SSLContext) -> None:
    context.set_alpn_protocols([*(["h2"] if options.http2 else []), "http/1.1"])
    if options.client_ca is not None:
        context.load_verify_locations(options.client_ca)
        context.verify_mode = ssl.CERT_OPTIONAL  # a client without a certificate gets an HTTP error


class _Certificate(Protocol):
    @property
    def readiness(self) -> Readiness: ...

    async def run(self) -> None: ...


def _certificate(
    options: AdmissionOptions,
    serving: ServingContext,
    client: KubeClient,
    events: EventRecorder,
    clock: Clock,
    namespace: str,
) -> _Certificate:
    names = certificate_names(namespace, options.names, prefix=options.prefix)
    files = options.files
    if files is not None:
        return MountedCertificate(
            files.folder,
            serving,
            VerifierClock(client.for_itself(), clock),
            certificate=files.certificate,
            key=files.key,
            names=(names[0], *options.names),
        )
    return CertificateKeeper(
        client,
        serving,
        namespace=namespace,
        rules=CertRules(names, options.lifetimes),
        clock=clock,
        events=events,
        targets=targets_of(options.prefix),
    )
