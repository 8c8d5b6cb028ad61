"""Packets are evaluated between clients on real connections, some by a process. (hub/flow.py, hub/evaluation.py)"""

from __future__ import annotations

from typing import Any

import trio

from bubu_wire.codec import decode, encode
from bubu_wire.messages import DataRequest
from core.story.kinds import StepKind
from hub.routes import StreamStep
from hub.settings import DeliverySettings, Ordering
from tests.unit.hub.json_packets import json_packet, received
from tests.unit.hub.modelled_client import EngramIO, ModelledEngram
from tests.unit.hub.stand import RUN, identity, open_hub, until

ALO = DeliverySettings(at_least_once=True, ordering=Ordering.PER_STREAM)
COSTLY = "{{ range $i := until 2000 }}{{ end }}{{ packet.text }}"


async def test_evaluated_packets_arrive_once_and_in_order_also_from_a_process() -> None:
    """What a step has said is also its ``output`` or ``outputs``, as in batch Stories."""
    sent = [decode(DataRequest, json_packet({"text": f"t{number}", "n": number})) for number in range(120)]
    got: dict[str, list[Any]] = {"quick": [], "slow": [], "plain": [], "late": []}
    steps = (
        StreamStep("emit"),
        StreamStep("odd", ("emit",), kind=StepKind.CONDITION, condition="packet.n % 2 == 1"),
        StreamStep("quick", ("odd",), ALO, runtime={"said": "{{ packet.text }}", "by": "{{ steps.odd.n }}"}),
        StreamStep("slow", ("emit",), ALO, runtime={"said": COSTLY, "by": "{{ steps.emit.output.n }}"}),
        StreamStep("plain", ("emit",), ALO),
        StreamStep(
            "late", ("emit",), ALO, condition="steps.emit.outputs.n > 99", runtime={"by": "{{ steps.emit.outputs.n }}"}
        ),
    )

    async def emit(io: EngramIO) -> None:
        for packet in sent:
            await io.out.send(packet)
        await trio.sleep_forever()

    def collect(name: str) -> ModelledEngram:
        async def program(io: EngramIO) -> None:
            async for message in io.incoming():
                got[name].append(received(encode(DataRequest(message.packet.frame, {}, message.packet.payload)))[1])
                message.done()

        return ModelledEngram(stand.port, identity(name), program)

    async with open_hub(steps) as stand, trio.open_nursery() as nursery:
        for name in got:
            nursery.start_soon(collect(name).run)
        nursery.start_soon(ModelledEngram(stand.port, identity("emit"), emit).run)
        await until(lambda: [len(found) for found in got.values()] == [60, 120, 120, 20], 40)
        await until(lambda: stand.hub.runs[RUN].outstanding("slow") == 0)
        nursery.cancel_scope.cancel()

    assert got["quick"] == [{"said": f"t{number}", "by": number} for number in range(1, 120, 2)]
    assert got["slow"] == [{"said": f"t{number}", "by": number} for number in range(120)]
    assert got["late"] == [{"by": number} for number in range(100, 120)]
