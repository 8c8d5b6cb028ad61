"""Ports of the machine are lent to one workload at a time. (node/ports.py)"""

from __future__ import annotations

import socket
from contextlib import suppress

import pytest

from localcluster.node.ports import Ports

HOST = "127.0.0.1"


@pytest.fixture
def first() -> int:
    """The first of eight ports that are free one after the other."""
    while True:
        with socket.create_server((HOST, 0)) as found:
            port: int = found.getsockname()[1]
        with suppress(OSError, OverflowError):
            for each in range(port, port + 8):
                socket.create_server((HOST, each)).close()
            return port


def test_a_port_that_is_free_stays_and_the_next_workload_gets_others(first: int) -> None:
    ports, wanted = Ports(), (first, first + 1)

    assert ports.lend("a", "A", wanted, HOST) == {first: first, first + 1: first + 1}
    assert ports.lend("b", "B", wanted, HOST) == {first: first + 2, first + 1: first + 3}
    assert ports.of("b") == {first: first + 2, first + 1: first + 3}
    assert ports.lend("c", "C", (), HOST) == ports.of("c") == ports.of("unknown") == {}

    ports.give_back("a")
    assert ports.of("a") == {}
    assert ports.lend("d", "D", wanted, HOST) == {first: first, first + 1: first + 1}


def test_containers_of_one_workload_share_their_ports_and_keep_them(first: int) -> None:
    ports, wanted = Ports(), (first, first + 1)
    ports.lend("a", "A", wanted, HOST)
    moved = ports.lend("b-1", "B", wanted, HOST)

    with socket.create_server((HOST, moved[first])):  # its program listens
        assert ports.lend("b-2", "B", wanted, HOST) == moved
    for holder in ("a", "b-1", "b-2"):
        ports.give_back(holder)
    assert ports.lend("b-3", "B", wanted, HOST) == moved


def test_a_port_that_another_program_has_is_not_lent(first: int) -> None:
    with socket.create_server((HOST, first)):
        assert Ports().lend("a", "A", (first, first + 1), HOST) == {first: first + 2, first + 1: first + 1}


def test_a_port_for_which_there_is_no_other_one_stays() -> None:
    ports = Ports()

    assert [ports.lend(each, each, (65535,), HOST) for each in ("a", "b")] == [{65535: 65535}] * 2
