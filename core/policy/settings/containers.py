"""Settings of containers of steps and Impulses, their streams and their store. Source: operator contract 3."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from core.policy import config_values as read
from core.policy.config_values import KEYED_TOLERATIONS
from core.policy.setting import NEW, SettingRow, setting


class StorageProvider(StrEnum):
    NONE = ""
    S3 = "s3"
    GCS = "gcs"
    AZURE = "azure"
    FILE = "file"


class LoweredBy(StrEnum):
    """The definitions that may set lower security than the layer below them."""

    NOBODY = "nobody"
    TEMPLATES = "templates"
    EVERYBODY = "everybody"


@dataclass(frozen=True, slots=True)
class ResourceSettings:
    """Kubernetes quantities; empty means "not set"."""

    cpu_request: str = ""
    cpu_limit: str = ""
    memory_request: str = ""
    memory_limit: str = ""


def resource_rows(kind: str, which: str) -> Mapping[str, SettingRow]:
    """The keys ``resources.<kind>.…``; ``which`` says of which containers, with ``<name>`` for the end of the key."""
    words = {
        "cpu_request": "CPU request",
        "cpu_limit": "CPU limit",
        "memory_request": "Memory request",
        "memory_limit": "Memory limit",
    }
    return {
        field: SettingRow(
            f"resources.{kind}.{(name := field.replace('_', '-'))}",
            read.quantity,
            f"{word} of containers {which.replace('<name>', name)}.",
            NEW,
        )
        for field, word in words.items()
    }


@dataclass(frozen=True, slots=True)
class SecuritySettings:
    run_as_non_root: bool = setting(
        "security.run-as-non-root",
        True,
        read.boolean,
        "`runAsNonRoot` of containers; also a minimum that Engrams, Stories and steps cannot lower.",
        NEW,
    )
    read_only_root_filesystem: bool = setting(
        "security.read-only-root-filesystem", True, read.boolean, "`readOnlyRootFilesystem`, likewise.", NEW
    )
    allow_privilege_escalation: bool = setting(
        "security.allow-privilege-escalation", False, read.boolean, "`allowPrivilegeEscalation`, likewise.", NEW
    )
    run_as_user: int | None = setting(
        "security.run-as-user",
        1000,
        read.integer(1, read.INT64_MAX),
        "User ID of containers, and `fsGroup` of their volumes.",
        NEW,
    )
    drop_capabilities: tuple[str, ...] = setting(
        "security.drop-capabilities", ("ALL",), read.capabilities, "Linux capabilities that containers must drop.", NEW
    )
    service_account_name: str = setting(
        "security.service-account-name",
        "",
        read.text,
        "ServiceAccount of all steps; empty: the one of `controller.runner-identity`.",
        NEW,
    )
    lowered_by: LoweredBy = setting(
        "security.lowered-by",
        LoweredBy.TEMPLATES,
        read.one_of(LoweredBy),
        "Who may use weaker security settings than the layer below: templates, nobody, everybody.",
    )
    tolerations: tuple[str, ...] = setting(
        "security.tolerations",
        (KEYED_TOLERATIONS,),
        read.tolerations,
        "Taints that workloads may tolerate; `keyed`: every toleration that names a key.",
    )
    """Or one of the words of ``config_values``."""
    priority_classes: tuple[str, ...] = setting(
        "security.priority-classes",
        (),
        read.class_patterns,
        "PriorityClasses that definitions other than templates may name.",
    )
    runtime_classes: tuple[str, ...] = setting(
        "security.runtime-classes",
        (),
        read.class_patterns,
        "RuntimeClasses that definitions other than templates may name.",
    )


@dataclass(frozen=True, slots=True)
class ScriptSettings:
    """Script steps, whose image the author of the Story chooses."""

    images: tuple[str, ...] = setting(
        "scripts.images", (), read.image_patterns, "Images that [script steps](steps.md#which-images) may use."
    )
    default_image: str = setting(
        "scripts.default-image", "", read.text, "Image of script steps that name none; empty: they must name one."
    )


@dataclass(frozen=True, slots=True)
class EngramSettings:
    """Defaults rendered into the environment of every Engram container."""

    max_inline_size_bytes: int = setting(
        "engram.default-max-inline-size",
        4096,
        read.integer(1),
        "An output above this size goes into the object store. `maxInlineSize` of an Engram or step has priority.",
        NEW,
    )
    max_recursion_depth: int = setting(
        "engram.default-max-recursion-depth",
        32,
        read.integer(1),
        "Nesting in which references to stored data are followed.",
        NEW,
    )
    grpc_port: int = setting(
        "engram.default-grpc-port",
        50051,
        read.integer(1, 65535),
        "Port that containers may listen on, as `BUBU_GRPC_PORT`.",
        NEW,
    )
    storage_timeout_seconds: int = setting(
        "engram.default-storage-timeout-seconds",
        300,
        read.integer(1),
        "Time limit of one operation on the object store.",
        NEW,
    )
    graceful_shutdown_timeout_seconds: int = setting(
        "engram.default-graceful-shutdown-timeout-seconds",
        20,
        read.integer(1),
        "How long steps of a canceled run may finish their work; containers that start later get the new value.",
    )
    termination_grace_period_seconds: int = setting(
        "engram.default-termination-grace-period-seconds",
        30,
        read.integer(1),
        "Time between SIGTERM and SIGKILL of a Pod.",
        NEW,
    )
    max_recv_msg_bytes: int = setting(
        "engram.default-max-recv-msg-bytes",
        10_485_760,
        read.integer(1),
        "Largest received message of the streams of realtime steps.",
        NEW,
    )
    max_send_msg_bytes: int = setting(
        "engram.default-max-send-msg-bytes",
        10_485_760,
        read.integer(1),
        "Largest sent message of the streams of realtime steps.",
        NEW,
    )
    dial_timeout_seconds: int = setting(
        "engram.default-dial-timeout-seconds",
        10,
        read.integer(1),
        "Time to connect of the streams of realtime steps.",
        NEW,
    )
    channel_buffer_size: int = setting(
        "engram.default-channel-buffer-size",
        16,
        read.integer(1),
        "Messages that an SDK holds of the streams of realtime steps; these get at least 64.",
        NEW,
    )
    reconnect_max_retries: int = setting(
        "engram.default-reconnect-max-retries",
        10,
        read.integer(0),
        "Attempts to connect again, for batch steps; realtime steps try without end.",
        NEW,
    )
    reconnect_base_backoff_millis: int = setting(
        "engram.default-reconnect-base-backoff-millis",
        500,
        read.integer(1),
        "First pause before an attempt to connect again; realtime steps pause 100 ms at most.",
        NEW,
    )
    reconnect_max_backoff_seconds: int = setting(
        "engram.default-reconnect-max-backoff-seconds",
        30,
        read.integer(1),
        "Longest such pause; realtime steps pause 2 s at most.",
        NEW,
    )
    hang_timeout_seconds: int = setting(
        "engram.default-hang-timeout-seconds",
        0,
        read.integer(0),
        "A client that receives nothing from the hub for this time opens another connection; 0: never; realtime"
        " steps then use 60 s.",
        NEW,
    )
    message_timeout_seconds: int = setting(
        "engram.default-message-timeout-seconds",
        30,
        read.integer(1),
        "Time limit of one message of the streams of realtime steps; these get at least 600 s.",
        NEW,
    )
    grpc_heartbeat_interval_seconds: int = setting(
        "engram.default-grpc-heartbeat-interval-seconds",
        10,
        read.integer(1),
        "Pause between two heartbeats on the data call of a realtime step.",
        NEW,
    )


@dataclass(frozen=True, slots=True)
class TransportSettings:
    """Streams of realtime steps."""

    hub_endpoint: str = setting(
        "controller.transport.hub-endpoint",
        "",
        read.endpoint,
        "The hub, as containers dial it; empty: `bobrapet-hub.<operator's namespace>.svc:9000`.",
        NEW,
    )
    default_tls_secret: str = setting(
        "controller.transport.grpc.default-tls-secret",
        "",
        read.text,
        "TLS Secret of Engrams that name none; used in namespaces where it exists.",
        NEW,
    )
    heartbeat_interval: timedelta = setting(
        "controller.transport.heartbeat-interval",
        timedelta(seconds=30),
        read.duration(timedelta(seconds=1)),
        "The same on its control call.",
        NEW,
    )
    heartbeat_timeout: timedelta = setting(
        "controller.transport.heartbeat-timeout",
        timedelta(minutes=2),
        read.duration(),
        "How long the hub may be silent, in its Lease, before its streams count as not connected; never shorter"
        " than the Lease lasts (60 s).",
    )


@dataclass(frozen=True, slots=True)
class BindingLimit:
    """How many TransportBindings are created or changed at once."""

    max_mutations: int
    """In a burst, and again in each ``delay``. Zero: no limit."""
    delay: timedelta


def binding_rows(owner: str, what: str) -> Mapping[str, SettingRow]:
    """The keys ``<owner>.binding.…``; ``what`` says how many there may be of what."""
    pause = "Pause until the same number of writes is allowed again."
    return {
        "max_mutations": SettingRow(f"{owner}.binding.max-mutations-per-reconcile", read.integer(0), what),
        "delay": SettingRow(f"{owner}.binding.throttle-requeue-delay", read.duration(), pause),
    }


@dataclass(frozen=True, slots=True)
class StorageSettings:
    """The object store of workloads when no policy names another."""

    provider: StorageProvider = setting(
        "controller.storage.provider",
        StorageProvider.NONE,
        read.one_of(StorageProvider),
        "The object store of the operator, and of steps that name no other; empty: none.",
    )
    s3_bucket: str = setting("controller.storage.s3.bucket", "", read.text, "Bucket; required with `s3`.")
    s3_region: str = setting(
        "controller.storage.s3.region",
        "",
        read.text,
        "Region; empty: `AWS_REGION` or `AWS_DEFAULT_REGION` of the environment, else `us-east-1`.",
    )
    s3_endpoint: str = setting("controller.storage.s3.endpoint", "", read.text, "URL of the service; empty: AWS.")
    s3_use_path_style: bool = setting(
        "controller.storage.s3.use-path-style",
        False,
        read.boolean,
        "Whether the bucket is in the path of URLs instead of the host name.",
    )
    s3_auth_secret_name: str = setting(
        "controller.storage.s3.auth-secret-name",
        "",
        read.text,
        "Secret with the credentials, in the operator's namespace; empty: the operator's environment.",
    )
    s3_credential_namespaces: tuple[str, ...] = setting(
        "controller.storage.s3.credential-namespaces",
        (),
        read.namespaces,
        "Namespaces whose steps get a copy of that Secret.",
    )
    """The operator's own needs no entry."""
    delete_with_run: bool = setting(
        "controller.storage.delete-with-run",
        True,
        read.boolean,
        "Whether the stored data of a run is deleted when the run is deleted.",
    )
    gcs_bucket: str = setting("controller.storage.gcs.bucket", "", read.text, "Bucket; required with `gcs`.")
    gcs_endpoint: str = setting(
        "controller.storage.gcs.endpoint", "", read.text, "URL of the service; empty: Google's."
    )
    gcs_auth_secret_name: str = setting(
        "controller.storage.gcs.auth-secret-name",
        "",
        read.text,
        "Secret with the credentials, in the operator's namespace; empty: workload identity or environment.",
    )
    gcs_credential_namespaces: tuple[str, ...] = setting(
        "controller.storage.gcs.credential-namespaces",
        (),
        read.namespaces,
        "Namespaces whose steps get a copy of that Secret.",
    )
    azure_account: str = setting(
        "controller.storage.azure.account", "", read.text, "Storage account; required with `azure`."
    )
    azure_container: str = setting(
        "controller.storage.azure.container", "", read.text, "Container; required with `azure`."
    )
    azure_endpoint: str = setting(
        "controller.storage.azure.endpoint",
        "",
        read.text,
        "URL of the service; empty: the account's host in the public cloud.",
    )
    azure_auth_secret_name: str = setting(
        "controller.storage.azure.auth-secret-name",
        "",
        read.text,
        "Secret with the credentials, in the operator's namespace; empty: workload identity or environment.",
    )
    azure_credential_namespaces: tuple[str, ...] = setting(
        "controller.storage.azure.credential-namespaces",
        (),
        read.namespaces,
        "Namespaces whose steps get a copy of that Secret.",
    )
    file_path: str = setting(
        "controller.storage.file.path", "", read.text, "Folder of the store in all containers; required with `file`."
    )
    file_volume_claim_name: str = setting(
        "controller.storage.file.volume-claim-name",
        "",
        read.text,
        "Claim with the data, in each namespace; required with `file`.",
    )
