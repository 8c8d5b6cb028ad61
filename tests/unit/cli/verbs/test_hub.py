"""The options of ``hub`` and ``stream``: which belong together, what a wrong one is answered.

(cli/commands/streaming.py, cli/commands/tapping.py)
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cli.options import CommonOptions
from cli.problem import UsageError
from cli.verbs.hub import run_hub
from cli.verbs.stream import send_packets, tap_step


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"tls_cert": Path("x")}, "belong together"),
        ({"bind_address": "0"}, "must listen somewhere"),
        ({"bind_address": "x"}, "is not an address"),
        ({"key_file": Path("x")}, "belong to --topology"),
        ({"print_tokens": True}, "belong to --topology"),
        ({"topology": Path("x")}, "--topology needs --key-file"),
        ({"topology": Path("x"), "key_file": Path("x"), "context": "c"}, "--context: only for the hub of a cluster"),
        (
            {"topology": Path("x"), "key_file": Path("x"), "kubeconfig": Path("k"), "config_namespace": "n"},
            "--kubeconfig, --config-namespace: only for",
        ),
        ({"topology": Path("/no/x"), "key_file": Path("/no/y"), "print_tokens": True}, "No such file"),
        ({"drain_seconds": "soon"}, "--drain-seconds: 'soon' is not a duration"),
        ({"drain_seconds": "2h"}, "0 to 3600"),
        ({"console_bind_address": ":9001"}, "--console-service is needed beyond the loopback interface"),
        ({"console_bind_address": ":9001", "console_service": "x"}, "--console-service: 'x' must be host:port"),
        (
            {"topology": Path("x"), "key_file": Path("x"), "console_bind_address": "127.0.0.1:0"},
            "--console-bind-address: only for the hub of a cluster",
        ),
    ],
)
def test_a_wrong_option_is_named_with_the_remedy(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        run_hub(**options)


@pytest.mark.parametrize(
    ("command", "options", "problem"),
    [
        (tap_step, {"direction": "up"}, "--direction must be in, out or both"),
        (tap_step, {"options": CommonOptions(output="yaml")}, "has no output format 'yaml'"),
        (tap_step, {"for_time": "soon"}, "--for"),
        (send_packets, {}, "either --payload or --payload-file"),
        (send_packets, {"payload": "{}", "payload_file": Path("x")}, "either --payload or --payload-file"),
        (send_packets, {"payload": "{}", "lines": True}, "--lines reads standard input or a file"),
        (send_packets, {"payload": "-", "lines": True, "message_id": "m"}, "--message-id names one packet"),
        (send_packets, {"payload": "{}", "out": True, "source": "emit"}, "--from names a need of the step"),
        (send_packets, {"payload": "{}", "metadata": ["x"]}, "must be key=value"),
        (send_packets, {"payload": "{}", "options": CommonOptions(output="yaml")}, "has no output format"),
    ],
)
def test_a_wrong_wish_about_packets_is_named(command: Any, options: dict[str, Any], problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        command(**{"options": CommonOptions(), "step": "run-1/sink", **options})
