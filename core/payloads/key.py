"""Keys of stored objects: checks that they are safe to open, and that they belong to a namespace. Pure.

Keys are never cleaned: a key that is not clean is refused. Source: SDK contract 3.1, 3.2, 5.1.
"""

from __future__ import annotations

from bubu_contract.references import SHARED, is_of_namespace, key_problem, shown
from core.payloads.errors import PayloadError


def segments(key: str) -> tuple[str, ...]:
    """The parts of ``key`` between its slashes: at least one; none is ``..`` or similar.

    Raises:
        PayloadError: ``key`` is empty, absolute or too long, or has a segment that is not a plain name.
    """
    problem = key_problem(key)
    if problem:
        raise PayloadError(f"invalid storage reference {shown(key)}: it {problem}")
    return tuple(key.split("/"))


def is_safe(key: str) -> bool:
    """Whether ``segments`` accepts the key."""
    return not key_problem(key)


def check_namespace(key: str, namespace: str) -> None:
    """Refuse a key that belongs to another namespace; what is shared belongs to all.

    References come from users' data, and one bucket may serve many namespaces.

    Raises:
        PayloadError: ``key`` is unsafe, or neither ``<one segment>/<namespace>/…`` nor ``<one segment>/_shared/…``.
    """
    segments(key)
    if not is_of_namespace(key, namespace):
        raise PayloadError(
            f"the stored object {shown(key)} does not belong to namespace {namespace!r}, and only objects of the run's "
            f"own namespace are read: their keys start with 'outputs/{namespace}/' or 'inputs/{namespace}/'; "
            f"copy the data into this namespace, or, for all namespaces, below 'outputs/{SHARED}/'"
        )
