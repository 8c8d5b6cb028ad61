"""All objects of a release but the definitions, file by file, each with the condition under which it exists.

The definitions are files of the chart, which ``definitions.tpl`` renders.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, Final
from urllib.parse import urlsplit

from core.api.objects import Object
from core.api.resource import CLUSTER_ROLE, CLUSTER_ROLE_BINDING, CONFIG_MAP
from deployment import certmanager, files, metadata, registration
from deployment.chart.nodes import (
    ALWAYS,
    Also,
    ReleaseCondition,
    Scalar,
    Values,
    When,
    given,
    part,
    partial,
    value_at,
)
from deployment.chart.pods import Placed, hub_objects, manager_objects, monitors
from deployment.chart.release import (
    BY_CERT_MANAGER,
    BY_ITSELF,
    CLUSTER_DOMAIN,
    HUB,
    LEADER,
    PEOPLE,
    POLICIES,
    RELEASE,
    WEBHOOKS,
    labelled,
)
from deployment.chart.removal import removal_objects
from deployment.observability import files as observability
from deployment.observability.dashboards import dashboards
from deployment.observability.rules import RUNBOOKS, prometheus_rule, rule_file
from deployment.permissions import hub as hub_access
from deployment.permissions import table
from deployment.permissions.documents import rbac_object
from deployment.permissions.names import DEFAULT_PREFIX
from deployment.permissions.people import people_roles
from deployment.permissions.roles import (
    METRICS_READER,
    grants_objects,
    metrics_reader,
    runner_base_role,
    service_account,
    table_objects,
    worker_role,
)
from deployment.policies import policy

DASHBOARDS: Final = "dashboards"
"""The folder of the chart that has them, a link to that of the manifests."""
_TABLES: Final = (
    *((each, ALWAYS) for each in (table.MANAGER, table.RUNNER, table.LISTENER, table.METRICS_AUTH)),
    (table.LEADER_ELECTION, LEADER),
    *((each, ALWAYS) for each in (table.CONFIGURATION, table.HUB_ACCESS)),
    (table.ADMISSION, WEBHOOKS),
    (table.CERTIFICATES, BY_ITSELF),
    (table.CA_BUNDLES, BY_ITSELF),
    (table.HUB_CERTIFICATE, HUB),
)
"""Roles of the operator's account, and when it needs them."""


def template_files() -> Iterator[tuple[str, list[Placed]]]:
    """File name below ``templates``, and the objects in it."""
    yield "access.yaml", [*_access()]
    yield "people.yaml", [(PEOPLE, labelled(role)) for role in people_roles(RELEASE)]
    yield "manager.yaml", [*manager_objects()]
    yield "hub.yaml", [*hub_objects()]
    yield "webhooks.yaml", [*_webhooks()]
    yield "policies.yaml", [*_policies()]
    yield "certificates.yaml", [*_certificates()]
    yield "monitors.yaml", [*monitors()]
    yield (
        "observability.yaml",
        [
            (given("prometheusRule.enabled"), _rules()),
            (given("dashboards.enabled"), _dashboards()),
        ],
    )
    yield "removal.yaml", [*removal_objects()]


def _client(config: Object) -> Object:
    """The client configuration of a webhook: the Service, or a URL among the values."""
    service = {**config["service"], "port": Scalar("(index $.Values.webhookService.ports 0).port", _first_port)}
    path = config["service"]["path"]
    url = Scalar(f'printf "%s{path}" (trimSuffix "/" $.Values.webhooks.url) | quote', _url_with(path))
    return {"service": When(~given("webhooks.url"), service), "url": When(given("webhooks.url"), url)}


def _first_port(values: Values) -> Any:
    return value_at(values, "webhookService.ports")[0]["port"]


def _url_with(path: str) -> Callable[[Values], str]:
    return lambda values: str(value_at(values, "webhooks.url")).removesuffix("/") + path


def _access() -> Iterator[Placed]:
    account = labelled(service_account(RELEASE))
    account["metadata"]["annotations"] = part("serviceAccount.annotations")
    token = When(~given("serviceAccount.automount"), False)
    yield given("serviceAccount.create"), {**account, "automountServiceAccountToken": token}
    for rows, condition in _TABLES:
        for obj in table_objects(RELEASE, rows):
            yield condition, labelled(obj)
    for obj in (runner_base_role(), worker_role(), *grants_objects(RELEASE), metrics_reader(RELEASE)):
        yield ALWAYS, labelled(obj)
    yield given("rbac.metricsReaders"), _metrics_readers()
    for obj in hub_access.hub_objects(RELEASE):
        yield HUB, labelled(obj)


