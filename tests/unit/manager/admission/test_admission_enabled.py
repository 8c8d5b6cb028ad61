from __future__ import annotations

import pytest

from manager.admission.enabled import webhooks_enabled


@pytest.mark.parametrize(
    ("environ", "enabled"),
    [
        ({}, True),
        ({"ENABLE_WEBHOOKS": " "}, True),
        ({"ENABLE_WEBHOOKS": "true"}, True),
        ({"ENABLE_WEBHOOKS": " f "}, False),
        ({"ENABLE_WEBHOOKS": "FALSE"}, False),
        ({"ENABLE_WEBHOOKS": "0"}, False),
        ({"ENABLE_WEBHOOKS": "no"}, True),
    ],
)
def test_webhooks_are_on_unless_a_boolean_says_no(environ: dict[str, str], enabled: bool) -> None:
    assert webhooks_enabled(environ) is enabled
