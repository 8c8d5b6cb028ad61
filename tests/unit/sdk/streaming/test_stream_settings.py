"""The binding, the endpoint, times, and what connections are made of them."""

from __future__ import annotations

import base64
import json
import socket
import ssl
import threading
from pathlib import Path
from typing import Any

import pytest
import trustme

from bubu_sdk.errors import ContextError
from bubu_sdk.streaming.settings import Endpoint, Pace, Reconnect, load, parse_endpoint
from bubu_sdk.streaming.sockets import SocketNetwork
from bubu_sdk.streaming.tls import tls_context


def binding(**info: Any) -> str:
    known = {"endpoint": "hub.flows.svc:9000", "protocolVersion": "1.0.0"}
    return json.dumps({"name": "b", "namespace": "ns", "binding": {**known, **info}})


@pytest.mark.parametrize(
    ("text", "endpoint", "secure"),
    [
        ("127.0.0.1:50051", Endpoint("127.0.0.1", 50051), False),
        ("localhost:1", Endpoint("localhost", 1), False),
        ("[::1]:9000", Endpoint("::1", 9000), False),
        ("unix:///run/hub.sock", Endpoint("", 0, "/run/hub.sock"), False),
        ("hub.flows.svc:9000", Endpoint("hub.flows.svc", 9000), True),
        ("dns:///hub.flows.svc:9000", Endpoint("hub.flows.svc", 9000), True),
        ("hub", Endpoint("hub", 50051), True),
        ("127.example.com:1", Endpoint("127.example.com", 1), True),
        ("fd00::1", Endpoint("fd00::1", 50051), True),
    ],
)
def test_only_this_machine_is_reached_in_plaintext(text: str, endpoint: Endpoint, secure: bool) -> None:
    found = parse_endpoint(text)

    assert (found, found.secure) == (endpoint, secure)


@pytest.mark.parametrize("text", ["", ":1", "hub:", "hub:0", "hub:65536", "hub:http", "unix:relative"])
def test_a_malformed_endpoint_names_the_variable(text: str) -> None:
    with pytest.raises(ContextError, match="BUBU_TRANSPORT_BINDING"):
        parse_endpoint(text)


def test_authorities_are_those_of_http() -> None:
    assert [parse_endpoint(each).authority for each in ("hub:1", "[::1]:2", "unix:///s")] == [
        "hub:1",
        "[::1]:2",
        "localhost",
    ]


def test_defaults_are_those_of_the_contract() -> None:
    settings = load({"BUBU_TRANSPORT_BINDING": binding()})

    assert settings.binding == "ns/b"
    assert settings.endpoint == Endpoint("hub.flows.svc", 9000)
    assert settings.pace == Pace(30, 10, 30, 0)
    assert settings.reconnect == Reconnect(10, 0.5, 30)
    assert settings.dial_seconds == 10


def test_one_attempt_to_connect_takes_ten_seconds_at_most() -> None:
    """The operator sets an hour: the Go SDK ends its process when that time is over."""
    for word, seconds in (("3600s", 10), ("1h", 10), ("3s", 3)):
        assert load({"BUBU_TRANSPORT_BINDING": binding(), "BUBU_GRPC_DIAL_TIMEOUT": word}).dial_seconds == seconds


def test_times_are_read_and_wrong_ones_are_warnings() -> None:
    settings = load(
        {
            "BUBU_TRANSPORT_BINDING": binding(),
            "BUBU_GRPC_MESSAGE_TIMEOUT": "8s",
            "BUBU_GRPC_HEARTBEAT_INTERVAL": "10s",
            "BUBU_GRPC_HANG_TIMEOUT": "0s",
            "BUBU_GRPC_DIAL_TIMEOUT": "soon",
            "BUBU_GRPC_RECONNECT_MAX_RETRIES": "-1",
            "BUBU_GRPC_RECONNECT_BASE_BACKOFF": "-1s",
        }
    )

    assert settings.pace.data_heartbeat_seconds == 4, "below the message timeout"
    assert settings.reconnect == Reconnect(-1, 0.5, 30)
    assert [warning.split()[0] for warning in settings.warnings] == [
        "BUBU_GRPC_RECONNECT_BASE_BACKOFF",
        "BUBU_GRPC_DIAL_TIMEOUT",
    ]


