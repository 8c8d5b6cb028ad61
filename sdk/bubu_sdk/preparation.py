"""Builds the arguments of the user's function from the environment: configuration, secrets, inputs.

The remaining templates are resolved before references are followed, so that stored data is never interpreted as a
template. Source: SDK contract 11.2–11.4, 15.
"""

from __future__ import annotations

import functools
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bubu_sdk import artifact, decode, hydrate, redaction, reference, schema, secret, template
from bubu_sdk.contract import Environment
from bubu_sdk.errors import EngramError, InputError, Object
from bubu_sdk.hydrate import Hydrator
from bubu_sdk.kube import Cluster, KubeError, NotFoundError
from bubu_sdk.schema import Schemas
from bubu_sdk.secret import Secrets
from bubu_sdk.signature import Signature
from bubu_sdk.storage import Store

if TYPE_CHECKING:
    from bubu_sdk.artifacts import Artifacts


@dataclass(frozen=True)
class Prepared:
    """Everything that the function needs."""

    config: Callable[[], Any]
    secrets: Secrets
    inputs: Any
    schemas: Schemas


@dataclass(frozen=True)
class Sources:
    """The sources of the arguments."""

    environment: Environment
    environ: Mapping[str, str]
    cluster: Cluster
    store: Store | None
    resolves_templates: bool = True
    """False for an Impulse: the operator passes its ``with`` on as it is, so braces in it are data."""
    artifacts: Callable[[], Artifacts] | None = None

    def fetch(self, node: Any, path: str) -> Path:
        """The file or directory of an artifact in the inputs.

        Raises:
            InputError, StorageError: as ``Artifacts.fetch``; names ``path``.
        """
        assert self.artifacts is not None, "inputs with files are those of a step"
        found = artifact.parse(node, path, self.environment.identity.namespace)
        return self.artifacts().fetch(found)

    def hydrator(self) -> Hydrator:
        """A new hydrator, with a full budget for objects from the store."""
        namespace = self.environ.get("BUBU_POD_NAMESPACE") or self.environment.identity.namespace
        return Hydrator(self.store, self._read_kube, namespace=namespace, max_depth=self.environment.max_depth)

    def _read_kube(self, target: reference.KubeReference, path: str) -> str:
        namespace = self.environ.get("BUBU_POD_NAMESPACE") or self.environment.identity.namespace
        plural = "secrets" if target.kind == "Secret" else "configmaps"
        try:
            document = self.cluster.request(
                "GET",
                f"/api/v1/namespaces/{namespace}/{plural}/{urllib.parse.quote(target.name, safe='')}",
                timeout_seconds=self.environment.operation_timeout_seconds,
            )
        except NotFoundError as error:
            raise InputError(f"{path}: {target.kind} {target.name!r} does not exist in {namespace!r}") from error
        except KubeError as error:
            hint = "; give the step an RBAC rule for it" if getattr(error, "code", 0) == 403 else ""
            message = f"{path}: {target.kind} {target.name!r} cannot be read: {error}{hint}"
            raise EngramError(message, retryable=error.retryable, type=InputError.default_type) from error
        data = document.get("data") or {}
        if target.key not in data:
            raise InputError(f"{path}: {target.kind} {target.name!r} has no key {target.key!r}")
        if target.kind != "Secret":
            return str(data[target.key])
        text = _secret_text(data[target.key], path)
        redaction.know([text])
        return text


def prepare_config(sources: Sources, signature: Signature) -> tuple[Callable[[], Any], Secrets]:
    """A function that returns the configuration, and the expanded secrets.

    A typed configuration is decoded now. An untyped one is decoded at the first access: it repeats the inputs, may
    contain templates that the operator left unchanged, and reading its references a second time costs time.

    Raises:
        EngramError: a value is malformed, missing or unreadable.
    """
    secrets = secret.expand(sources.environment.secret_descriptors, sources.environ)
    redaction.know([*secrets.values(), *redaction.credentials_of(sources.environ)])
    later = functools.cache(lambda: _config(sources, signature.config_type))
    if signature.config_type is not Any:
        later()
    return later, secrets


def _config(sources: Sources, target: Any) -> Any:
    environment = sources.environment
    limits = {
        "max_depth": _limit(sources.environ, "BUBU_CONFIG_HYDRATION_MAX_DEPTH", hydrate.MAX_CONFIG_DEPTH),
        "max_nodes": _limit(sources.environ, "BUBU_CONFIG_HYDRATION_MAX_NODES", hydrate.MAX_CONFIG_NODES),
    }
    hydrate.check_config_size(environment.step_config, **limits)
    config: Any = environment.step_config
    if sources.resolves_templates:
        config = template.resolve(config, environment.template_context, "config")
    plain = sources.hydrator().hydrate(config, "config")
    return decode.decode(plain, target, "config", strict=environment.strict_unmarshal)


def prepare_inputs(sources: Sources, signature: Signature, step_run: Object | None) -> tuple[Any, Schemas]:
    """The typed inputs, checked against the template's schema, and the schemas for the output.

    Raises:
        EngramError: a value is malformed, missing or unreadable.
    """
    environment = sources.environment
    inputs: Any = environment.trigger_data
    if not environment.skip_input_templating:
        inputs = template.resolve(inputs, environment.template_context, "inputs")
    plain = sources.hydrator().hydrate(inputs, "inputs")
    if not isinstance(plain, dict):
        raise InputError(f"inputs must be an object, the reference holds {type(plain).__name__}")
    schemas = _schemas(sources, step_run or {})
    schemas.check_inputs(plain)
    target = signature.inputs_type if signature.inputs else Any
    fetch = sources.fetch if sources.artifacts is not None else None
    return decode.decode(plain, target, "inputs", strict=environment.strict_unmarshal, fetch=fetch), schemas


def _schemas(sources: Sources, step_run: Object) -> Schemas:
    environment = sources.environment
    if environment.skip_schema_validation:
        return Schemas(None, None)
    timeout = environment.operation_timeout_seconds
    return schema.load(sources.cluster, environment.identity, step_run, timeout_seconds=timeout)


def _secret_text(encoded: Any, path: str) -> str:
    import base64

    try:
        return base64.b64decode(str(encoded), validate=True).decode()
    except ValueError as error:
        raise InputError(f"{path}: the referenced Secret key is not text") from error


def _limit(environ: Mapping[str, str], name: str, default: int) -> int:
    text = environ.get(name, "").strip()
    return int(text) if text.isdigit() and int(text) > 0 else default
