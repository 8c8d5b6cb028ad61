"""Validation of webhook configurations, and of the address of any webhook."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from localcluster.server import cause, validation_names, webhookconditions
from localcluster.server.cause import Cause
from localcluster.server.types import Object

_OPERATIONS = ["*", "CONNECT", "CREATE", "DELETE", "UPDATE"]
_KNOWN_REVIEWS = ("v1", "v1beta1")
_CHOICES = {
    "failurePolicy": ["Fail", "Ignore"],
    "matchPolicy": ["Equivalent", "Exact"],
    "sideEffects": ["None", "NoneOnDryRun"],
    "reinvocationPolicy": ["IfNeeded", "Never"],
}


def configuration_causes(configuration: Object, _old: Object | None) -> Iterator[Cause]:
    """Everything wrong with a MutatingWebhookConfiguration or a ValidatingWebhookConfiguration."""
    seen: set[str] = set()
    for index, webhook in enumerate(configuration.get("webhooks") or ()):
        where = f"webhooks[{index}]"
        name = webhook.get("name", "")
        if not name:
            yield cause.required(f"{where}.name")
        else:
            for complaint in validation_names.why_not_subdomain(name):
                yield cause.invalid(f"{where}.name", name, complaint)
            if name.count(".") < 2:
                detail = "should be a domain with at least three segments separated by dots"
                yield cause.invalid(f"{where}.name", name, detail)
        if name in seen:
            yield cause.duplicate(f"{where}.name", name)
        seen.add(name)
        yield from _webhook_causes(webhook, where)


def client_causes(client: Object, field: str) -> Iterator[Cause]:
    """Everything wrong with a clientConfig at ``field``."""
    url, service = client.get("url"), client.get("service")
    if (url is None) == (service is None):
        yield cause.required(field, "exactly one of url or service is required")
        return
    if url is not None:
        yield from _url_causes(url, f"{field}.url")
        return
    service = service or {}
    for name in ("name", "namespace"):
        if not service.get(name):
            yield cause.required(f"{field}.service.{name}", f"service {name} is required")
    for complaint in validation_names.why_not_port(service.get("port", 443)):
        yield cause.invalid(f"{field}.service.port", service["port"], f"port is not valid: {complaint}")


def _url_causes(url: str, field: str) -> Iterator[Cause]:
    form = "desired format: https://host[/path]"
    try:
        parts = urlsplit(url)
    except ValueError as error:
        yield cause.required(field, f"url must be a valid URL: {error}; {form}")
        return
    if parts.scheme != "https":
        yield cause.invalid(field, parts.scheme, f"'https' is the only allowed URL scheme; {form}")
    if not parts.hostname:
        yield cause.invalid(field, parts.netloc, f"host must be specified; {form}")
    if parts.username is not None:
        yield cause.invalid(field, parts.username, f"user information is not permitted in the URL; {form}")
    if parts.fragment:
        yield cause.invalid(field, parts.fragment, "fragments are not permitted in the URL")
    if parts.query:
        yield cause.invalid(field, parts.query, "query parameters are not permitted in the URL")


def _webhook_causes(webhook: Object, where: str) -> Iterator[Cause]:
    reviews = webhook.get("admissionReviewVersions") or []
    if not reviews:
        yield cause.required(f"{where}.admissionReviewVersions", "must specify one of v1, v1beta1")
    elif not set(reviews) & set(_KNOWN_REVIEWS):
        yield cause.invalid(f"{where}.admissionReviewVersions", reviews, "must include at least one of v1, v1beta1")
    for key, allowed in _CHOICES.items():
        value = webhook.get(key)
        if value is None and key == "sideEffects":
            yield cause.required(f"{where}.sideEffects", "must specify one of None, NoneOnDryRun")
        elif value is not None and value not in allowed:
            yield cause.not_supported(f"{where}.{key}", value, list(allowed))
    timeout = webhook.get("timeoutSeconds", 10)
    if not 1 <= timeout <= 30:
        detail = "the timeout value must be between 1 and 30 seconds"
        yield cause.invalid(f"{where}.timeoutSeconds", timeout, detail)
    for index, rule in enumerate(webhook.get("rules") or ()):
        yield from rule_causes(rule, f"{where}.rules[{index}]")
    yield from client_causes(webhook.get("clientConfig") or {}, f"{where}.clientConfig")
    yield from webhookconditions.problems(webhook.get("matchConditions") or (), f"{where}.matchConditions")


def rule_causes(rule: Object, where: str) -> Iterator[Cause]:
    """Everything wrong with a RuleWithOperations."""
    for key in ("apiGroups", "apiVersions", "resources"):
        if not rule.get(key):
            yield cause.required(f"{where}.{key}")
    operations = rule.get("operations") or []
    if not operations:
        yield cause.required(f"{where}.operations")
    for index, operation in enumerate(operations):
        if operation not in _OPERATIONS:
            yield cause.not_supported(f"{where}.operations[{index}]", operation, list(_OPERATIONS))
    if rule.get("scope") not in (None, "*", "Cluster", "Namespaced"):
        yield cause.not_supported(f"{where}.scope", rule["scope"], ["*", "Cluster", "Namespaced"])
