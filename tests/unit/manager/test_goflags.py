from __future__ import annotations

import pytest

from cli.verbs.manager import ZapFlags
from manager.goflags import boolean, normalised

BOOLEANS = {"leader-elect"}


def test_one_dash_is_as_good_as_two_and_a_lone_boolean_is_true() -> None:
    given = ["-leader-elect", "--leader-elect=false", "-kubeconfig", "file", "--leader-elect", "x", "-h"]

    assert normalised(given, BOOLEANS) == [
        "--leader-elect=true",
        "--leader-elect=false",
        "--kubeconfig",
        "file",
        "--leader-elect=true",
        "x",
        "-h",
    ]


def test_booleans_are_the_words_of_go() -> None:
    assert [boolean("x", word) for word in ("1", "t", "T", "true", "TRUE", "True")] == [True] * 6
    assert [boolean("x", word) for word in ("0", "f", "F", "false", "FALSE", "False")] == [False] * 6
    with pytest.raises(ValueError, match="--x must be true or false, not 'yes'"):
        boolean("x", "yes")


@pytest.mark.parametrize(
    ("flags", "log_format", "level"),
    [
        (ZapFlags(), "json", "info"),
        (ZapFlags(devel="true"), "console", "debug"),
        (ZapFlags(devel="true", encoder="json", level="error"), "json", "error"),
        (ZapFlags(level="panic"), "json", "error"),
        (ZapFlags(level="3"), "json", "debug"),
    ],
)
def test_zap_flags_choose_form_and_level(flags: ZapFlags, log_format: str, level: str) -> None:
    assert (flags.log_format, flags.log_level) == (log_format, level)


def test_zap_flags_that_mean_nothing_are_refused_or_told() -> None:
    with pytest.raises(ValueError, match="--zap-encoder"):
        _ = ZapFlags(encoder="xml").log_format
    for level in ("loud", "0"):
        with pytest.raises(ValueError, match="--zap-log-level"):
            _ = ZapFlags(level=level).log_level
    assert [
        why.partition(":")[0] for why in ZapFlags(stacktrace_level="panic", time_encoding="epoch").without_effect()
    ] == [
        "--zap-stacktrace-level",
        "--zap-time-encoding",
    ]
    assert list(ZapFlags(stacktrace_level="error", time_encoding="rfc3339").without_effect()) == []
