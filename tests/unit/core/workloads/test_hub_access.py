"""The access to the hub. (core/workloads/hub_access.py)"""

from __future__ import annotations

import pytest

from core.workloads.hub_access import HubAccess, default_endpoint, is_plaintext


def test_the_key_is_in_no_representation() -> None:
    assert "secret" not in repr(HubAccess("hub:9000", b"secret" * 8))


@pytest.mark.parametrize(
    ("endpoint", "plain"),
    [
        ("127.0.0.1:9000", True),
        ("127.1.2.3:1", True),
        ("[::1]:9000", True),
        ("localhost:9000", True),
        (default_endpoint("bobrapet-system"), False),
        ("10.0.0.1:9000", False),
    ],
)
def test_only_the_own_machine_is_dialled_in_plaintext(endpoint: str, plain: bool) -> None:
    assert is_plaintext(endpoint) is plain
