"""Admission of the embedded cluster: the API server asks a function of its own process instead of a web server.

So admission is available exactly as long as the API server is: it has no port and no certificate, and it does not
depend on the operator, which may be killed and started again. The registrations, and with them the conditions under
which the API server asks, are those of an installation, but they are not stored: an older version that opens the same
data knows nothing of them. So are the admission policies, which the API server evaluates itself. The rules are loaded
for the first review: most of them are needed neither to start the cluster nor to read from it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from core.telemetry.logs import get_logger
from deployment.metadata import WEBHOOK_SERVICE
from deployment.packaged import Packaged, packaged
from deployment.permissions.names import DEFAULT_INSTALLATION
from localcluster.server.webhookcall import LocalWebhooks, WebhookCallError
from webhooks.registration import CONVERT_PATH, HOOKS

if TYPE_CHECKING:
    from core.api.objects import Object
    from localcluster.server.store import Store
    from webhooks.reviewer import Reviewer

LOOP_SECONDS: Final = 3.0
"""A review that takes longer starts again in a process, which then has to be started: one is not kept for this.

In an installation it is far less. Here the first review also builds the models of its kind, which takes a second or
two on a busy laptop, and the start of a process would take as long again.
"""

LEFT_TO_ADMISSION: Final = ("status-size",)
"""Admission counts the values of a status exactly, and here it is never down. The CEL engine of the API server stops
after 10 000 iterations, which a status of the permitted size may need."""

_HOOKS: Final = {hook.path: hook for hook in HOOKS}

_log = get_logger("webhook")


def local_webhooks() -> LocalWebhooks:
    """The webhooks of an installation, answered by this process."""
    service = (DEFAULT_INSTALLATION.namespace, WEBHOOK_SERVICE)
    configurations = [*packaged(Packaged.CONFIGURATIONS), *policies_in_force()]
    return LocalWebhooks(service, EmbeddedAdmission().answer, configurations)


def policies_in_force() -> list[Object]:
    """The policies and bindings of an installation, except those whose work admission does more exactly."""
    superfluous = {DEFAULT_INSTALLATION.prefix + name for name in LEFT_TO_ADMISSION}
    return [each for each in packaged(Packaged.POLICIES) if each["metadata"]["name"] not in superfluous]


class EmbeddedAdmission:
    """Answers the reviews of one API server."""

    def __init__(self) -> None:
        self._reviewer: Reviewer | None = None

    async def answer(self, store: Store, path: str, raw: bytes) -> bytes:
        """The review with its response.

        Raises:
            WebhookCallError: there is no answer; the text says why.
        """
        try:
            return self._converted(raw) if path == CONVERT_PATH else await self._decided(store, path, raw)
        except WebhookCallError:
            raise
        except Exception as error:
            _log.error("a webhook failed", webhook=path, error=error)
            raise WebhookCallError(f"the webhook {path} failed; see the log of the cluster") from error

    def _converted(self, raw: bytes) -> bytes:
        import orjson

        from webhooks.conversion.review import answer

        return orjson.dumps(answer(orjson.loads(raw)))

    async def _decided(self, store: Store, path: str, raw: bytes) -> bytes:
        from webhooks.reviewer import UnansweredError

        hook = _HOOKS.get(path)
        if hook is None:
            raise WebhookCallError(f"the path {path} is not served")
        if self._reviewer is None:
            self._reviewer = _reviewer(store)
        try:
            return await self._reviewer.answer(hook, raw)
        except UnansweredError as error:
            raise WebhookCallError(str(error)) from None


def _reviewer(store: Store) -> Reviewer:
    from cli.embedded.store_view import StoreView
    from webhooks.conversion.review import answer
    from webhooks.limits import DEFAULT_LIMITS
    from webhooks.reviewer import Reviewer
    from webhooks.setup import AdmissionSetup

    view = StoreView(store)
    setup = AdmissionSetup(
        world=lambda: view,
        operator=DEFAULT_INSTALLATION.user,
        trouble=lambda: "",
        changed=view.changed,
        convert=answer,
    )
    # Nobody has to wait for a missing object: the view already has everything that was ever acknowledged.
    return Reviewer(setup, replace(DEFAULT_LIMITS, loop_seconds=LOOP_SECONDS, patient=0))
