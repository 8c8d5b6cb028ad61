"""Reads the operator's ConfigMap and how the operator was started, and shows its settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cli.configured import ConfigRow, Configuration, OperatorProcess, chosen, configuration_of
from cli.console import Console
from cli.exit_code import ExitCode
from cli.options import CommonOptions
from cli.problem import CommandError, UsageError
from cli.render.output import render
from cli.render.settings import details, rows_table
from cli.session import Session, open_session
from core.api.objects import Object
from core.api.resource import CONFIG_MAP, DEPLOYMENT
from core.kube.errors import ConfigError, KubeError, NotFoundError, TransportError
from deployment.permissions.names import CONFIG_NAME, OPERATOR_NAMESPACE, Installation

_FORMATS = ("table", "wide", "json", "jsonl", "yaml")


@dataclass(frozen=True, slots=True)
class FoundConfiguration:
    """``why_unknown``: why the ConfigMap could not be read; then all values are defaults."""

    configuration: Configuration
    config_map: Object | None
    place: str
    why_unknown: str = ""


async def show_configuration(
    options: CommonOptions, keys: Sequence[str], *, changed: bool, width: int
) -> ExitCode | None:
    """Print the settings; the code of the command, if it is not that of success.

    Raises:
        UsageError: there is no such key or output format.
    """
    if options.output not in _FORMATS and not options.output.startswith("jsonpath="):
        raise UsageError(f"config has no output format {options.output!r}", remedy=f"use {', '.join(_FORMATS)}")
    console = Console(options)
    found = await _found(options)
    rows, missing = chosen(found.configuration.rows, keys, changed=changed)
    if missing:
        raise UsageError("\n".join(missing), remedy="see all keys with: bobrapet config")
    if found.why_unknown:
        console.note(f"no cluster is used, so these are the defaults: {found.why_unknown}")
    if options.output not in ("table", "wide"):
        console.result(render([_document(row) for row in rows], options.output, single=False))
    elif keys and not any(key.endswith(".") for key in keys):
        console.result("\n\n".join(details(row, width) for row in rows))
    else:
        console.result(rows_table(rows, wide=options.output == "wide", no_headers=options.no_headers))
    if not found.configuration.is_refused:
        return None
    for row in found.configuration.rows:
        if row.error:
            console.note(f"refused: {row.key}: {row.error}")
    console.note(
        f"the operator refuses {found.place} and keeps the settings that it had before (after a restart: the defaults)"
    )
    return ExitCode.REJECTED


async def _found(options: CommonOptions) -> FoundConfiguration:
    try:
        async with open_session(options) as session:
            return await find_configuration(session)
    except (CommandError, ConfigError, TransportError) as error:
        if options.kubeconfig or options.context or options.local or options.data:
            raise  # the user has named a cluster
        return FoundConfiguration(configuration_of({}), None, "", str(error))


async def find_configuration(session: Session, namespace: str = "") -> FoundConfiguration:
    """
    Raises:
        KubeError: the ConfigMap cannot be read, although a ConfigMap may exist.
    """
    namespace = namespace or session.options.namespace or OPERATOR_NAMESPACE
    process = await _process(session, namespace)
    namespace = process.flag("--config-namespace") or namespace
    name = process.flag("--config-name") or CONFIG_NAME
    try:
        config_map = await session.client.get(CONFIG_MAP, name, namespace)
    except NotFoundError:
        config_map = None
    data: Mapping[str, str] = (config_map or {}).get("data") or {}
    return FoundConfiguration(configuration_of(data, process), config_map, f"ConfigMap {namespace}/{name}")


async def _process(session: Session, namespace: str) -> OperatorProcess:
    """Flags and variables in the operator's Deployment; nothing if there is none that the user may read."""
    if session.embedded is not None:
        return OperatorProcess()
    name = Installation(namespace).account("controller-manager")
    try:
        deployment = await session.client.get(DEPLOYMENT, name, namespace)
    except KubeError:
        return OperatorProcess()  # only a few values depend on it
    return process_of(deployment)


def process_of(deployment: Object) -> OperatorProcess:
    """The flags and variables of the first container."""
    containers = deployment["spec"]["template"]["spec"]["containers"]
    environment = {each["name"]: str(each.get("value") or "") for each in containers[0].get("env") or ()}
    arguments = [f"--{each.lstrip('-')}" for each in containers[0].get("args") or ()]
    return OperatorProcess(arguments, environment)


def _document(row: ConfigRow) -> Object:
    document: Object = {
        "key": row.key,
        "value": row.value,
        "default": row.default,
        "source": row.source.value,
        "changeNeeds": row.need.value,
        "accepted": row.accepted,
        "description": row.does,
    }
    return document | {name: text for name, text in (("problem", row.error), ("warning", row.warning)) if text}
