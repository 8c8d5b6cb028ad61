"""The relay of the measurement of the wire: one process, one core, as the hub will be. Prints its port.

``python -m bench.wire_relay stamp`` also puts each packet into a stream of its own, as a hub has to.
"""

from __future__ import annotations

import sys
from typing import Final

import trio

from bubu_wire.forwarding import stamp
from tests.e2e.wire.rig import RigCall, open_server

STREAM: Final = "team/run/step"


async def serve(*, stamped: bool) -> None:
    give, take = trio.open_memory_channel[RigCall](1)

    async def sink(call: RigCall) -> None:
        await give.send(call)
        await trio.sleep_forever()

    async def source(call: RigCall) -> None:
        target = await take.receive()
        sequence = 0
        while True:
            while not call.messages:
                if call.finished:
                    return
                await call.wire.news()
            batch, call.messages = call.messages, []
            count = len(batch)
            if stamped:
                batch = [stamp(packet, STREAM, sequence + number) for number, packet in enumerate(batch, 1)]
                sequence += count
            await target.send(*batch)
            call.wire.connection.consumed(call.number, count)
            call.wire.poke()

    async with open_server({"/bench.Wire/Sink": sink, "/bench.Wire/Source": source}) as port:
        sys.stdout.write(f"{port}\n")
        sys.stdout.flush()
        await trio.to_thread.run_sync(sys.stdin.buffer.read, abandon_on_cancel=True)


if __name__ == "__main__":
    trio.run(lambda: serve(stamped="stamp" in sys.argv))
