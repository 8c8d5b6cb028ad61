"""How the rights that several components need are combined."""

from __future__ import annotations

from core.api.permission import Permission, combined
from core.api.resource import JOB, SECRET


def test_the_rights_on_one_kind_stand_together_in_the_order_of_their_first_appearance() -> None:
    watch, get, patch = (Permission(JOB, (verb,), "x.") for verb in ("watch", "get", "patch"))
    secret = Permission(SECRET, ("get",), "x.")
    assert combined((watch, secret, patch, get)) == (watch, patch, get, secret)


def test_a_right_is_there_once_with_the_reasons_of_all() -> None:
    one = Permission(JOB, ("get",), "One.", seldom="Rarely.")
    assert combined((one, one)) == (one,)
    assert combined((one, Permission(JOB, ("get",), "Two.", seldom="Never."))) == (
        Permission(JOB, ("get",), "One. Two.", seldom="Rarely. Never."),
    )
    assert combined((one, Permission(JOB, ("get",), "Two."))) == (Permission(JOB, ("get",), "One. Two."),)


def test_subresources_names_and_verbs_tell_rights_apart() -> None:
    rows = (
        Permission(JOB, ("patch",), "x."),
        Permission(JOB, ("patch",), "x.", subresource="status"),
        Permission(JOB, ("patch",), "x.", names=("a",)),
        Permission(JOB, ("get",), "x."),
    )
    assert combined(rows) == rows
