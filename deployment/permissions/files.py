"""The RBAC files that ``deployment.generate`` writes: one file of manifests for each concern."""

from __future__ import annotations

from collections.abc import Iterator

from core.api.objects import Object
from deployment.permissions.hub import hub_objects
from deployment.permissions.people import people_roles
from deployment.permissions.roles import (
    DEFAULT_INSTALLATION,
    Installation,
    grants_objects,
    metrics_reader,
    runner_base_role,
    service_account,
    table_objects,
    worker_role,
)
from deployment.permissions.table import (
    ADMISSION,
    CA_BUNDLES,
    CERTIFICATES,
    CONFIGURATION,
    HUB_ACCESS,
    HUB_CERTIFICATE,
    LEADER_ELECTION,
    LISTENER,
    MANAGER,
    METRICS_AUTH,
    RUNNER,
)


def manifest_files(here: Installation = DEFAULT_INSTALLATION) -> Iterator[tuple[str, list[Object]]]:
    """File name and its documents. ``people.yaml`` can be left out: the operator does not need it."""
    yield "service_account.yaml", [service_account(here)]
    yield "manager.yaml", [*table_objects(here, MANAGER)]
    yield "runner.yaml", [*table_objects(here, RUNNER), runner_base_role(), worker_role(), *grants_objects(here)]
    yield "listener.yaml", [*table_objects(here, LISTENER)]
    yield "configuration.yaml", [*table_objects(here, CONFIGURATION)]
    yield "hub_access.yaml", [*table_objects(here, HUB_ACCESS)]
    yield "admission.yaml", [*table_objects(here, ADMISSION)]
    yield "certificates.yaml", [*table_objects(here, CERTIFICATES), *table_objects(here, CA_BUNDLES)]
    yield "leader_election.yaml", [*table_objects(here, LEADER_ELECTION)]
    yield "metrics.yaml", [*table_objects(here, METRICS_AUTH), metrics_reader(here)]
    yield "hub.yaml", [*hub_objects(here), *table_objects(here, HUB_CERTIFICATE)]
    yield "people.yaml", [*people_roles(here)]