def test_settings_of_the_binding_count_more_than_the_environment() -> None:
    payload = base64.b64encode(json.dumps({"env": {"BUBU_GRPC_HANG_TIMEOUT": "5s", "PATH": "x"}}).encode()).decode()

    settings = load({"BUBU_TRANSPORT_BINDING": binding(payload=payload), "BUBU_GRPC_HANG_TIMEOUT": "9s"})

    assert settings.pace.hang_seconds == 5


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is not set"),
        ("binding-name", "not valid JSON"),
        ("[]", "must be a JSON object"),
        ('{"name":"b","namespace":"ns"}', "binding must be an object"),
        (binding(protocolVersion="2.0.0"), "this SDK needs '1.0.0'"),
        (json.dumps({**json.loads(binding()), "name": " "}), "needs name and namespace"),
    ],
)
def test_a_malformed_binding_says_what_is_wrong(text: str, reason: str) -> None:
    with pytest.raises(ContextError, match=reason):
        load({"BUBU_TRANSPORT_BINDING": text})


def test_folders_of_certificates_may_be_missing_or_hashed(tmp_path: Path) -> None:
    (tmp_path / "0a1b2c3d.0").write_text("")

    tls_context({"SSL_CERT_DIR": f"{tmp_path}:{tmp_path / 'missing'}"})


def test_a_folder_of_certificates_may_be_a_volume_of_a_node_without_mount_namespaces(tmp_path: Path) -> None:
    """As ``/var/run/bubu/hub-ca`` is, where the operator mounts the authority of the hub."""
    folder = tmp_path / "volumes/var/run/hub-ca"
    folder.mkdir(parents=True)
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.crt")
    trusted = ssl.PEM_cert_to_DER_cert(authority.cert_pem.bytes().decode())
    environ = {"SSL_CERT_DIR": "/var/run/hub-ca"}

    assert trusted not in tls_context(environ).get_ca_certs(binary_form=True)
    environ["BUBU_VOLUME_ROOT"] = str(tmp_path / "volumes")
    assert trusted in tls_context(environ).get_ca_certs(binary_form=True)


def test_a_unix_socket_carries_bytes_and_a_wake_ends_a_wait(tmp_path: Path) -> None:
    path = str(tmp_path / "hub.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        network = SocketNetwork({})
        link = network.dial(parse_endpoint(f"unix://{path}"), 5)
        far, _ = listener.accept()
        with far:
            assert link.receive() is None
            assert link.send(memoryview(b"ping")) == 4
            assert far.recv(10) == b"ping"
            far.sendall(b"pong")
            network.wait(link, sending=False, seconds=30)
            assert link.receive() == b"pong"

            threading.Timer(0.01, network.wake).start()
            network.wait(link, sending=False, seconds=30)
            network.wait(link, sending=True, seconds=30)
        network.wait(link, sending=False, seconds=30)
        assert link.receive() == b""
        link.close()
        network.wait(None, sending=False, seconds=0)
        network.close()
        network.wake()


def test_nobody_there_is_an_error(tmp_path: Path) -> None:
    network = SocketNetwork({})
    with pytest.raises(OSError, match="No such file"):
        network.dial(Endpoint("", 0, str(tmp_path / "none")), 5)
    network.close()


def test_the_operator_says_whether_packets_bring_with() -> None:
    given = {"BUBU_TRANSPORT_BINDING": binding()}
    assert load({**given, "BUBU_WITH_IN_PACKETS": "true"}).with_in_packets
    assert not load(given).with_in_packets
