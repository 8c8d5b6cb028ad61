from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

from localcluster.node.addresses import address_of
from localcluster.node.podfields import HostFacts, field_value
from localcluster.node.settings import NodeSettings

SETTINGS = NodeSettings("local", Path("/data"), Path("/images"), "https://127.0.0.1:6443", pod_addresses=True)


def test_pods_with_their_own_addresses_have_different_ones_on_the_loopback_interface() -> None:
    addresses = {address_of({"metadata": {"uid": f"{number}"}}, SETTINGS) for number in range(200)}

    assert len(addresses) == 200
    assert all(ip_address(each).is_loopback for each in addresses)
    assert "127.0.0.1" not in addresses


def test_a_container_reads_the_address_of_its_pod() -> None:
    pod = {"metadata": {"uid": "a"}, "spec": {}}
    host = HostFacts("local", "127.0.0.1", {}, address_of=lambda each: address_of(each, SETTINGS))

    assert field_value(pod, "status.podIP", host) == address_of(pod, SETTINGS)
    assert field_value(pod, "status.hostIP", host) == "127.0.0.1"
