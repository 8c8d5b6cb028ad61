"""The options of ``bobrapet hub``: which belong together, what a wrong one is answered. (cli/commands/streaming.py)"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cli.commands.streaming import run_hub
from cli.problem import UsageError


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
    ],
)
def test_a_wrong_option_is_named_with_the_remedy(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        run_hub(**options)
