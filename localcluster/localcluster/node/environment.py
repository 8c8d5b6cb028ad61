"""The environment variables of a container. Pure.

Later entries win over earlier ones:

1. of the machine: ``PATH``, ``HOME``, ``LANG``, ``LC_ALL``, ``TZ``, ``TMPDIR``, ``USER`` of the node, nothing else;
2. of the Pod: ``HOSTNAME``, ``BUBU_CONTAINER_ID`` and the address of the API server (``KUBERNETES_SERVICE_HOST``, …);
3. of the image map entry: inherited names, then ``env``;
4. of the container: ``envFrom``, then ``env`` in order; literals are expanded with all earlier variables;
5. without mount namespaces, ``BUBU_VOLUME_ROOT``: the directory that contains the Pod's mount paths.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from localcluster.node.expansion import expand
from localcluster.node.podfields import HostFacts, field_value, resource_value
from localcluster.node.sources import SourceName, Sources

Object = dict[str, Any]

MACHINE_VARIABLES = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "USER")


def machine_variables(environ: Mapping[str, str], python_directory: str) -> dict[str, str]:
    """The part of the node's environment that a container may see; the node's interpreter is first on ``PATH``."""
    kept = {name: environ[name] for name in MACHINE_VARIABLES if name in environ}
    kept["PATH"] = f"{python_directory}:{kept.get('PATH', '/usr/local/bin:/usr/bin:/bin')}"
    return kept


def service_variables(api_server_url: str) -> dict[str, str]:
    """The variables in which clients inside a cluster look for the address of the API server."""
    parts = urlsplit(api_server_url)
    host, port = parts.hostname or "127.0.0.1", str(parts.port or 443)
    address = f"[{host}]" if ":" in host else host
    return {
        "KUBERNETES_SERVICE_HOST": host,
        "KUBERNETES_SERVICE_PORT": port,
        "KUBERNETES_SERVICE_PORT_HTTPS": port,
        "KUBERNETES_PORT": f"tcp://{address}:{port}",
    }


def container_variables(
    pod: Object, container: Object, sources: Sources, host: HostFacts, base: Mapping[str, str]
) -> dict[str, str]:
    """``base`` with the container's own variables, which win.

    Raises:
        MissingSourceError: a Secret, ConfigMap or key that is not optional is missing.
        PodFieldError: a reference to a field that does not exist.
    """
    variables = dict(base)
    for entry in container.get("envFrom") or []:
        variables.update(_imported(entry, sources))
    for variable in container.get("env") or []:
        value = _value(pod, container, variable, sources, host, variables)
        if value is not None:
            variables[variable["name"]] = value
    return variables


def _imported(entry: Object, sources: Sources) -> dict[str, str]:
    imported: dict[str, str] = {}
    for field, plural in (("configMapRef", "configmaps"), ("secretRef", "secrets")):
        reference = entry.get(field)
        if reference:
            name = SourceName(plural, reference["name"])
            entries = sources.entries(name, optional=bool(reference.get("optional")))
            prefix = entry.get("prefix") or ""
            imported.update({prefix + key: _text(value) for key, value in entries.items()})
    return imported


def _value(
    pod: Object,
    container: Object,
    variable: Object,
    sources: Sources,
    host: HostFacts,
    variables: Mapping[str, str],
) -> str | None:
    origin = variable.get("valueFrom")
    if not origin:
        return expand(str(variable.get("value") or ""), variables)
    if origin.get("fieldRef"):
        return field_value(pod, origin["fieldRef"]["fieldPath"], host)
    if origin.get("resourceFieldRef"):
        reference = origin["resourceFieldRef"]
        named = reference.get("containerName") or container["name"]
        subject = next((entry for entry in pod["spec"]["containers"] if entry["name"] == named), container)
        return resource_value(subject, reference, host)
    for field, plural in (("configMapKeyRef", "configmaps"), ("secretKeyRef", "secrets")):
        reference = origin.get(field)
        if reference:
            name = SourceName(plural, reference["name"])
            value = sources.entry(name, reference["key"], optional=bool(reference.get("optional")))
            return None if value is None else _text(value)
    return ""


def _text(value: bytes) -> str:
    # Surrogate escapes pass bytes that are not UTF-8 to the process unchanged.
    return value.decode("utf-8", "surrogateescape")
