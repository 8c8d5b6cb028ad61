"""Admission during an upgrade: one address for the servers of both releases, and users who never stop writing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import trio

from certs.inject import MUTATING, VALIDATING
from core.api.resource import STORY
from core.kube.errors import ApiError, InternalServerError, InvalidError
from tests.e2e.admission_rig import NAMES, RIGHT, WRONG, is_asked, url_of
from tests.e2e.operator_rig import FLOWS, OperatorRig, is_late
from tests.e2e.yaml_documents import manifest
from tests.integration.admission_stand import led_to
from tests.integration.balancer import Balancer, open_balancer
from tools.control_plane.ports import unshared_port
from tools.control_plane.processes import ServerProcess

TOGETHER_SECONDS: Final = 2.0
"""How long servers of both releases answer."""
NOTICED_SECONDS: Final = 0.5
"""How long a Service still leads to a server that is about to stop."""
PAUSE_SECONDS: Final = 0.5
_REGISTRATIONS: Final = {MUTATING: "mutating.yaml", VALIDATING: "validating.yaml"}


@dataclass
class UpgradeAdmission:
    """``flags_of`` gives each operator a port; ``answered_by`` leads the address to it."""

    rig: OperatorRig
    balancer: Balancer
    admitted: int = 0
    refused: list[str] = field(default_factory=list)
    """Why valid objects were not admitted."""
    let_through: int = 0
    """Invalid objects that were admitted."""
    late: int = 0
    """Writes for which the API server waited too long, which happens on a busy machine."""
    _ports: dict[str, int] = field(default_factory=dict)

    def flags_of(self, name: str) -> tuple[str, ...]:
        self._ports[name] = unshared_port()
        return (f"--webhook-bind-address=127.0.0.1:{self._ports[name]}", NAMES, "--webhook-drain=3s")

    async def register(self, release: Path) -> None:
        """Apply registrations and policies of a release as they are; only the address is another one."""
        await self.rig.apply(f"{release}/manifests/policies")
        for resource, name in _REGISTRATIONS.items():
            document = manifest(release / "manifests/webhooks" / name)
            registered = led_to(document, f"https://127.0.0.1:{self.balancer.port}")
            await self.rig.client.apply(resource, registered, force=True)

    async def answered_by(self, operator: ServerProcess) -> None:
        """The operator's server answers, too, once it is ready."""
        await url_of(operator)
        self.balancer.ports.append(self._ports[operator.name])

    async def stop(self, operator: ServerProcess) -> None:
        """Stop an operator while the address still leads to it for a moment."""
        await trio.sleep(TOGETHER_SECONDS)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(operator.stop)
            await trio.sleep(NOTICED_SECONDS)
            self.balancer.ports.remove(self._ports[operator.name])

    async def write_without_end(self) -> None:
        """Apply valid Stories, and each time an invalid one."""
        number = 0
        while True:
            number += 1
            await self._write(f"valid-{number}", RIGHT)
            await self._write(f"invalid-{number}", WRONG)
            await trio.sleep(PAUSE_SECONDS)

    async def _write(self, name: str, content: Mapping[str, object]) -> None:
        story = {"apiVersion": STORY.api_version, "kind": STORY.kind, **content}
        try:
            await self.rig.client.create(STORY, {**story, "metadata": {"name": name, "namespace": FLOWS}})
        except InvalidError as error:
            if content is RIGHT:
                self.refused.append(str(error))
        except InternalServerError as error:
            if is_late(str(error)):
                self.late += 1
            else:
                self.refused.append(str(error))
        except ApiError as error:
            self.refused.append(str(error))
        else:
            self.admitted += content is RIGHT
            self.let_through += content is WRONG


@asynccontextmanager
async def open_upgrade_admission(rig: OperatorRig) -> AsyncIterator[UpgradeAdmission]:
    async with open_balancer() as balancer:
        yield UpgradeAdmission(rig, balancer)


async def begin_admission(admission: UpgradeAdmission, operator: ServerProcess, release: Path) -> None:
    """From now on the operator reviews what users write, by the registrations of ``release``."""
    await admission.answered_by(operator)
    await admission.register(release)
    await is_asked(admission.rig, operator)
