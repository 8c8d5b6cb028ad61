"""Reads from the audit log who has sent which requests to the API server. Pure.

Not counted: requests of users and of the API server itself; those that fail and are sent again; Leases; and watches. In
the cost of a run, neither are requests about no single namespace: the lists with which a process fills its caches after
its start, and those of the round every ten minutes. While nothing happens, only the lists of that round are left out.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, NamedTuple

from deployment.permissions.roles import DEFAULT_INSTALLATION
from tools.control_plane.access import CONTROLLERS, NODE

_RUNNER: Final = re.compile(r"system:serviceaccount:[^:]+:.+-((story|engram)-runner|[0-9a-f]{10})")
"""Accounts of runs, of Stories, and of pools of warm workers."""
_CLUSTER: Final = frozenset({CONTROLLERS, NODE})
_OF_DEFINITIONS: Final = frozenset(
    {
        "engramtemplates",
        "mutatingwebhookconfigurations",
        "validatingwebhookconfigurations",
        "customresourcedefinitions",
        "",  # the version of the API server
    }
)
_ROUND_SECONDS: Final = 600.0
_EARLIER_SECONDS: Final = 5.0
"""The first round begins at most so much earlier after the first request of the process."""
_REOPENED_SECONDS: Final = 1.0
"""The server notes the end of a watch so long before or after the request that follows it."""


class Sender(StrEnum):
    """Who has sent a request."""

    OPERATOR = "operator"
    CONTAINER = "container"
    """The SDK in a container of a step."""
    CLUSTER = "cluster"
    """Controllers of Kubernetes, and the node."""
    OTHER = "other"
    """A user, or the API server itself."""

    @property
    def is_ours(self) -> bool:
        return self in (Sender.OPERATOR, Sender.CONTAINER)


class Request(NamedTuple):
    """One kind of request."""

    sender: Sender
    verb: str
    target: str
    """Resource, and subresource after a slash: ``stepruns/status``. Without a resource, the path of the request."""

    def __str__(self) -> str:
        return f"{self.sender} {self.verb} {self.target}"

    @property
    def resource(self) -> str:
        return self.target.partition("/")[0]


class Sent(NamedTuple):
    """One request, as the API server has logged it."""

    request: Request
    name: str = ""
    """The name of its object, if it is about one."""
    at: float = 0.0
    """When the server received it, in seconds since 1970."""
    done: float = 0.0
    """When the server had answered it."""
    code: int = 200
    namespace: str = ""

    @property
    def is_repeated(self) -> bool:
        """Whether the request has failed, and is sent again: after a conflict, under load, or after an error."""
        return self.code in (409, 429) or self.code >= 500


def sender_of(event: dict[str, Any]) -> Sender:
    name = str(event["user"]["username"])
    if name == DEFAULT_INSTALLATION.user:
        return Sender.OPERATOR
    if _RUNNER.fullmatch(name):
        return Sender.CONTAINER
    return Sender.CLUSTER if name in _CLUSTER else Sender.OTHER


def sent_requests(events: Iterable[dict[str, Any]]) -> list[Sent]:
    """All but watches and what is about Leases, in the order of their answers."""
    return [sent for sent in map(_sent, events) if sent.request.verb != "watch" and sent.request.resource != "leases"]


def _sent(event: dict[str, Any]) -> Sent:
    about = event.get("objectRef") or {}
    target = str(about.get("resource") or event.get("requestURI") or "")
    if about.get("subresource"):
        target += f"/{about['subresource']}"
    return Sent(
        Request(sender_of(event), event["verb"], target),
        name=str(about.get("name") or ""),
        at=_seconds(event.get("requestReceivedTimestamp")),
        done=_seconds(event.get("stageTimestamp")),
        code=int((event.get("responseStatus") or {}).get("code") or 0),
        namespace=str(about.get("namespace") or ""),
    )


def _seconds(text: str | None) -> float:
    return datetime.fromisoformat(text).timestamp() if text else 0.0


def counted(sent: Iterable[Sent]) -> Counter[Request]:
    """How many there are of each kind, without those of others and those that are repeated."""
    return Counter(each.request for each in sent if each.request.sender is not Sender.OTHER and not each.is_repeated)


def while_idle(events: Iterable[dict[str, Any]], since: float) -> list[str]:
    """What we have sent since that instant, whatever it was about; what failed, too. One line for each kind.

    Left out: the round that lists all kinds, once in ten minutes since the start of the process; and one list for each
    watch that has ended, as one does that was silent for too long.
    """
    return _in_words(_unasked(events, since))


def beside_runs(events: Iterable[dict[str, Any]], since: float) -> list[str]:
    """The same for what is in no namespace, or in that of the operator, and does not follow from definitions."""
    places = ("", DEFAULT_INSTALLATION.namespace)
    found = [each for each in _unasked(events, since) if each.namespace in places]
    return _in_words(each for each in found if each.request.resource not in _OF_DEFINITIONS)


def _in_words(sent: Iterable[Sent]) -> list[str]:
    found = Counter(f"{each.request}{' in ' + each.namespace if each.namespace else ''}" for each in sent)
    return sorted(f"{what}: {number}" for what, number in found.items())


def _unasked(events: Iterable[dict[str, Any]], since: float) -> list[Sent]:
    sent = [each for each in map(_sent, events) if each.request.sender.is_ours and each.request.resource != "leases"]
    start = min((each.at for each in sent if each.request.sender is Sender.OPERATOR), default=0.0)
    ended = [each for each in sent if each.request.verb == "watch"]
    found = []
    for each in sent:
        if each.at < since or each.request.verb == "watch" or _is_of_a_round(each, start):
            continue
        follows = next((watch for watch in ended if _follows(each, watch)), None)
        if follows is None:
            found.append(each)
        else:
            ended.remove(follows)
    return found


def _follows(sent: Sent, watch: Sent) -> bool:
    """Whether it is the list before the next watch."""
    same = sent.request == watch.request._replace(verb="list") and sent.namespace == watch.namespace
    return same and abs(sent.at - watch.done) <= _REOPENED_SECONDS


def _is_of_a_round(sent: Sent, start: float) -> bool:
    """Whether it is a list of a whole kind at the time of a round. ``start``: that of the process."""
    age = sent.at - start + _EARLIER_SECONDS
    is_time = age >= _ROUND_SECONDS and age % _ROUND_SECONDS < _ROUND_SECONDS / 10
    return is_time and sent.request.verb == "list" and not sent.namespace
