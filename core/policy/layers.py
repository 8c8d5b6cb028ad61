"""The execution policy of one step's workload: layers from the operator's settings to the StepRun, in one record.

Later layers win: operator, EngramTemplate, Engram policy, Engram overrides, Story, step, StepRun. ``nodeSelector`` and
secrets are merged key by key, resources and probes field by field; everything else is replaced as a whole. Every value
records the layer that it comes from. All problems of all layers are reported together. Pure. Source: StepRun contract
10, operator contract 4; general settings never win over more specific ones (in the reference, a storage policy of the
Story wins over the step's own).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from core.api.objects import ReadOnlyObject
from core.api.quantity import parse_quantity
from core.policy.bounds import PolicyBounds
from core.policy.settings import OperatorSettings, PullPolicy, RestartPolicy
from core.policy.sources import LISTENER_TEMPLATE, TEMPLATE, Layer, Sources, layers_of, layers_of_impulse


class PolicyError(Exception):
    """The layers have invalid values; ``problems`` name layer, field and remedy of each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class ExecutionPolicy:
    """The resolved policy of one workload. Optional Kubernetes structures are wire dicts, None when no layer sets
    them.
    """

    image: str
    image_pull_policy: str
    resources: Mapping[str, str]
    """``cpuRequest``, ``cpuLimit``, ``memoryRequest``, ``memoryLimit``, and ``ephemeralStorage…``; absent means "not
    set".
    """
    run_as_non_root: bool
    read_only_root_filesystem: bool
    allow_privilege_escalation: bool
    run_as_user: int | None
    drop_capabilities: tuple[str, ...]
    backoff_limit: int
    ttl_seconds_after_finished: int | None
    """None: the Job is kept as long as its StepRun (a negative number in a layer)."""
    restart_policy: str
    node_selector: Mapping[str, str]
    tolerations: tuple[ReadOnlyObject, ...]
    affinity: ReadOnlyObject | None
    cache: ReadOnlyObject | None
    max_inline_size_bytes: int
    debug: bool
    storage: ReadOnlyObject | None
    """A storage policy block: ``s3`` or ``file`` and ``timeoutSeconds``."""
    probes: Mapping[str, ReadOnlyObject]
    secrets: Mapping[str, str]
    """Logical name → Secret name."""
    service_account_name: str
    provenance: Mapping[str, str]
    """Setting → the layer of its value; each key of merged settings separately: ``resources.cpuLimit``,
    ``secrets.api``.
    """
    notes: tuple[str, ...] = ()
    """Values of layers that are not applied: layer, field, the value that is used, remedy."""


def resolve_policy(sources: Sources) -> ExecutionPolicy:
    """Combine the layers of a step.

    Raises:
        PolicyError: with every problem.
    """
    bounds = PolicyBounds(sources.settings, sources.template, sources.namespace)
    no_image = f"{TEMPLATE} spec.image: is empty; name the image that runs the Engram"
    return _resolved(layers_of(sources), bounds, no_image)


def resolve_impulse_policy(
    settings: OperatorSettings, template: ReadOnlyObject, impulse: ReadOnlyObject
) -> ExecutionPolicy:
    """Combine the layers of a listener. Settings of Jobs have the operator's values.

    Raises:
        PolicyError: with every problem.
    """
    bounds = PolicyBounds(settings, template, impulse["metadata"]["namespace"])
    no_image = (
        f"{LISTENER_TEMPLATE} spec.image: is empty; name the image of the listener, "
        "or set images.default-impulse in the operator's ConfigMap"
    )
    return _resolved(layers_of_impulse(settings, template, impulse), bounds, no_image)


