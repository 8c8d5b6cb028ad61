"""The hub's permissions, row by row: verb, resource, reason. Pure data; fast to import.

The hub moves packets and reports on them. It can read Stories and their inputs, because it routes by them, and start
StoryRuns, because packets do; of Secrets it reads its own two, by name.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from core.api.objects import Object
from core.api.permission import Permission
from core.api.resource import CONTROLLER_REVISION, LEASE, SECRET, STORY_RUN, TRANSPORT_BINDING
from core.workloads.hub_key import HUB_KEY_SECRET
from deployment.permissions.documents import service_account, table_objects
from deployment.permissions.names import (
    DEFAULT_INSTALLATION,
    HUB_ACCOUNT,
    HUB_LEASE_NAME,
    HUB_TLS_NAME,
    Installation,
)
from deployment.permissions.role_table import Reach, RoleTable

STREAMS: Final = RoleTable(
    "hub-role",
    "hub-rolebinding",
    Reach.CLUSTER,
    "Permissions of the hub.",
    (
        Permission(TRANSPORT_BINDING, ("list", "watch"), "Bindings say which steps there are, and who may connect."),
        Permission(
            TRANSPORT_BINDING, ("patch",), "Reports which steps are connected and drained.", subresource="status"
        ),
        Permission(STORY_RUN, ("get",), "Reads the inputs of a realtime run, once."),
        Permission(
            STORY_RUN,
            ("create", "list", "watch"),
            "Packets start StoryRuns, and wait for their end.",
            seldom="Only Stories with executeStory, or an Engram of mode job, in a stream do so.",
        ),
        Permission(CONTROLLER_REVISION, ("get",), "Reads the Story that a realtime run executes, once."),
    ),
    HUB_ACCOUNT,
)
OWN: Final = RoleTable(
    "hub-own-role",
    "hub-own-rolebinding",
    Reach.OPERATOR_NAMESPACE,
    "The hub's own Lease and Secrets.",
    (
        Permission(LEASE, ("create",), "The first hub creates its Lease."),
        Permission(LEASE, ("get", "update"), "Only the hub that holds it serves.", names=(HUB_LEASE_NAME,)),
        Permission(
            SECRET,
            ("list", "watch"),
            "Verifies the tokens of containers, and serves TLS; reacts to new keys at once.",
            names=(HUB_KEY_SECRET, HUB_TLS_NAME),
        ),
    ),
    HUB_ACCOUNT,
)
HUB_TABLES: Final = (STREAMS, OWN)
"""All permissions of the hub's ServiceAccount."""


def hub_objects(installation: Installation = DEFAULT_INSTALLATION) -> Iterator[Object]:
    """The hub's ServiceAccount, roles and bindings, in the order in which they can be applied."""
    yield service_account(installation, HUB_ACCOUNT)
    for table in HUB_TABLES:
        yield from table_objects(installation, table)
