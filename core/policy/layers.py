"""The execution policy of one step's workload: layers from the operator's settings to the StepRun, in one record.

Later layers win: operator, EngramTemplate, Engram policy, Engram overrides, Story, step, StepRun. ``nodeSelector``,
secrets and extended resources are merged key by key, resources and probes field by field, volumes by name; image pull
secrets are added up; everything else is replaced as a whole. A request above its limit, which Kubernetes refuses, gets
the limit's value if the limit is of a later layer, and the limit that of the request if it is the other way round.
Every value records the layer that it comes from. All problems of all layers are reported together. Pure. Source:
StepRun contract 10, operator contract 4; general settings never win over more specific ones (in the reference, a
storage policy of the Story wins over the step's own).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from core.api.objects import ReadOnlyObject
from core.api.quantity import Quantity, parse_quantity
from core.policy.bounds import PolicyBounds
from core.policy.classes import CLASSES, is_class_name
from core.policy.credentials import OPERATORS_BLOCKS
from core.policy.extended import extended_problems
from core.policy.settings import OperatorSettings, PullPolicy, RestartPolicy
from core.policy.sources import LISTENER_TEMPLATE, OPERATOR, TEMPLATE, Layer, Sources, layers_of, layers_of_impulse
from core.policy.volumes import SHARED_MEMORY_PATH, MountedPath, overlaps, size_problem, volume_problems
from core.policy.warm import WarmPolicy, warm_policy, warm_problems


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
    """A storage policy block: ``s3``, ``file`` or, from the operator's settings, ``gcs`` or ``azure``; and
    ``timeoutSeconds``.
    """
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
    extended_resources: Mapping[str, str] = field(default_factory=dict)
    """Name → amount, which is request and limit; without those that a layer has set to zero."""
    volumes: tuple[ReadOnlyObject, ...] = ()
    """Each with ``name``, ``mountPath`` and one of the sources of ``core.policy.volumes``."""
    shared_memory: str = ""
    """Size of ``/dev/shm``; empty: what the runtime gives."""
    priority_class_name: str = ""
    runtime_class_name: str = ""
    image_pull_secrets: tuple[str, ...] = ()
    warm: WarmPolicy | None = None
    """Workers that are kept ready; None: each attempt is a Job."""


def resolve_policy(sources: Sources) -> ExecutionPolicy:
    """Combine the layers of a step.

    Raises:
        PolicyError: with every problem.
    """
    bounds = PolicyBounds(sources.settings, sources.template, sources.namespace)
    no_image = (
        f"{TEMPLATE} spec.image: is empty; name the image that runs the Engram, "
        "or set images.default-engram in the operator's ConfigMap"
    )
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
    ranks: dict[str, int] = {}
    for layer in layers:
        ranks[layer.label] = len(ranks)
        for key, asked in layer.values.items():
            value = None if asked is None else bounds.allowed(layer, key, asked)
            if value is None:
                continue
            if found := _problems(key, value) or _reserved(layer, key, value):
                problems += [f"{layer.label}: {problem}" for problem in found]
                continue
            keyed = _keyed(key, value)
            folded[key] = _folded(key, folded.get(key), keyed)
            provenance |= dict.fromkeys(_settings_named(key, keyed), layer.label)
    problems += _reconciled(folded.get("resources") or {}, provenance, ranks)
    if not folded.get("image"):
        problems.append(no_image)
    problems += bounds.problems(folded.get("secrets") or {})
    problems += _overlapping(folded, provenance, bounds.secret_mounts(folded.get("secrets") or {}))
    if problems:
        raise PolicyError(problems)
    return replace(_policy(folded, provenance), notes=tuple(bounds.notes))


_MERGED: Final = frozenset(
    {"resources", "node_selector", "secrets", "probes", "extended_resources", "volumes", "image_pull_secrets", "warm"}
)


def _keyed(key: str, value: Any) -> Any:
    """A valid value in the form in which layers are merged: lists by name."""
    match key:
        case "volumes":
            return {volume["name"]: volume for volume in value}
        case "image_pull_secrets":
            return dict.fromkeys(value, True)
        case "extended_resources":
            return {name: str(amount) for name, amount in value.items()}
        case "warm":
            return {name: part for name, part in value.items() if part is not None}
        case _:
            return value


def _settings_named(key: str, value: Any) -> list[str]:
    return [f"{key}.{part}" for part in value] if key in _MERGED else [key]


def _folded(key: str, below: Any, value: Any) -> Any:
    """``value``, combined with the value of the layers below."""
    if key in _MERGED:
        return {**(below or {}), **value}
    if key == "storage" and not any(value.get(block) for block in ("s3", "file", *OPERATORS_BLOCKS)):
        # A block with only timeoutSeconds changes the timeout of the store from the layers below, and keeps that store.
        return {**below, **value} if below else None
    return value


def requests_above_limits(amounts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The request and the limit, as fields of ``resources``, of each amount of which more is requested than allowed."""
    for request in amounts:
        limit = request.removesuffix("Request") + "Limit"
        wanted, allowed = _amount(amounts[request]), _amount(amounts.get(limit))
        if request.endswith("Request") and wanted is not None and allowed is not None and wanted > allowed:
            yield request, limit


