"""Whether the API server answers, how fast, and in which version; and its clock."""

from __future__ import annotations

import email.utils
import re
from datetime import UTC, datetime, timedelta
from typing import Final

import orjson

from cli.doctor.context import DoctorContext
from core.api.objects import Object
from core.engine.clock import system_now
from core.kube.errors import error_from_answer
from deployment.metadata import OLDEST_KUBERNETES
from views.doctor.diagnosis import Diagnosis, ok, problem, warning

SLOW: Final = timedelta(seconds=1)
_VERSION: Final = re.compile(r"v?(\d+)\.(\d+)")
_NOTICED: Final = timedelta(seconds=2)
_HARMFUL: Final = timedelta(seconds=30)


def of_version(version: Object, took: timedelta) -> Diagnosis:
    text = str(version.get("gitVersion") or "unknown version")
    found = _VERSION.match(text)
    said = f"{text} answers within {max(round(took.total_seconds() * 1000), 1)} ms"
    if found is None:
        return warning(f"the API server has no version that can be read: {text!r}")
    if (int(found[1]), int(found[2])) < OLDEST_KUBERNETES:
        oldest = ".".join(map(str, OLDEST_KUBERNETES))
        return problem(
            f"the API server has version {text}; the operator needs {oldest} or newer", "upgrade the cluster"
        )
    if took > SLOW:
        return warning(f"{said}, which is slow", "commands and the operator wait for it: look at its load")
    return ok(said)


def of_clock(date: str | None, sent_at: datetime, received_at: datetime) -> Diagnosis | None:
    """The difference of the two clocks.

    Args:
        date: header ``Date`` of an answer, which has whole seconds; without one, there is nothing to say.
        sent_at, received_at: by the clock of this machine.
    """
    parsed = email.utils.parsedate_to_datetime(date) if date else None
    if parsed is None:
        return None
    server = parsed.astimezone(UTC)
    ahead = max(server - received_at, timedelta())
    behind = max(sent_at - (server + timedelta(seconds=1)), timedelta())
    skew = max(ahead, behind)
    if skew <= _NOTICED:
        return ok("the clocks of API server and this machine agree")
    seconds, direction = round(skew.total_seconds()), "ahead of" if ahead else "behind"
    text = f"the clock of the API server is {seconds} s {direction} this machine's"
    remedy = "synchronise both (NTP); ages, deadlines and certificates are judged by these clocks"
    return problem(text, remedy) if skew > _HARMFUL else warning(text, remedy)


async def examine(context: DoctorContext) -> list[Diagnosis]:
    """
    Raises:
        KubeError: it does not answer, or refuses this user.
    """
    sent_at = system_now()
    response = await context.client.request("GET", "/version")
    received_at = system_now()
    if response.is_error:
        raise error_from_answer(response.status_code, response.content)
    clock = of_clock(response.headers.get("date"), sent_at, received_at)
    return [of_version(orjson.loads(response.content), received_at - sent_at), *([clock] if clock else [])]
