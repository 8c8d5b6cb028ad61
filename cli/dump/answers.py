"""What other commands say about a run and its cluster: why, timeline, config, doctor; and the operator's logs."""

from __future__ import annotations

import platform
from dataclasses import replace
from datetime import timedelta
from importlib.metadata import version
from typing import Final

import trio

from bubu_contract.instants import format_instant, parse_instant
from cli.configuration import find_configuration
from cli.doctor.context import DoctorContext
from cli.doctor.examination import examine
from cli.dump.contents import DumpContents
from cli.dump.logs import add_logs, logs_of
from cli.dump.objects import tolerant
from cli.facts import read_facts
from cli.render.trace import document_of as document_of_timeline
from cli.render.why import lines_of
from cli.session import Session
from core.api.objects import Object
from core.api.resource import POD
from core.engine.clock import system_now
from deployment.metadata import CONTROL_PLANE
from deployment.permissions.names import Installation
from views.doctor.diagnosis import document_of as document_of_doctor
from views.errors import ViewError
from views.timeline import timeline_of
from views.why.document import document_of as document_of_why
from views.why.explanation import explain

_BEFORE: Final = timedelta(minutes=2)
"""The operator's logs begin so long before the run."""
_WIDTH: Final = 110


async def add_answers(
    session: Session, contents: DumpContents, run: Object, installation: Installation, *, with_logs: bool
) -> None:
    """Add all of them; what cannot be read is named in the manifest."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_explanation, session, contents, run, with_logs)
        nursery.start_soon(_settings, session, contents, installation)
        nursery.start_soon(_doctor, session, contents, run, installation)
        nursery.start_soon(_versions, session, contents)


async def add_operator_logs(session: Session, contents: DumpContents, run: Object, installation: Installation) -> None:
    """The logs of the operator's Pods since the run was created; for an embedded cluster, its log file."""
    if session.embedded is not None:
        path = trio.Path(session.embedded.data / "cluster.log")
        try:
            content = await path.read_bytes()
        except OSError as error:
            contents.unreadable["operator"] = str(error)
            return
        contents.add_text("operator/cluster.log", content[-(1 << 20) :].partition(b"\n")[2].decode(errors="replace"))
        return
    selector = ",".join(f"{key}={value}" for key, value in CONTROL_PLANE.items())

    async def ask() -> list[Object]:
        return (await session.client.list(POD, installation.namespace, label_selector=selector)).items

    pods: list[Object] = await tolerant(contents, "the operator's Pods", ask, [])
    for pod in pods:
        contents.add_object(f"operator/{pod['metadata']['name']}.json", {"kind": POD.kind, **pod})
    since = parse_instant(run["metadata"]["creationTimestamp"]) - _BEFORE
    await add_logs(session, contents, logs_of(pods, "operator"), {"sinceTime": format_instant(since)})


async def _explanation(session: Session, contents: DumpContents, run: Object, with_logs: bool) -> None:
    with_data = contents.redaction.with_data

    async def ask() -> None:
        facts = await read_facts(session, run)
        explanation = explain(facts, "", session.command_in)
        causes = tuple(
            replace(
                cause,
                signal=cause.signal if with_data else None,  # its value is data
                last_lines=cause.last_lines if with_logs else (),
            )
            for cause in explanation.causes
        )
        explanation = replace(explanation, causes=causes)
        lines = lines_of(explanation, system_now(), width=_WIDTH, ascii_only=True)
        contents.add_text("why.txt", "".join(f"{line}\n" for line, _ in lines))
        contents.add_json("why.json", contents.redaction.object(document_of_why(explanation)))
        timeline = document_of_timeline(timeline_of(facts, system_now()))
        contents.add_json("timeline.json", contents.redaction.object(timeline))

    try:
        await tolerant(contents, "why.txt", ask, None)
    except ViewError as error:
        contents.unreadable["why.txt"] = str(error)


async def _settings(session: Session, contents: DumpContents, installation: Installation) -> None:
    async def ask() -> None:
        found = await find_configuration(session, installation.namespace)
        rows = [
            {
                "key": row.key,
                "value": row.value,
                "source": row.source.value,
                **({"problem": row.error} if row.error else {}),
                **({"warning": row.warning} if row.warning else {}),
            }
            for row in found.configuration.rows
        ]
        document = {"place": found.place, "isRefused": found.configuration.is_refused, "settings": rows}
        contents.add_json("config.json", contents.redaction.object(document))

    await tolerant(contents, "config.json", ask, None)


async def _doctor(session: Session, contents: DumpContents, run: Object, installation: Installation) -> None:
    here = session.in_namespace(run["metadata"]["namespace"])
    results = await examine(DoctorContext(here, installation, reads_secrets=False))
    contents.add_json("doctor.json", contents.redaction.object(document_of_doctor(results)))


async def _versions(session: Session, contents: DumpContents) -> None:
    server: Object = await tolerant(contents, "the API server's version", session.client.server_version, {})
    versions = {
        "command": version("bobrapet"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "apiServer": server.get("gitVersion"),
        "isEmbedded": session.embedded is not None,
        "at": format_instant(system_now()),
    }
    contents.add_json("versions.json", versions)