def _metrics_readers() -> Object:
    name = RELEASE.prefix + METRICS_READER
    role = {"apiGroup": CLUSTER_ROLE.group, "kind": CLUSTER_ROLE.kind, "name": name}
    binding = labelled(rbac_object(CLUSTER_ROLE_BINDING, name))
    return {**binding, "roleRef": role, "subjects": part("rbac.metricsReaders")}


def _webhooks() -> Iterator[Placed]:
    for configuration in (registration.mutating_configuration(RELEASE), registration.validating_configuration(RELEASE)):
        hooks = [
            {**hook, "clientConfig": _client(hook["clientConfig"]), "timeoutSeconds": _timeout(hook["timeoutSeconds"])}
            for hook in configuration["webhooks"]
        ]
        injected = When(BY_CERT_MANAGER, certmanager.injected(RELEASE))
        head = {**configuration["metadata"], "annotations": injected}
        yield WEBHOOKS, labelled({**configuration, "metadata": head, "webhooks": hooks})


def _timeout(seconds: int) -> Scalar:
    path = "webhooks.timeoutSeconds"
    return Scalar(f"default {seconds} $.Values.{path}", lambda values: value_at(values, path) or seconds)


def _policies() -> Iterator[Placed]:
    for each in files.policies(RELEASE):
        for obj in policy.documents(each, RELEASE):
            yield POLICIES, labelled(obj)


def _rules() -> Object:
    """The groups are a file of the chart, whose links to runbooks lead to the page that the release chooses."""
    path = "prometheusRule.runbooks"
    text = (
        f'($.Files.Get "{observability.PLAIN_RULES}" | replace "{RUNBOOKS}#" '
        f'(printf "%s#" $.Values.{path}) | fromYaml).groups | toJson'
    )
    found = labelled(prometheus_rule(RELEASE), "prometheusRule.labels")
    return {**found, "spec": {"groups": Scalar(text, lambda values: rule_file(str(value_at(values, path)))["groups"])}}


def _dashboards() -> Object:
    """They are files of the chart, because templates would read their braces."""
    name = RELEASE.prefix + observability.CONFIG_MAP.removeprefix(DEFAULT_PREFIX)
    found = labelled(metadata.document(CONFIG_MAP, name, namespace=RELEASE.namespace), "dashboards.labels")
    found["metadata"]["annotations"] = part("dashboards.annotations")
    return {**found, "data": {each.file_name: _file(each.file_name, each.text) for each in dashboards()}}


def _file(name: str, text: str) -> Scalar:
    return Scalar(f'$.Files.Get "{DASHBOARDS}/{name}" | toJson', lambda _: text)


def _certificates() -> Iterator[Placed]:
    own = BY_CERT_MANAGER & ~given("certificates.certManager.issuerRef")
    *chain, serving = certmanager.issuers_and_certificates(RELEASE, domain=CLUSTER_DOMAIN)
    for obj in chain:
        yield own, labelled(obj)
    issuer = serving["spec"]["issuerRef"]
    chosen = {
        "issuerRef": When(own, issuer),
        Also(partial("bobrapet.issuer", _issuer)): None,
    }
    spec = {key: inner for key, inner in serving["spec"].items() if key != "issuerRef"}
    host = Scalar("(urlParse $.Values.webhooks.url).hostname | quote", _url_host)
    names = {
        "dnsNames": [*spec["dnsNames"], When(given("webhooks.url") & ~_IS_ADDRESS, host)],
        "ipAddresses": When(given("webhooks.url") & _IS_ADDRESS, [host]),
    }
    yield BY_CERT_MANAGER, {**labelled(serving), "spec": {**spec, **names, **chosen}}


def _url_host(values: Values) -> str:
    return urlsplit(str(value_at(values, "webhooks.url"))).hostname or ""


def _is_address(values: Values) -> bool:
    return re.search("^[0-9.]+$|:", _url_host(values)) is not None


_IS_ADDRESS: Final = ReleaseCondition('regexMatch "^[0-9.]+$|:" (urlParse $.Values.webhooks.url).hostname', _is_address)
"""The host of ``webhooks.url`` is an IP address, which certificates name in another way than DNS names."""


def _issuer(values: Values) -> Object:
    chosen = value_at(values, "certificates.certManager.issuerRef")
    return {"issuerRef": chosen} if chosen else {}
