"""The settings that count for new containers: a value of each, and the field of a Job that it changes."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from core.api.objects import Object
from tests.integration.live_setting_plays import variable


class OfJob(NamedTuple):
    """``field``: a path into the Job, or the name of a variable of its container."""

    key: str
    value: str
    field: str
    after: Any

    def seen(self, job: Object) -> Any:
        """None: the field is not set."""
        if self.field.startswith("BUBU_"):
            return variable(job["spec"]["template"]["spec"], self.field)
        here: Any = job["spec"]
        for part in self.field.split("."):
            here = here[int(part)] if isinstance(here, list) else (here or {}).get(part)
        return here


_POD: Final = "template.spec"
_CONTAINER: Final = "template.spec.containers.0"
_SECURITY: Final = f"{_CONTAINER}.securityContext"

DEFAULTS: Final = (
    OfJob("resources.default.cpu-request", "77m", f"{_CONTAINER}.resources.requests.cpu", "77m"),
    OfJob("resources.default.cpu-limit", "777m", f"{_CONTAINER}.resources.limits.cpu", "777m"),
    OfJob("resources.default.memory-request", "77Mi", f"{_CONTAINER}.resources.requests.memory", "77Mi"),
    OfJob("resources.default.memory-limit", "777Mi", f"{_CONTAINER}.resources.limits.memory", "777Mi"),
)
"""Hidden by those of ``engram``, so they are changed before them."""
ROWS: Final = (
    OfJob("resources.engram.cpu-request", "78m", f"{_CONTAINER}.resources.requests.cpu", "78m"),
    OfJob("resources.engram.cpu-limit", "778m", f"{_CONTAINER}.resources.limits.cpu", "778m"),
    OfJob("resources.engram.memory-request", "78Mi", f"{_CONTAINER}.resources.requests.memory", "78Mi"),
    OfJob("resources.engram.memory-limit", "778Mi", f"{_CONTAINER}.resources.limits.memory", "778Mi"),
    OfJob("job.backoff-limit", "3", "backoffLimit", 3),
    OfJob("job.ttl-seconds-after-finished", "77", "ttlSecondsAfterFinished", 77),
    OfJob("job.restart-policy", "OnFailure", f"{_POD}.restartPolicy", "OnFailure"),
    OfJob("images.pull-policy", "Always", f"{_CONTAINER}.imagePullPolicy", "Always"),
    OfJob("security.run-as-non-root", "false", f"{_POD}.securityContext.runAsNonRoot", False),
    OfJob("security.read-only-root-filesystem", "false", f"{_SECURITY}.readOnlyRootFilesystem", False),
    OfJob("security.allow-privilege-escalation", "true", f"{_SECURITY}.allowPrivilegeEscalation", True),
    OfJob("security.drop-capabilities", "NET_RAW", f"{_SECURITY}.capabilities.drop", ["NET_RAW"]),
    OfJob("security.run-as-user", "77", f"{_POD}.securityContext.runAsUser", 77),
    OfJob("engram.default-max-inline-size", "77", "BUBU_MAX_INLINE_SIZE", "77"),
    OfJob("engram.default-max-recursion-depth", "7", "BUBU_MAX_RECURSION_DEPTH", "7"),
    OfJob("engram.default-storage-timeout-seconds", "77", "BUBU_STORAGE_TIMEOUT", "77s"),
    OfJob("engram.default-termination-grace-period-seconds", "77", f"{_POD}.terminationGracePeriodSeconds", 77),
    OfJob("engram.default-grpc-port", "7777", "BUBU_GRPC_PORT", "7777"),
    OfJob("engram.default-max-recv-msg-bytes", "77", "BUBU_GRPC_MAX_RECV_BYTES", "77"),
    OfJob("engram.default-max-send-msg-bytes", "77", "BUBU_GRPC_MAX_SEND_BYTES", "77"),
    OfJob("engram.default-dial-timeout-seconds", "7", "BUBU_GRPC_DIAL_TIMEOUT", "7s"),
    OfJob("engram.default-channel-buffer-size", "77", "BUBU_GRPC_CHANNEL_BUFFER_SIZE", "77"),
    OfJob("engram.default-reconnect-max-retries", "7", "BUBU_GRPC_RECONNECT_MAX_RETRIES", "7"),
    OfJob("engram.default-reconnect-base-backoff-millis", "77", "BUBU_GRPC_RECONNECT_BASE_BACKOFF", "77ms"),
    OfJob("engram.default-reconnect-max-backoff-seconds", "77", "BUBU_GRPC_RECONNECT_MAX_BACKOFF", "77s"),
    OfJob("engram.default-hang-timeout-seconds", "77", "BUBU_GRPC_HANG_TIMEOUT", "77s"),
    OfJob("engram.default-message-timeout-seconds", "77", "BUBU_GRPC_MESSAGE_TIMEOUT", "77s"),
)
NOT_OF_JOBS: Final = (
    *("engram.default-grpc-heartbeat-interval-seconds", "controller.transport.heartbeat-interval"),
    *("controller.transport.hub-endpoint", "controller.transport.grpc.default-tls-secret"),
    *("controller.runner-identity", "security.service-account-name"),
)
"""Those of realtime steps, and of accounts: tests/unit/deployment/settings_effects.py has their effects."""
