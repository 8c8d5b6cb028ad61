"""What a write asks at the last moment before it is sent: whether this process may still work for its key.

Two things can end that: the lease runs out, or the key goes to another owner. What was sent before is not fenced, so
every write carries its own precondition, or is harmless.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from core.kube.errors import KubeError
from core.ownership.ownership import OwnedKey, Ownership

Fence: TypeAlias = Callable[[OwnedKey | None], None]
"""Called with the key that a write is made for, None for no key in particular; raises ``KubeError`` to refuse it."""


class NotOwnedError(KubeError):
    """The key belongs to another process, or to none; nothing was sent."""


def fence_of(ownership: Ownership, lease: Fence | None) -> Fence:
    """Refuses a write when the lease does, or when its key is not owned.

    ``lease``: of the key; today one lease covers all of them. None: this process works without one.
    """

    def check(key: OwnedKey | None) -> None:
        if lease is not None:
            lease(key)
        if key is not None and not ownership.owns(key):
            raise NotOwnedError(f"this process does not own {'/'.join(filter(None, key))} any more; nothing is written")

    return check
