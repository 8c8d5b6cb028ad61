"""``bobrapet manager`` as a Deployment starts it: probes, metrics, the leader lease, clean and unclean stops."""

from __future__ import annotations

import base64
import json
import signal
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme

from tests.integration.commandline import DEADLINE_SECONDS, CommandLine, wait_until

LEASE = "/apis/coordination.k8s.io/v1/namespaces/default/leases/test"


@dataclass(frozen=True)
class Manager:
    process: subprocess.Popen[str]
    records: list[dict[str, Any]]

    def until(self, message: str) -> dict[str, Any]:
        """The next record with ``message``. Records before it are skipped."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.records.append(json.loads(line))
            if message in self.records[-1]["msg"]:
                return self.records[-1]
        raise AssertionError(f"ended with {self.process.wait()} without {message!r}: {self.records}")

    def url(self) -> str:
        """The URL of the next port that is served."""
        return str(self.until("Running on")["msg"].split()[2])

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        self.process.communicate(timeout=DEADLINE_SECONDS)
        return self.process.returncode


@contextmanager
def manager(line: CommandLine, *flags: str) -> Iterator[Manager]:
    given = ["-kubeconfig", f"{line.data}/kubeconfig", "--health-probe-bind-address=127.0.0.1:0"]
    given += ["--webhook-bind-address=0", *flags]
    with line.started("manager", *given) as process:
        yield Manager(process, [])


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandLine]:
    line = CommandLine(tmp_path_factory.mktemp("manager"))
    assert line.bobrapet("up", "--quiet").code == 0
    try:
        yield line
    finally:
        line.quick("down")
        line.wait_until_nothing_runs()


@pytest.fixture(scope="module")
def api(line: CommandLine) -> Iterator[httpx.Client]:
    """A client of the API server, as an administrator."""
    config = json.loads((line.data / "kubeconfig").read_text())
    trusted = ssl.create_default_context(cafile=str(line.data / "ca.crt"))
    headers = {"authorization": f"Bearer {config['users'][0]['user']['token']}"}
    url = config["clusters"][0]["cluster"]["server"]
    with httpx.Client(base_url=url, verify=trusted, headers=headers) as client:
        yield client


def test_probes_answer_as_the_kubelet_asks_and_plain_metrics_everybody(line: CommandLine) -> None:
    plain = ("--metrics-bind-address=127.0.0.1:0", "--metrics-secure=0")
    with manager(line, "-leader-elect=false", *plain) as running:
        health, metrics = running.url(), f"{running.url()}/metrics"
        running.until("controllers start")
        answers = {
            path: httpx.get(f"{health}{path}")
            for path in ("/healthz", "/readyz", "/readyz?verbose", "/readyz?verbose&exclude=informers", "/readyz/ping")
        }
        nothing = httpx.get(f"{health}/nothing").status_code
        measured = httpx.get(metrics)
        code = running.end()

    assert {path: answer.status_code for path, answer in answers.items()} == dict.fromkeys(answers, 200)
    assert answers["/readyz"].text == "ok"
    assert answers["/readyz?verbose"].text.splitlines() == [
        "[+]ping ok",
        "[+]informers ok",
        "[+]configuration ok",
        "readyz check passed",
    ]
    assert "[+]informers excluded: ok\n" in answers["/readyz?verbose&exclude=informers"].text
    assert (nothing, code) == (404, 0)
    assert measured.status_code == 200
    assert "rest_client_requests_total" in measured.text
    assert 'bobrapet_informer_objects{resource="stories"}' in measured.text, "what was listed before anybody asked"


def test_secure_metrics_let_in_whom_the_cluster_lets_in(line: CommandLine, api: httpx.Client) -> None:
    token = api.post("/api/v1/namespaces/default/serviceaccounts/default/token", json={"spec": {}}).json()
    with manager(line, "--leader-elect=false", "--metrics-bind-address=127.0.0.1:0") as running:
        running.url()
        metrics = f"{running.url()}/metrics"

        def status(authorization: str) -> int:
            headers = {"authorization": authorization} if authorization else {}
            return httpx.get(metrics, headers=headers, verify=False).status_code

        answers = [
            status(authorization)
            for authorization in (
                "",
                "Bearer nonsense",
                f"Bearer {token['status']['token']}",
                api.headers["authorization"],
            )
        ]
        running.end()

    assert metrics.startswith("https://")
    assert answers == [401, 401, 403, 200]


def test_a_manager_answers_reviews_with_a_certificate_of_its_own(line: CommandLine, api: httpx.Client) -> None:
    """No client trusts it here, because nothing is registered. The manager says so, and is ready nevertheless."""
    gate = ("--webhook-bind-address=127.0.0.1:0", "--webhook-names=localhost, 127.0.0.1")
    with manager(line, "--leader-elect=false", *gate) as running:
        health = running.url()
        url = running.until("admission reviews are answered")["url"]
        wait_until(lambda: httpx.get(f"{health}/readyz").status_code == 200)
        webhook = httpx.get(f"{health}/readyz/webhook")
        secret = api.get("/api/v1/namespaces/bobrapet-system/secrets/bobrapet-webhook-server-cert").json()
        trusted = ssl.create_default_context(cadata=base64.b64decode(secret["data"]["ca.crt"]).decode())
        answers = [
            httpx.get(f"{url}/readyz", verify=trusted).status_code,
            httpx.post(f"{url}/validate-bubustack-io-v1alpha1-story", json={}, verify=trusted).status_code,
        ]
        taken = line.bobrapet(
            "manager",
            f"--kubeconfig={line.data}/kubeconfig",
            "--leader-elect=false",
            "--health-probe-bind-address=0",
            f"--webhook-bind-address={url.removeprefix('https://')}",
        )
        code = running.end()

    assert (webhook.status_code, answers) == (200, [200, 400])
    assert (taken.code, "cannot listen on 127.0.0.1" in taken.err) == (1, True), taken.err
    assert code == 0


def test_reviews_are_said_to_be_answered_once_tls_is(line: CommandLine, tmp_path: Path) -> None:
    files = ("--webhook-bind-address=127.0.0.1:0", f"--webhook-cert-path={tmp_path}")
    with manager(line, "--leader-elect=false", *files) as running:
        running.until("controllers start")
        assert "admission reviews are answered" not in [record["msg"] for record in running.records]
        issued = trustme.CA().issue_cert("localhost", "127.0.0.1")
        issued.private_key_pem.write_to_path(tmp_path / "tls.key")
        issued.cert_chain_pems[0].write_to_path(tmp_path / "tls.crt")
        url = running.until("admission reviews are answered")["url"]
        with httpx.Client(verify=False) as client:
            answer = client.get(f"{url}/healthz")
        running.end()

    assert answer.status_code == 200


def test_a_manager_told_to_stop_answers_reviews_a_little_longer(line: CommandLine) -> None:
    with manager(line, "--leader-elect=false", "--webhook-bind-address=127.0.0.1:0", "--webhook-drain=1s") as running:
        health = running.url()
        url = running.until("admission reviews are answered")["url"]
        wait_until(lambda: httpx.get(f"{health}/readyz").status_code == 200)
        running.process.send_signal(signal.SIGTERM)
        running.until("stopping")
        time.sleep(0.3)
        with httpx.Client(verify=False) as client:
            answer = client.get(f"{url}/healthz")
        running.process.communicate(timeout=DEADLINE_SECONDS)

    assert (answer.status_code, answer.headers["connection"]) == (200, "close")
    assert running.process.returncode == 0


def test_webhooks_can_be_switched_off_by_environment(line: CommandLine) -> None:
    without = replace(line, environment={**line.environment, "ENABLE_WEBHOOKS": "F"})
    with manager(without, "--leader-elect=false", "--webhook-bind-address=127.0.0.1:0") as running:
        health = running.url()
        running.until("controllers start")
        answers = [httpx.get(f"{health}/readyz{path}").status_code for path in ("", "/webhook")]
        code = running.end()

    assert (answers, code) == ([200, 404], 0)
    assert "admission reviews are answered" not in [record["msg"] for record in running.records]


def test_one_of_two_managers_works_and_the_other_takes_over(line: CommandLine, api: httpx.Client) -> None:
    election = ("-leader-elect", "-leader-election-id=test", "-leader-election-namespace=default")
    with manager(line, *election) as first:
        first.until("controllers start")
        with manager(line, *election) as second:
            ready = f"{second.url()}/readyz"
            wait_until(lambda: httpx.get(ready).status_code == 200)
            holder = api.get(LEASE).json()["spec"]["holderIdentity"]
            assert first.end() == 0
            second.until("controllers start")
            successor = api.get(LEASE).json()["spec"]["holderIdentity"]
            stolen = api.patch(
                LEASE,
                json={"spec": {"holderIdentity": "somebody-else", "leaseTransitions": 9}},
                headers={"content-type": "application/merge-patch+json"},
            )
            assert stolen.status_code == 200, stolen.text
            told = second.until("the manager stops")
            second.process.communicate(timeout=DEADLINE_SECONDS)

    assert holder.endswith(f"_{first.process.pid}")
    assert successor.endswith(f"_{second.process.pid}")
    assert "controllers start" not in [record["msg"] for record in second.records[:2]]
    assert "lease" in told["cause"]
    assert second.process.returncode == 1


def test_what_keeps_a_manager_from_starting_is_one_log_record(line: CommandLine) -> None:
    for flags, cause in [
        (("--kubeconfig=missing",), "kubeconfig missing does not exist"),
        (("--metrics-bind-address=127.0.0.1:0", "--metrics-cert-path=nowhere"), "metrics certificate nowhere/tls.crt"),
    ]:
        with manager(line, "--leader-elect=false", *flags) as running:
            told = running.until("the manager stops")
            running.process.communicate(timeout=DEADLINE_SECONDS)

        assert cause in told["cause"]
        assert running.process.returncode == 1


def test_variables_of_opentelemetry_have_their_effect_or_are_named(line: CommandLine, api: httpx.Client) -> None:
    """Traces do not leave by another protocol than the one that was asked for, and nobody waits for metrics by OTLP."""
    made = api.post(
        "/api/v1/namespaces/default/configmaps",
        json={"metadata": {"name": "traces"}, "data": {"telemetry.enabled": "true"}},
    )
    assert made.status_code == 201, made.text
    variables = {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_METRICS_EXPORTER": "otlp"}
    asking = replace(line, environment={**line.environment, **variables})
    config = ("--config-namespace=default", "--config-name=traces", "--leader-elect=false")
    with manager(asking, *config) as running:
        warned = running.until("a variable of OpenTelemetry has no effect")
        stopped = running.until("the manager stops")
        running.process.communicate(timeout=DEADLINE_SECONDS)

    assert (warned["level"], warned["variable"]) == ("warning", "OTEL_METRICS_EXPORTER")
    assert "OTEL_EXPORTER_OTLP_PROTOCOL: must be http/protobuf" in stopped["cause"]
    assert running.process.returncode == 1


def test_wrong_flags_are_wrong_usage(line: CommandLine) -> None:
    for flag, message in [
        ("--leader-elect=perhaps", "--leader-elect must be true or false, not 'perhaps'"),
        ("--webhook-bind-address=9443", "--webhook-bind-address: '9443' is not an address"),
        ("--webhook-drain=long", "--webhook-drain: "),
        ("--metrics-bind-address=nonsense", "--metrics-bind-address: 'nonsense' is not an address"),
    ]:
        done = line.quick("manager", flag)

        assert (done.code, message in done.err) == (2, True), done.err