def _resolved(layers: Iterable[Layer], bounds: PolicyBounds, no_image: str) -> ExecutionPolicy:
    folded: dict[str, Any] = {}
    provenance: dict[str, str] = {}
    problems: list[str] = []
    for layer in layers:
        for key, asked in layer.values.items():
            value = None if asked is None else bounds.allowed(layer, key, asked)
            if value is None:
                continue
            problems += [f"{layer.label}: {problem}" for problem in _problems(key, value)]
            folded[key] = _folded(key, folded.get(key), value)
            provenance |= dict.fromkeys(_settings_named(key, value), layer.label)
    if not folded.get("image"):
        problems.append(no_image)
    problems += bounds.problems(folded.get("secrets") or {})
    if problems:
        raise PolicyError(problems)
    return replace(_policy(folded, provenance), notes=tuple(bounds.notes))


_MERGED: Final = frozenset({"resources", "node_selector", "secrets", "probes"})


def _settings_named(key: str, value: Any) -> list[str]:
    return [f"{key}.{part}" for part in value] if key in _MERGED else [key]


def _folded(key: str, below: Any, value: Any) -> Any:
    """``value``, combined with the value of the layers below."""
    if key in _MERGED:
        return {**(below or {}), **value}
    if key == "storage" and not value.get("s3") and not value.get("file"):
        # A block with only timeoutSeconds changes the timeout of the store from the layers below, and keeps that store.
        return {**below, **value} if below else None
    return value


def _problems(key: str, value: Any) -> list[str]:
    match key:
        case "run_as_user" if not isinstance(value, int) or value <= 0:
            return [f"runAsUser {value!r} must be greater than 0"]
        case "restart_policy" if value not in set(RestartPolicy):
            return [f"restartPolicy {value!r} is not possible for a Job; use Never or OnFailure"]
        case "image_pull_policy" if value not in set(PullPolicy):
            return [f"imagePullPolicy {value!r} must be Always, Never or IfNotPresent"]
        case "backoff_limit" if not isinstance(value, int) or value < 0:
            return [f"backoffLimit {value!r} must be a whole number of at least 0"]
        case "storage":
            return _storage_problems(value)
        case "resources":
            return [
                f"resources.{name}: {text!r} is not a quantity" for name, text in value.items() if not _quantity(text)
            ]
        case _:
            return []


def _quantity(text: Any) -> bool:
    try:
        parse_quantity(str(text))
    except ValueError:
        return False
    return True


def _storage_problems(storage: ReadOnlyObject) -> list[str]:
    problems = []
    if storage.get("s3") and storage.get("file"):
        problems.append("storage: both s3 and file are set; keep one")
    if storage.get("s3") and not storage["s3"].get("bucket"):
        problems.append("storage.s3.bucket: is empty; name the bucket")
    return problems


def _policy(folded: Mapping[str, Any], provenance: Mapping[str, str]) -> ExecutionPolicy:
    ttl_seconds: int = folded["ttl_seconds_after_finished"]
    return ExecutionPolicy(
        image=folded["image"],
        image_pull_policy=folded["image_pull_policy"],
        resources=folded.get("resources", {}),
        run_as_non_root=folded["run_as_non_root"],
        read_only_root_filesystem=folded["read_only_root_filesystem"],
        allow_privilege_escalation=folded["allow_privilege_escalation"],
        run_as_user=folded.get("run_as_user"),
        drop_capabilities=folded["drop_capabilities"],
        backoff_limit=folded["backoff_limit"],
        ttl_seconds_after_finished=ttl_seconds if ttl_seconds >= 0 else None,
        restart_policy=folded["restart_policy"],
        node_selector=folded.get("node_selector", {}),
        tolerations=folded.get("tolerations", ()),
        affinity=folded.get("affinity"),
        cache=folded.get("cache"),
        max_inline_size_bytes=folded["max_inline_size_bytes"],
        debug=bool(folded.get("debug", False)),
        storage=folded.get("storage"),
        probes={name: probe for name, probe in folded.get("probes", {}).items() if probe},
        secrets=folded.get("secrets", {}),
        service_account_name=folded.get("service_account_name", ""),
        provenance=provenance,
    )
