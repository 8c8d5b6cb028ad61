"""The process of the hub: files, keys, TLS, signals. (manager/stream_hub.py)"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import trio
import trio.testing
import trustme

from core.telemetry import metrics
from core.telemetry.hub_catalogue import HUB_CATALOGUE
from hub.topology_file import TopologyFileError
from manager.bind import Address
from manager.hub_serving import HubStartError
from manager.stream_hub import HubOptions, read_keys, run_hub, tls_context, tokens_of
from tests.unit.hub.modelled_client import ModelledEngram, forever
from tests.unit.hub.test_hub_topology_file import FILE

LOOPBACK = Address("127.0.0.1", 0)


@pytest.fixture
def options(tmp_path: Path) -> HubOptions:
    (tmp_path / "topology.yaml").write_text(FILE)
    (tmp_path / "keys").write_text(f"{'a' * 64}\n\n{'b' * 64}\n")
    return HubOptions(tmp_path / "topology.yaml", tmp_path / "keys", LOOPBACK)


async def test_a_hub_serves_the_steps_of_its_file_and_stops_on_a_signal(options: HubOptions) -> None:
    tokens = dict(tokens_of(options.topology, options.keys))
    assert list(tokens) == ["team/run-1/emit", "team/run-1/sink"]
    assert ".g3." in tokens["team/run-1/sink"]
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            port = await nursery.start(run_hub, options)
            engram = ModelledEngram(port, tokens["team/run-1/emit"], forever, max_retries=0)
            nursery.start_soon(engram.run)
            await engram.ready.wait()
            options.topology.write_text("runs: oops")
            os.kill(os.getpid(), signal.SIGHUP)  # logged, and the former topology stays
            await trio.testing.wait_all_tasks_blocked(0.05)
            assert engram.ends == []
            os.kill(os.getpid(), signal.SIGTERM)
    assert "UNAVAILABLE" in engram.ends[0]


async def test_metrics_are_served_if_asked_for(options: HubOptions) -> None:
    served = HubOptions(options.topology, options.keys, LOOPBACK, metrics=LOOPBACK)
    with metrics.recording(HUB_CATALOGUE), trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            await nursery.start(run_hub, served)
            text = metrics.exposition()[0]()
            assert b'bobravoz_hub_active_streams{namespace="team",step="sink",story="voice"} 0.0' in text
            nursery.cancel_scope.cancel()


async def test_an_address_in_use_is_named(options: HubOptions) -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    with pytest.RaisesGroup(HubStartError, flatten_subgroups=True) as found:
        await run_hub(HubOptions(options.topology, options.keys, Address("127.0.0.1", port)))
    assert f"cannot listen on 127.0.0.1:{port}" in str(found.value.exceptions[0])
    await listener.aclose()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "there is no key"),
        ("\n \n", "there is no key"),
        ("short", "at least 32"),
        ("a" * 40 + "\nb", "at least 32"),
    ],
)
def test_keys_that_cannot_be_used_are_named(tmp_path: Path, content: str, problem: str) -> None:
    (tmp_path / "keys").write_text(content)
    with pytest.raises(HubStartError, match=problem):
        read_keys(tmp_path / "keys")


def test_missing_files_are_named(options: HubOptions, tmp_path: Path) -> None:
    with pytest.raises(HubStartError, match="missing: No such file"):
        read_keys(tmp_path / "missing")
    with pytest.raises(TopologyFileError, match="missing: No such file"):
        tokens_of(tmp_path / "missing", options.keys)


def test_plaintext_stays_on_the_machine_and_tls_is_new(options: HubOptions, tmp_path: Path) -> None:
    for host in ("0.0.0.0", "::", "192.0.2.1", "example.test"):
        with pytest.raises(HubStartError, match="must be a loopback address"):
            tls_context(HubOptions(options.topology, options.keys, Address(host, 9000)))
    for host in ("127.0.0.1", "::1", "localhost"):
        assert tls_context(HubOptions(options.topology, options.keys, Address(host, 9000))) is None

    issued = trustme.CA().issue_cert("hub.example")
    issued.cert_chain_pems[0].write_to_path(tmp_path / "tls.crt")
    issued.private_key_pem.write_to_path(tmp_path / "tls.key")
    everywhere = Address("0.0.0.0", 9000)
    files = (tmp_path / "tls.crt", tmp_path / "tls.key")
    context = tls_context(HubOptions(options.topology, options.keys, everywhere, *files))
    assert context is not None
    assert context.minimum_version.name == "TLSv1_3"
    (tmp_path / "tls.key").write_text("no key")
    with pytest.raises(HubStartError, match=r"tls\.key"):
        tls_context(HubOptions(options.topology, options.keys, everywhere, *files))