def _reconciled(amounts: Any, provenance: dict[str, str], ranks: Mapping[str, int]) -> list[str]:
    """Make requests fit their limits in ``amounts``; the later layer decides. Returns contradictions in one layer.

    The operator's settings contradict themselves when one of them is set below the default of another: the limit wins.
    """
    problems = []
    for request, limit in list(requests_above_limits(amounts)):
        of_request, of_limit = (provenance[f"resources.{name}"] for name in (request, limit))
        if of_request == of_limit != OPERATOR:
            problems.append(
                f"{of_limit}: resources.{request}: {amounts[request]} is more than {limit}, {amounts[limit]}; "
                "request less, or raise the limit"
            )
            continue
        kept, adapted = (limit, request) if ranks[of_limit] >= ranks[of_request] else (request, limit)
        amounts[adapted] = amounts[kept]
        provenance[f"resources.{adapted}"] = provenance[f"resources.{kept}"]
    return problems


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
                f"resources.{name}: {text!r} is not a quantity" for name, text in value.items() if _amount(text) is None
            ]
        case "extended_resources":
            return [str(problem) for problem in extended_problems(value, "resources.extended")]
        case "volumes":
            return [str(problem) for problem in volume_problems(value, "volumes")]
        case "shared_memory":
            return [str(problem) for problem in size_problem(value, "sharedMemory", zero=True)]
        case "priority_class_name" | "runtime_class_name" if not is_class_name(value):
            return [f"{CLASSES[key].field}: {value!r} is not the name of a class; use the name of an existing one"]
        case "warm":
            return [str(problem) for problem in warm_problems(value, "warm")]
        case "image_pull_secrets" if not _are_names(value):
            return ["imagePullSecrets: must be a list of names; write the names of Secrets, each after a dash"]
        case _:
            return []


def _reserved(layer: Layer, key: str, value: Any) -> list[str]:
    """Problems of blocks that only the operator's settings may have; no schema checks the branches of a step."""
    if key != "storage" or layer.label == OPERATOR:
        return []
    return [
        f"storage.{block}: only the operator's own store can be of this kind; remove it, or describe another with s3"
        for block in OPERATORS_BLOCKS
        if block in value
    ]


def _are_names(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(name, str) and name for name in value)


def _amount(text: Any) -> Quantity | None:
    """None if it is not a quantity."""
    try:
        return parse_quantity(str(text))
    except ValueError:
        return None


def _storage_problems(storage: ReadOnlyObject) -> list[str]:
    problems = []
    if storage.get("s3") and storage.get("file"):
        problems.append("storage: both s3 and file are set; keep one")
    if storage.get("s3") and not storage["s3"].get("bucket"):
        problems.append("storage.s3.bucket: is empty; name the bucket")
    return problems


def _overlapping(
    folded: Mapping[str, Any], provenance: Mapping[str, str], secrets: tuple[MountedPath, ...]
) -> list[str]:
    """Problems of mounts of different layers, and of the operator's own mounts."""
    own = list(secrets)
    file = (folded.get("storage") or {}).get("file") or {}
    if file.get("path"):
        own.append(MountedPath(file["path"], "storage.file.path"))
    wanted = [
        MountedPath(volume["mountPath"], f"{provenance[f'volumes.{name}']}: volumes[{name}].mountPath")
        for name, volume in (folded.get("volumes") or {}).items()
    ]
    if _size(folded.get("shared_memory")):
        wanted.append(MountedPath(SHARED_MEMORY_PATH, f"{provenance['shared_memory']}: sharedMemory"))
    return [str(problem) for problem in overlaps(wanted, tuple(own))]


def _size(shared_memory: Any) -> str:
    """The size as text; empty when it is zero or not set."""
    return str(shared_memory) if shared_memory is not None and parse_quantity(str(shared_memory)).amount else ""


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
        extended_resources={
            name: amount
            for name, amount in folded.get("extended_resources", {}).items()
            if parse_quantity(amount).amount
        },
        volumes=tuple(folded.get("volumes", {}).values()),
        shared_memory=_size(folded.get("shared_memory")),
        priority_class_name=folded.get("priority_class_name", ""),
        runtime_class_name=folded.get("runtime_class_name", ""),
        image_pull_secrets=tuple(folded.get("image_pull_secrets", {})),
        warm=warm_policy(folded.get("warm")),
    )
