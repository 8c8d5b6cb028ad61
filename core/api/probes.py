"""Health checks of containers, and switches that turn them off. Source: the Pod API of Kubernetes."""

from __future__ import annotations

from pydantic import Field

from core.api.schema import AtomicList, Int32, Int64, IntOrString, WireModel


class ExecAction(WireModel):
    """A command run in the container."""

    command: AtomicList[str] | None = Field(None, description="Program and arguments; no shell is involved.")


class GrpcAction(WireModel):
    """A call of the gRPC health service."""

    port: Int32 = Field(description="Port number.")
    service: str = Field("", description="Service name asked for.")


class HttpHeader(WireModel):
    """One request header."""

    name: str = Field(description="Header name.")
    value: str = Field(description="Header value.")


class HttpGetAction(WireModel):
    """An HTTP GET request."""

    port: IntOrString = Field(description="Port number or name.")
    host: str | None = Field(None, description="Host to ask; default: the Pod's address.")
    http_headers: AtomicList[HttpHeader] | None = Field(None, description="Request headers.")
    path: str | None = Field(None, description="Path of the request; default `/`.")
    scheme: str | None = Field(None, description="`HTTP` (default) or `HTTPS`.")


class TcpSocketAction(WireModel):
    """Opening a TCP connection."""

    port: IntOrString = Field(description="Port number or name.")
    host: str | None = Field(None, description="Host to connect to; default: the Pod's address.")


class Probe(WireModel):
    """One health check, as in a Pod's container."""

    exec: ExecAction | None = Field(None, description="Succeeds when a command exits with 0.")
    failure_threshold: Int32 | None = Field(None, description="Failures in a row that count as failed; default 3.")
    grpc: GrpcAction | None = Field(None, description="Succeeds when the gRPC health service says so.")
    http_get: HttpGetAction | None = Field(None, description="Succeeds on an HTTP status of 200 to 399.")
    initial_delay_seconds: Int32 | None = Field(None, description="Seconds from container start to the first check.")
    period_seconds: Int32 | None = Field(None, description="Seconds between checks; default 10.")
    success_threshold: Int32 | None = Field(
        None, description="Successes in a row that count as healthy again; default 1."
    )
    tcp_socket: TcpSocketAction | None = Field(None, description="Succeeds when a TCP connection opens.")
    termination_grace_period_seconds: Int64 | None = Field(
        None, description="Seconds the container gets to stop after this probe failed."
    )
    timeout_seconds: Int32 | None = Field(None, description="Seconds one check may take; default 1.")


class TemplateProbes(WireModel):
    """Health checks of the workload's container."""

    liveness: Probe | None = Field(None, description="Restart the container when this fails.")
    readiness: Probe | None = Field(None, description="Send traffic only while this succeeds.")
    startup: Probe | None = Field(None, description="Hold back the other probes until this succeeds.")


class ProbeSwitches(WireModel):
    """Turns off health checks that the template brings."""

    disable_liveness: bool | None = Field(None, description="Drop the liveness probe.")
    disable_readiness: bool | None = Field(None, description="Drop the readiness probe.")
    disable_startup: bool | None = Field(None, description="Drop the startup probe.")
