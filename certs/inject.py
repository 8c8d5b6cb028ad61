"""The ``caBundle`` of webhook configurations and of CRD conversion: it makes API servers trust the operator.

Only bundles that differ are patched, each patch bound to the version that was read. An object that does not exist is
not an error: it is not installed, or not yet.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from cryptography import x509

from certs.authority import within_time
from certs.material import pem_of
from core.api.resource import CUSTOM_RESOURCE_DEFINITION, STORY, Resource, Scope
from core.kube.client import KubeClient
from core.kube.errors import ConflictError, KubeError, NotFoundError
from kubewire import Object, PatchType

_ADMISSION: Final = "admissionregistration.k8s.io"
MUTATING: Final = Resource(
    _ADMISSION, "v1", "mutatingwebhookconfigurations", "MutatingWebhookConfiguration", Scope.CLUSTER
)
VALIDATING: Final = Resource(
    _ADMISSION, "v1", "validatingwebhookconfigurations", "ValidatingWebhookConfiguration", Scope.CLUSTER
)
_INJECTED: Final = ("cert-manager.io/inject-ca-from", "cert-manager.io/inject-ca-from-secret")
_ATTEMPTS: Final = 4


@dataclass(frozen=True, slots=True)
class Target:
    """One object with a CA bundle."""

    resource: Resource
    name: str

    def __str__(self) -> str:
        return f"{self.resource.kind} {self.name}"


def targets_of(prefix: str) -> tuple[Target, ...]:
    """The objects of an installation whose names begin with ``prefix``; the definition has one name everywhere."""
    return (
        Target(MUTATING, f"{prefix}mutating-webhook-configuration"),
        Target(VALIDATING, f"{prefix}validating-webhook-configuration"),
        Target(CUSTOM_RESOURCE_DEFINITION, f"{STORY.plural}.{STORY.group}"),
    )


DEFAULT_TARGETS: Final = targets_of("bobrapet-")
"""The objects that the manifests install."""


@dataclass(frozen=True, slots=True)
class Publication:
    """The result of publishing one bundle."""

    repaired: tuple[Target, ...] = ()
    """Patched in this call."""
    failures: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether every object that exists trusts the whole bundle."""
        return not self.failures


def is_injected(obj: Object) -> bool:
    """Whether cert-manager's injector fills in the bundles of ``obj``. Pure."""
    annotations = (obj.get("metadata") or {}).get("annotations") or {}
    return any(key in annotations for key in _INJECTED)


def changes_for(obj: Object, bundle: bytes, *, beside_others_at: datetime | None = None) -> list[dict[str, Any]]:
    """The JSON patch after which ``obj`` trusts exactly ``bundle`` (PEM); empty when it already does. Pure.

    Args:
        beside_others_at: keep authorities that ``obj`` already trusts and that are valid at that time.
    """
    changes = []
    for path, config in _client_configs(obj):
        present = config.get("caBundle")
        wanted = bundle if beside_others_at is None else _united(bundle, present, beside_others_at)
        encoded = base64.b64encode(wanted).decode()
        if present != encoded:
            changes.append({"op": "add", "path": f"{path}/caBundle", "value": encoded})
    version = (obj.get("metadata") or {}).get("resourceVersion")
    return [{"op": "test", "path": "/metadata/resourceVersion", "value": version}, *changes] if changes else []


class Publisher:
    def __init__(self, client: KubeClient, targets: Sequence[Target] = DEFAULT_TARGETS) -> None:
        self.targets = tuple(targets)
        self._client = client

    async def publish(self, bundle: bytes, *, beside_others_at: datetime | None = None) -> Publication:
        """Make every target trust ``bundle``; when one target fails, the others are still patched.

        Args:
            beside_others_at: the bundle also belongs to others: add to the authorities that are trusted and valid at
                that time, and skip targets that cert-manager's injector fills.
        """
        repaired: list[Target] = []
        failures: list[str] = []
        for target in self.targets:
            try:
                if await self._publish(target, bundle, beside_others_at):
                    repaired.append(target)
            except NotFoundError:
                continue
            except KubeError as error:
                failures.append(f"{target}: {error}")
        return Publication(tuple(repaired), tuple(failures))

    async def _publish(self, target: Target, bundle: bytes, beside_others_at: datetime | None) -> bool:
        for attempt in range(1, _ATTEMPTS + 1):
            obj = await self._client.get(target.resource, target.name)
            changes = changes_for(obj, bundle, beside_others_at=beside_others_at)
            if not changes or (beside_others_at is not None and is_injected(obj)):
                return False
            try:
                await self._client.patch(target.resource, target.name, changes, patch_type=PatchType.JSON)
            except ConflictError:
                if attempt == _ATTEMPTS:
                    raise
                continue
            return True
        raise AssertionError("the last attempt must return or raise")


def _united(bundle: bytes, present: Any, now: datetime) -> bytes:
    """``bundle``, and all authorities of ``present`` (base64 of PEM) that are readable and valid; in a fixed order."""
    ours = x509.load_pem_x509_certificates(bundle)
    try:
        theirs = x509.load_pem_x509_certificates(base64.b64decode(present or "", validate=True))
    except ValueError:
        theirs = []
    others = [certificate for certificate in theirs if within_time(certificate, now)]
    if set(ours) <= set(others) and len(others) == len(theirs):
        return pem_of(tuple(theirs))
    return pem_of(tuple(dict.fromkeys((*ours, *others))))


def _client_configs(obj: Object) -> list[tuple[str, dict[str, Any]]]:
    """Every webhook client configuration in ``obj``, with its JSON pointer."""
    hooks = obj.get("webhooks")
    if isinstance(hooks, list):
        found = [(f"/webhooks/{index}/clientConfig", hook.get("clientConfig")) for index, hook in enumerate(hooks)]
    else:
        webhook = ((obj.get("spec") or {}).get("conversion") or {}).get("webhook") or {}
        found = [("/spec/conversion/webhook/clientConfig", webhook.get("clientConfig"))]
    return [(path, config) for path, config in found if isinstance(config, dict)]
