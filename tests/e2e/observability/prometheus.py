"""A real Prometheus, Debian's, which scrapes given targets and evaluates the shipped rules; and its HTTP API."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import trio

from core.api.objects import Object
from deployment.yaml_text import yaml_text
from tests.e2e.observability.promtool import RULES
from tools.control_plane.binaries import ensure_debian_program
from tools.control_plane.ports import unshared_port
from tools.control_plane.processes import ServerProcess, open_process

READY_SECONDS: Final = 60.0
QUERY_SECONDS: Final = 30.0


@dataclass(frozen=True)
class Line:
    """One series of an answer: its labels, and instants (Unix time) with values."""

    labels: Mapping[str, str]
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Prometheus:
    process: ServerProcess
    client: httpx.AsyncClient

    async def at(self, expression: str) -> list[Line]:
        """The value of each series now.

        Raises:
            AssertionError: Prometheus refuses the expression.
        """
        found = await self._get("query", {"query": expression})
        return [Line(each["metric"], [_point(each["value"])]) for each in found["result"]]

    async def over(self, expression: str, start: float, end: float, step: float) -> list[Line]:
        """The values of each series from ``start`` to ``end``, in Unix time, every ``step`` seconds."""
        found = await self._get("query_range", {"query": expression, "start": start, "end": end, "step": step})
        return [Line(each["metric"], [_point(point) for point in each["values"]]) for each in found["result"]]

    async def firing(self) -> set[str]:
        """Names of the alerts that fire or are about to."""
        return {alert["labels"]["alertname"] for alert in (await self._get("alerts", {}))["alerts"]}

    async def targets(self) -> list[Object]:
        found: list[Object] = (await self._get("targets", {"state": "active"}))["activeTargets"]
        return found

    async def rules(self) -> list[Object]:
        return [rule for group in (await self._get("rules", {}))["groups"] for rule in group["rules"]]

    async def _get(self, path: str, parameters: Mapping[str, Any]) -> Any:
        answer = await self.client.get(f"/api/v1/{path}", params=dict(parameters))
        body = answer.json()
        assert body["status"] == "success", f"{parameters.get('query')}: {body}"
        return body["data"]


def _point(pair: Sequence[Any]) -> tuple[float, float]:
    return float(pair[0]), float(pair[1])


def secure_scrape(job: str, addresses: Sequence[str], token_file: Path) -> Object:
    """As docs/monitoring.md has it: HTTPS without verification, and the token of an account that may read metrics."""
    return {
        "job_name": job,
        "scheme": "https",
        "authorization": {"credentials_file": str(token_file)},
        "tls_config": {"insecure_skip_verify": True},
        "static_configs": [{"targets": list(addresses)}],
    }


def plain_scrape(job: str, addresses: Sequence[str]) -> Object:
    return {"job_name": job, "static_configs": [{"targets": list(addresses)}]}


@asynccontextmanager
async def open_prometheus(directory: Path, scrapes: Sequence[Object], interval: str) -> AsyncIterator[Prometheus]:
    """A Prometheus that is ready, for the block; its data is below ``directory``."""
    program = ensure_debian_program("prometheus", "prometheus")
    config = directory / "prometheus.yaml"
    timing = {"scrape_interval": interval, "scrape_timeout": interval, "evaluation_interval": interval}
    config.write_text(yaml_text({"global": timing, "rule_files": [str(RULES)], "scrape_configs": list(scrapes)}))
    address = f"127.0.0.1:{unshared_port()}"
    command = [
        str(program),
        f"--config.file={config}",
        f"--storage.tsdb.path={directory / 'prometheus'}",
        f"--web.listen-address={address}",
    ]
    async with (
        open_process("prometheus", command, directory) as process,
        httpx.AsyncClient(base_url=f"http://{address}", timeout=QUERY_SECONDS) as client,
    ):
        await _until_ready(client, process)
        yield Prometheus(process, client)


async def _until_ready(client: httpx.AsyncClient, process: ServerProcess) -> None:
    with trio.move_on_after(READY_SECONDS):
        while True:
            try:
                if (await client.get("/-/ready")).status_code == 200:
                    return
            except httpx.TransportError:
                assert process.running, process.tail()
            await trio.sleep(0.1)
    raise AssertionError(f"Prometheus does not get ready\n{process.tail()}")
