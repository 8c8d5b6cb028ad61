"""Packets of one key are handled one after the other, or only the newest of them. (hub/delivery.py, hub/settings.py)"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import trio
import trio.testing

from bubu_wire.codec import decode, encode
from bubu_wire.inspection import Inspected, Inspector
from bubu_wire.messages import AudioFrame, BinaryFrame, DataRequest, DataResponse
from core.api.objects import NamespacedName
from hub import partitions
from hub.delivery import Loss, StepDelivery
from hub.routes import StreamStep
from hub.settings import DeliverySettings, Ordering, taking_turns
from hub.story_routes import BoundSettings, StoryProblemError, routes_of
from hub.topology_file import parse_topology
from tests.unit.hub.modelled_client import EngramIO, ModelledEngram
from tests.unit.hub.stand import RUN, identity, open_hub, until
from tests.unit.hub.test_hub_delivery import balance

SERIAL = taking_turns(DeliverySettings(), "serial", "storyrun")
EACH = taking_turns(DeliverySettings(), "serial", "participant")
NEWEST = taking_turns(DeliverySettings(), "cancelPrevious", "storyrun")
NEWEST_OF_EACH = taking_turns(DeliverySettings(), "cancelPrevious", "participant")
INSPECTOR = Inspector()
STREAM = "team/run/step@1"


def packet(name: str, **metadata: str) -> Inspected:
    return INSPECTOR.inspect(encode(DataRequest(BinaryFrame(b"x", "a/b"), {"n": name, **metadata})))


def step_of(settings: DeliverySettings) -> StepDelivery:
    made = StepDelivery(settings, STREAM, {})
    made.connected()
    return made


def offer(delivery: StepDelivery, name: str, **metadata: str) -> Loss | None:
    content = packet(name, **metadata)
    return delivery.offer(content, len(content.body), 0.0)


def take(delivery: StepDelivery, now: float = 0.0) -> list[str]:
    """The packets that are sent now; receipts name them by the order in which they were accepted."""
    return [decode(DataResponse, message).metadata["n"] for message in delivery.take(now, 1_000_000)]


def test_one_packet_follows_the_receipt_of_the_other() -> None:
    delivery = step_of(SERIAL)
    for name in ("a", "b", "c"):
        offer(delivery, name, participant="same or not")
    assert (take(delivery), take(delivery)) == (["a"], [])
    delivery.flushed()
    assert take(delivery) == []  # written is not handled
    assert delivery.receipt(STREAM, "", 1, 0.0)
    assert (take(delivery), take(delivery)) == (["b"], [])
    assert balance(delivery) == 0


def test_participants_do_not_wait_for_each_other() -> None:
    delivery = step_of(EACH)
    for name, who in (("a1", "ann"), ("a2", "ann"), ("b1", "bob"), ("a3", "ann"), ("b2", "bob")):
        offer(delivery, name, participant=who)
    offer(delivery, "c1", **{"participant.id": "cleo"})
    offer(delivery, "n1")
    offer(delivery, "n2")
    assert (take(delivery), take(delivery)) == (["a1", "b1", "c1", "n1"], [])
    delivery.receipt(STREAM, "", 3, 0.0)
    assert take(delivery) == ["b2"]
    delivery.receipt(STREAM, "", 1, 0.0)
    assert take(delivery) == ["a2"]
    assert balance(delivery) == 0


def test_the_newest_takes_the_place_of_those_that_wait_and_nothing_that_was_sent_is_dropped() -> None:
    delivery = step_of(NEWEST)
    offer(delivery, "a")
    assert take(delivery) == ["a"]
    for name in ("b", "c", "d"):
        assert offer(delivery, name) is None
    assert delivery.counts.lost == {Loss.SUPERSEDED: 2}
    assert (delivery.waiting, delivery.in_flight) == (1, 1)
    delivery.receipt(STREAM, "", 1, 0.0)
    assert take(delivery) == ["d"]
    assert balance(delivery) == 0


def test_the_newest_of_each_participant_waits() -> None:
    delivery = step_of(NEWEST_OF_EACH)
    for name, who in (("a1", "ann"), ("b1", "bob")):
        offer(delivery, name, participant=who)
    assert take(delivery) == ["a1", "b1"]
    for name, who in (("a2", "ann"), ("b2", "bob"), ("a3", "ann")):
        offer(delivery, name, participant=who)
    assert delivery.counts.lost == {Loss.SUPERSEDED: 1}
    delivery.receipt(STREAM, "", 1, 0.0)
    delivery.receipt(STREAM, "", 2, 0.0)
    assert sorted(take(delivery)) == ["a3", "b2"]


@pytest.mark.parametrize("settings", [SERIAL, EACH, NEWEST, NEWEST_OF_EACH])
def test_frames_of_sound_wait_for_nothing_and_replace_nothing(settings: DeliverySettings) -> None:
    delivery = step_of(settings)
    offer(delivery, "a")
    offer(delivery, "b")
    for number in range(3):
        sound = encode(DataRequest(AudioFrame(8_000, 1, b"xx"), {"n": f"sound{number}"}))
        assert delivery.offer(INSPECTOR.inspect(sound), 10, 0.0) is None
    first = "b" if settings in (NEWEST, NEWEST_OF_EACH) else "a"
    assert take(delivery) == [first, "sound0", "sound1", "sound2"]
    assert delivery.counts.lost.total() == (first == "b")


def test_a_packet_that_is_sent_again_keeps_its_turn() -> None:
    delivery = step_of(replace(NEWEST, at_least_once=True, ordering=Ordering.PER_STREAM))
    offer(delivery, "a")
    assert take(delivery) == ["a"]
    delivery.disconnected()
    offer(delivery, "b")
    assert delivery.counts.lost == {}
    delivery.connected()
    assert (take(delivery), take(delivery)) == (["a"], [])
    delivery.receipt(delivery.stream_id, "", 1, 0.0)
    assert take(delivery) == ["b"]


def test_a_packet_that_has_overtaken_others_goes_back_to_its_place() -> None:
    delivery = step_of(replace(EACH, at_least_once=True, ordering=Ordering.PER_STREAM))
    for name, who in (("a1", "ann"), ("a2", "ann"), ("b1", "bob")):
        offer(delivery, name, participant=who)
    assert take(delivery) == ["a1", "b1"]
    delivery.receipt(STREAM, "", 1, 0.0)
    delivery.disconnected()
    assert delivery.settled == 1  # a2 still waits
    delivery.connected()
    assert take(delivery) == ["a1", "b1"]  # the copy of a1 was still kept


def test_without_repetition_a_slow_step_is_waited_for_and_one_that_never_answers_is_not() -> None:
    delivery = step_of(SERIAL)
    offer(delivery, "a")
    offer(delivery, "b")
    assert take(delivery) == ["a"]
    delivery.expire(599.0, 0.0)
    assert take(delivery, 599.0) == []
    delivery.expire(601.0, 0.0)
    assert delivery.counts.lost == {Loss.TIMEOUT: 1}
    assert take(delivery, 601.0) == ["b"]


def test_the_search_for_the_next_participant_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partitions, "MAX_LOOKED_AT", 3)
    delivery = step_of(EACH)
    for number in range(4):
        offer(delivery, f"a{number}", participant="ann")
    offer(delivery, "b", participant="bob")
    assert take(delivery) == ["a0"]
    delivery.receipt(STREAM, "", 1, 0.0)
    assert take(delivery) == ["a1", "b"]


def test_parallel_changes_nothing_and_other_words_are_refused() -> None:
    plain = DeliverySettings()
    assert taking_turns(plain, "parallel", "participant") is plain
    assert not plain.is_sequenced
    assert SERIAL.is_sequenced
    for mode, scope, named in (("single", "storyrun", "mode: 'single'"), ("serial", "room", "scope: 'room'")):
        with pytest.raises(ValueError, match=named):
            taking_turns(plain, mode, scope)


@pytest.mark.parametrize(
    "concurrency", [None, {}, {"mode": "serial"}, {"mode": "cancelPrevious", "scope": "participant"}]
)
def test_the_story_says_how_many_packets_its_engrams_handle_at_a_time(concurrency: Any) -> None:
    steps = [{"name": "a", "ref": {"name": "e"}}, {"name": "b", "ref": {"name": "e"}, "needs": ["a"]}]
    spec = {"steps": steps, **({"concurrency": concurrency} if concurrency is not None else {})}
    story = {"metadata": {"name": "s"}, "spec": spec}
    routes = routes_of(NamespacedName("team", "r"), story, {}, {"a": BoundSettings(), "b": BoundSettings()})
    found = [(step.delivery.concurrency.value, step.delivery.by_participant) for step in routes.steps.values()]
    wanted = concurrency or {}
    assert found == [(wanted.get("mode", "parallel"), wanted.get("scope") == "participant")] * 2


def test_a_mode_that_the_schema_did_not_see_is_refused_with_the_step() -> None:
    spec = {"steps": [{"name": "a", "ref": {"name": "e"}}], "concurrency": {"mode": "single"}}
    with pytest.raises(StoryProblemError, match=r"step a: spec\.concurrency\.mode: 'single'"):
        routes_of(NamespacedName("team", "r"), {"metadata": {"name": "s"}, "spec": spec}, {}, {"a": BoundSettings()})


def test_a_topology_file_may_say_it_for_a_run() -> None:
    def delivery(more: str) -> DeliverySettings:
        steps = "[{name: a, binding: {name: a, uid: u}}]"
        (routes,) = parse_topology(f"runs: [{{namespace: t, name: r, story: s, {more} steps: {steps}}}]").runs.values()
        return routes.steps["a"].delivery

    found = delivery("concurrency: {mode: serial, scope: participant},")
    assert found == taking_turns(delivery(""), "serial", "participant")
    assert found != delivery("concurrency: {mode: parallel},") == delivery("")


async def test_a_client_never_has_two_packets_of_one_participant() -> None:
    """A client that handles packets side by side, over a real connection; without ``at_least_once``."""
    busy: dict[str, int] = {}
    most: dict[str, int] = {}
    order: dict[str, list[int]] = {"ann": [], "bob": []}

    async def emit(io: EngramIO) -> None:
        for number in range(40):
            who = ("ann", "bob")[number % 2]
            await io.out.send(DataRequest(BinaryFrame(b"x", "a/b"), {"participant": who, "n": str(number)}))
        await trio.sleep_forever()

    async def handle(io: EngramIO) -> None:
        async def one(message: Any) -> None:
            who = message.packet.metadata["participant"]
            busy[who] = busy.get(who, 0) + 1
            most[who] = max(most.get(who, 0), busy[who])
            await trio.sleep(0.002)
            order[who].append(int(message.packet.metadata["n"]))
            busy[who] -= 1
            message.done()

        async with trio.open_nursery() as nursery:
            async for message in io.incoming():
                nursery.start_soon(one, message)

    steps = (StreamStep("emit"), StreamStep("handle", ("emit",), EACH))
    async with open_hub(steps) as stand, trio.open_nursery() as nursery:
        nursery.start_soon(ModelledEngram(stand.port, identity("handle"), handle).run)
        nursery.start_soon(ModelledEngram(stand.port, identity("emit"), emit).run)
        await until(lambda: sum(map(len, order.values())) == 40)
        await until(lambda: stand.counts("handle").delivered == 40)
        assert stand.hub.runs[RUN].outstanding("handle") == 0
        nursery.cancel_scope.cancel()

    assert most == {"ann": 1, "bob": 1}
    assert order == {"ann": list(range(0, 40, 2)), "bob": list(range(1, 40, 2))}
