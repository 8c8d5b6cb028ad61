"""Checks of an Engram or Impulse with its template: existence, version, modes, configuration, secrets.

Source: admission contract 5 and 6.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from core.api.objects import ReadOnlyObject
from core.api.resource import SECRET, Resource
from core.api.text import text
from webhooks.cluster_view import ClusterView, Unseen
from webhooks.finding import CauseType, Finding, Rule, Severity
from webhooks.validate import payload, reference, schema
from webhooks.validate.change import namespace_of
from webhooks.validate.reference import Link

NAME: Final = Rule("definition/template-name", "5", CauseType.REQUIRED)
MISSING: Final = Rule("definition/template-missing", "3.9", CauseType.NOT_FOUND)
VERSION: Final = Rule("definition/template-version", "3.8")
MODE: Final = Rule("definition/mode", "5")
MODE_ASSUMED: Final = Rule("definition/mode-assumed", "5", severity=Severity.WARNING)
WITH_SIZE: Final = Rule("definition/with-size", "2")
WITH: Final = Rule("definition/with", "5")
WITH_UNKNOWN: Final = Rule("definition/with-unknown", "5", severity=Severity.WARNING)
WITH_ABSENT: Final = Rule("definition/with-absent", "5", severity=Severity.WARNING)
REFERENCE_FORM: Final = Rule("definition/reference-form", "3.3", severity=Severity.WARNING)
REFERENCE_NAMESPACE: Final = Rule("definition/reference-namespace", "3.3", CauseType.FORBIDDEN)
SECRET_REQUIRED: Final = Rule("definition/secret-required", "5", CauseType.REQUIRED)
SECRET_UNKNOWN: Final = Rule("definition/secret-unknown", "5")
SECRET_BLANK: Final = Rule("definition/secret-blank", "5", severity=Severity.WARNING)
SECRET_MISSING: Final = Rule("definition/secret-missing", "3.9", CauseType.NOT_FOUND, Severity.WARNING)


def find_template(
    new: ReadOnlyObject, source: Resource, target: Resource, world: ClusterView
) -> tuple[Link, ReadOnlyObject | Unseen]:
    """The template of an object of kind ``source``."""
    wanted = reference.link(source, namespace_of(new), target, new["spec"].get("templateRef") or {})
    return wanted, reference.find(wanted, world) if wanted.name else Unseen.UNKNOWN


def check(
    new: ReadOnlyObject, wanted: Link, template: ReadOnlyObject | Unseen, world: ClusterView
) -> Iterator[Finding]:
    """Everything in ``new`` that its template does not allow, except the mode."""
    given = new["spec"].get("templateRef") or {}
    if not wanted.name:
        yield NAME.at("spec.templateRef.name", "must not be blank", f"name one of kind {wanted.target.kind}")
    yield from reference.missing(MISSING, wanted, template, "spec.templateRef.name")
    yield from reference.version_mismatch(VERSION, given, wanted, template, "spec.templateRef.version")
    yield from check_payload(new, "with", wanted.source, world)
    if isinstance(template, Unseen):
        return
    described = template.get("spec") or {}
    configured = new["spec"].get("with")
    rule = WITH_ABSENT if configured is None else WITH
    yield from schema.check_document(rule, described.get("configSchema"), configured, "spec.with")
    names = described.get("configSchema"), configured, "spec.with", f"the configSchema of {wanted}"
    yield from schema.check_names(WITH_UNKNOWN, *names, described.get("inputSchema"))
    yield from _secrets(new, wanted, described.get("secretSchema") or {}, world)


def check_mode(
    given: str | None, assumed: str, template: ReadOnlyObject | Unseen, path: str, *, if_absent: Rule = MODE_ASSUMED
) -> Iterator[Finding]:
    """A finding if the template does not support the mode; ``assumed`` is the default mode.

    ``if_absent`` is the rule that a default mode breaks.
    """
    if isinstance(template, Unseen):
        return
    supported = (template.get("spec") or {}).get("supportedModes") or ()
    if (given or assumed) not in supported:
        remedy = f"use {' or '.join(supported) or 'another template'}"
        if given:
            yield MODE.at(path, f"the template does not support {given!r}", remedy)
        else:
            yield if_absent.at(path, f"is {assumed!r} when absent, which the template does not support", remedy)


def check_payload(new: ReadOnlyObject, key: str, source: Resource, world: ClusterView) -> Iterator[Finding]:
    """Checks the size of ``spec[key]``, and the references in it."""
    value, path = new["spec"].get(key), f"spec.{key}"
    yield from payload.check_size(WITH_SIZE, value, path, world.settings.engram.max_inline_size_bytes)
    yield from payload.check_references(
        REFERENCE_FORM, REFERENCE_NAMESPACE, value, path, source, namespace_of(new), world
    )


def _secrets(new: ReadOnlyObject, wanted: Link, declared: ReadOnlyObject, world: ClusterView) -> Iterator[Finding]:
    given = new["spec"].get("secrets") or {}
    for key, definition in declared.items():
        if (definition or {}).get("required") is True and key not in given:
            yield SECRET_REQUIRED.at(f"spec.secrets.{key}", f"is required by {wanted}", "give the name of a Secret")
    for key, name in given.items():
        path = f"spec.secrets.{key}"
        if key not in declared:
            known = f"the template declares: {', '.join(declared)}" if declared else "remove it"
            yield SECRET_UNKNOWN.at(path, f"{wanted} declares no secret {key!r}", known)
        elif not text(name):
            yield SECRET_BLANK.at(path, "must name a Secret", "give the name of a Secret")
        elif world.find(SECRET, namespace_of(new), text(name)) is Unseen.MISSING:
            yield SECRET_MISSING.at(path, f"Secret {text(name)} does not exist in this namespace", "create it")
