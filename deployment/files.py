"""The files that ``deployment.generate`` writes below ``manifests``: folder, file and documents."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from core.api.kinds import KINDS
from core.api.objects import Object
from core.api.resource import CUSTOM_RESOURCE_DEFINITION, STORY
from deployment import certmanager, configuration, hub, kustomization, network, registration, workload
from deployment.permissions.files import manifest_files
from deployment.permissions.roles import DEFAULT_INSTALLATION, Installation
from deployment.policies import author, definitions, identity, limits, reads, references, rights, status, status_size
from deployment.policies.policy import Policy, documents

MANAGER: Final = "manager"
WEBHOOKS: Final = "webhooks"
POLICIES: Final = "policies"
DEFAULT: Final = "default"
CERT_MANAGER: Final = "cert-manager"
CONVERSION: Final = "conversion"
CRDS: Final = "crds"
RBAC: Final = "rbac"
HUB: Final = "hub"
FOLDERS: Final = (MANAGER, HUB, WEBHOOKS, POLICIES, DEFAULT, CERT_MANAGER)
"""Folders in which every file is written from here."""

_CERTIFICATES: Final = "certificates.yaml"


def policies(installation: Installation = DEFAULT_INSTALLATION) -> list[Policy]:
    """All policies, which apply without the admission server."""
    tables = (identity, rights, reads, references, limits, status, status_size, definitions)
    return [*(table.policy(installation) for table in tables), *author.policies(installation)]


def manifest_folders(installation: Installation = DEFAULT_INSTALLATION) -> Iterator[tuple[str, str, list[Object]]]:
    """Folder, file name, documents; with the ``Kustomization`` of every folder except ``CERT_MANAGER``."""
    folders = {
        MANAGER: dict(_manager(installation)),
        HUB: dict(_hub(installation)),
        WEBHOOKS: dict(_webhooks(installation)),
        POLICIES: dict(_policies(installation)),
    }
    for folder, files in folders.items():
        for name, contents in files.items():
            yield folder, name, contents
        yield folder, kustomization.FILE_NAME, [kustomization.of_files(files)]
    definitions = [f"{kind.resource.group}_{kind.resource.plural}.yaml" for kind in KINDS]
    yield CRDS, kustomization.FILE_NAME, [kustomization.of_files(definitions)]
    yield RBAC, kustomization.FILE_NAME, [kustomization.of_files(name for name, _ in manifest_files())]
    yield DEFAULT, kustomization.FILE_NAME, [kustomization.of_folders((CONVERSION, RBAC, *folders))]
    yield CERT_MANAGER, _CERTIFICATES, certmanager.issuers_and_certificates(installation)


def converted_definitions() -> Object:
    """All definitions; a patch adds to that of Stories the version that is not stored."""
    name = f"{STORY.plural}.{STORY.group}"
    return kustomization.patching(CRDS, f"{STORY.group}_{STORY.plural}.yaml", CUSTOM_RESOURCE_DEFINITION.kind, name)


def cert_manager_overlay(text_of: Callable[[Object], str]) -> Object:
    """The ``Kustomization`` of ``cert-manager``, which has documents as strings; ``text_of`` writes one."""
    return kustomization.overlay(DEFAULT, [_CERTIFICATES], map(text_of, certmanager.patches()))


def _manager(installation: Installation) -> Iterator[tuple[str, list[Object]]]:
    yield "namespace.yaml", [workload.namespace(installation)]
    yield "configuration.yaml", [configuration.config_map(installation)]
    yield "deployment.yaml", [workload.deployment(installation), workload.disruption_budget(installation)]
    services = [network.webhook_service(installation), network.metrics_service(installation)]
    yield "network.yaml", [*services, network.network_policy(installation)]


def _hub(installation: Installation) -> Iterator[tuple[str, list[Object]]]:
    yield "deployment.yaml", [hub.deployment(installation)]
    yield "network.yaml", [hub.service(installation), hub.network_policy(installation)]


def _webhooks(installation: Installation) -> Iterator[tuple[str, list[Object]]]:
    yield "mutating.yaml", [registration.mutating_configuration(installation)]
    yield "validating.yaml", [registration.validating_configuration(installation)]


def _policies(installation: Installation) -> Iterator[tuple[str, list[Object]]]:
    for policy in policies(installation):
        yield f"{policy.name}.yaml", list(documents(policy, installation))
