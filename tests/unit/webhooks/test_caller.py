"""Who asks. (webhooks/caller.py)"""

from __future__ import annotations

import pytest

from webhooks.caller import is_beside

OPERATOR = "system:serviceaccount:bobrapet-system:bobrapet-controller-manager"


@pytest.mark.parametrize(
    ("account", "username", "beside"),
    [
        (OPERATOR, "system:serviceaccount:bobrapet-system:bobrapet-hub", True),
        (OPERATOR, "system:serviceaccount:bobrapet-system-2:bobrapet-hub", False),
        (OPERATOR, "system:serviceaccount:team:bobrapet-hub", False),
        (OPERATOR, "ann", False),
        (OPERATOR, "", False),
        ("", "system:serviceaccount:team:x", False),
        ("admin", "admin:x", False),
    ],
)
def test_accounts_of_one_namespace_are_beside_each_other(account: str, username: str, beside: bool) -> None:
    assert is_beside(account, username) is beside
