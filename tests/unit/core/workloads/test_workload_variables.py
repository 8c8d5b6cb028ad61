"""Variables that no Secret may set."""

from __future__ import annotations

import pytest

from core.workloads.variables import can_only_be_reserved, is_reserved, reserved_among


@pytest.mark.parametrize(
    "name",
    [
        *("PATH", "LD_PRELOAD", "LD_LIBRARY_PATH", "DYLD_INSERT_LIBRARIES", "PYTHONPATH", "PYTHONSTARTUP", "BASH_ENV"),
        *("ENV", "IFS", "HOME", "NODE_OPTIONS", "JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS", "RUBYOPT", "PERL5OPT"),
        *("GIT_SSH_COMMAND", "GIT_CONFIG_COUNT", "GIT_EXEC_PATH", "BASH_FUNC_ls%%", "GLIBC_TUNABLES", "GCONV_PATH"),
        *("BUBU_TRIGGER_DATA", "BUBU_SECRET_x", "KUBERNETES_SERVICE_HOST", "DOTNET_STARTUP_HOOKS", "PHPRC"),
    ],
)
def test_what_decides_what_a_program_runs_or_is_told_is_reserved(name: str) -> None:
    assert is_reserved(name)


@pytest.mark.parametrize(
    "name",
    [
        *(
            "api_token",
            "API_KEY",
            "GIT_TOKEN",
            "GIT_PASSWORD",
            "AWS_SECRET_ACCESS_KEY",
            "path",
            "MY_PATH",
            "HTTPS_PROXY",
        ),
        *("api_PATH", "ENVIRONMENT", "DATABASE_URL", "OLD_VALUE"),
    ],
)
def test_ordinary_names_are_not(name: str) -> None:
    assert not is_reserved(name)


def test_a_name_counts_as_it_is_put_together() -> None:
    assert reserved_among("LD_", ["PRELOAD", "x"]) == ["LD_PRELOAD", "LD_x"]
    assert reserved_among("PA", ["TH", "PER"]) == ["PATH"]
    assert reserved_among("api_", ["PATH", "LD_PRELOAD"]) == []


@pytest.mark.parametrize(("prefix", "useless"), [("LD_", True), ("BUBU_SECRET_", True), ("GIT_", False), ("P", False)])
def test_a_prefix_that_leaves_no_harmless_name_is_of_no_use(prefix: str, useless: bool) -> None:
    assert can_only_be_reserved(prefix) is useless
