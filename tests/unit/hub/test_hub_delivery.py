"""Delivery: nothing is lost silently, numbers are never reused, the window holds. (hub/delivery.py)"""

from __future__ import annotations

from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from bubu_wire.codec import decode, encode
from bubu_wire.inspection import Inspected, Inspector
from bubu_wire.messages import BinaryFrame, DataRequest, DataResponse, StreamEnvelope
from hub.delivery import MAX_PARTITIONS, Loss, StepDelivery
from hub.settings import ConcurrencyMode, DeliverySettings, DropPolicy, Ordering

ALO = DeliverySettings(at_least_once=True, ordering=Ordering.PER_STREAM, window_messages=4)
INSPECTOR = Inspector()
STREAM = "team/run/step@1"


def packet(number: int, partition: str = "", size: int = 1, **metadata: str) -> Inspected:
    envelope = StreamEnvelope(partition=partition) if partition else None
    frame = BinaryFrame(number.to_bytes(4, "big") * size, "a/b")
    return INSPECTOR.inspect(encode(DataRequest(frame, {"n": str(number), **metadata}, envelope=envelope)))


def offer(delivery: StepDelivery, number: int, now: float = 0.0, partition: str = "") -> Loss | None:
    content = packet(number, partition)
    return delivery.offer(content, len(content.body), now)


def delivery_of(chosen: DeliverySettings = ALO) -> StepDelivery:
    made = StepDelivery(chosen, STREAM, {"current-step-id": "step"})
    made.connected()
    return made


def sent(messages: list[bytes]) -> list[tuple[int, int]]:
    """Which packets these messages are, and their numbers."""
    decoded = [decode(DataResponse, message) for message in messages]
    return [(int(each.metadata["n"]), each.envelope.sequence if each.envelope else 0) for each in decoded]


def take(delivery: StepDelivery, now: float = 0.0) -> list[tuple[int, int]]:
    return sent(delivery.take(now, 1_000_000))


def balance(delivery: StepDelivery) -> int:
    counts = delivery.counts
    return counts.offered - counts.delivered - sum(counts.lost.values()) - delivery.pending


def test_no_more_is_in_flight_than_the_receiver_can_acknowledge() -> None:
    delivery = delivery_of()
    for number in range(10):
        offer(delivery, number)

    assert take(delivery) == [(0, 1), (1, 2), (2, 3), (3, 4)]
    assert take(delivery) == []
    assert delivery.receipt(delivery.stream_id, "", 3, 0.0)  # out of order
    assert take(delivery) == [(4, 5)]
    assert delivery.acknowledged() == 0
    delivery.receipt(delivery.stream_id, "", 1, 0.0)
    delivery.receipt(delivery.stream_id, "", 2, 0.0)
    assert delivery.acknowledged() == 3


def test_metadata_of_the_receiver_is_put_over_that_of_the_packet() -> None:
    delivery = delivery_of()
    offer(delivery, 7)

    (message,) = delivery.take(0.0, 1)
    assert decode(DataResponse, message).metadata == {"n": "7", "current-step-id": "step"}


def test_bytes_in_flight_are_bounded_too_but_one_packet_always_goes() -> None:
    delivery = delivery_of(replace(ALO, window_bytes=1))
    offer(delivery, 0)
    offer(delivery, 1)

    assert take(delivery) == [(0, 1)]
    delivery.receipt(delivery.stream_id, "", 1, 0.0)
    assert take(delivery) == [(1, 2)]


def test_receipts_of_other_streams_and_repeated_ones_free_nothing() -> None:
    delivery = delivery_of()
    offer(delivery, 0)
    take(delivery)

    assert not delivery.receipt("another", "", 1, 0.0)
    assert not delivery.receipt(delivery.stream_id, "", 2, 0.0)
    assert delivery.receipt(delivery.stream_id, "any", 1, 0.0)  # numbers are not counted by partition here
    assert not delivery.receipt(delivery.stream_id, "", 1, 0.0)
    assert (delivery.counts.delivered, delivery.counts.unknown_receipts) == (1, 3)


def test_a_new_session_gets_what_has_no_receipt_with_the_same_numbers() -> None:
    delivery = delivery_of()
    for number in range(6):
        offer(delivery, number)
    take(delivery)
    delivery.receipt(delivery.stream_id, "", 2, 0.0)
    delivery.expire(1.0, reading=1.0)
    delivery.disconnected()

    assert take(delivery) == []
    delivery.connected()
    assert take(delivery) == [(0, 1), (2, 3), (3, 4), (4, 5)]


def test_a_client_that_may_have_dropped_its_outputs_gets_what_it_has_acknowledged_under_another_name() -> None:
    """A client of the Go SDK drops its outputs with the connection, and remembers the numbers of their inputs."""
    delivery = delivery_of()
    offer(delivery, 0)
    offer(delivery, 1)
    take(delivery)
    delivery.receipt(STREAM, "", 1, 0.0)
    delivery.disconnected()
    delivery.connected()
    again = [decode(DataResponse, message).envelope for message in delivery.take(0.0, 10_000)]
    assert again == [StreamEnvelope(f"{STREAM}.1", 1), StreamEnvelope(f"{STREAM}.1", 2)]
    assert not delivery.receipt(STREAM, "", 2, 0.0)
    assert delivery.receipt(f"{STREAM}.1", "", 2, 0.0)
    assert (delivery.counts.delivered, balance(delivery)) == (2, 0)


def test_a_process_that_connects_again_gets_the_numbers_that_it_remembers() -> None:
    delivery = delivery_of()
    offer(delivery, 0)
    take(delivery)
    delivery.disconnected()
    delivery.connected(is_known=True)
    assert take(delivery) == [(0, 1)]
    assert delivery.stream_id == STREAM


def test_a_copy_outlives_its_receipt_only_while_the_outputs_are_read() -> None:
    for reading, again in ((0.1, [(0, 1)]), (0.3, [])):
        delivery = delivery_of()
        offer(delivery, 0)
        take(delivery)
        delivery.receipt(delivery.stream_id, "", 1, 0.0)
        delivery.expire(100.0, reading)
        delivery.disconnected()
        delivery.connected()

        assert take(delivery, 100.0) == again
        if again:
            delivery.receipt(delivery.stream_id, "", 1, 0.0)
        assert (delivery.counts.delivered, balance(delivery)) == (1, 0)


def test_a_new_session_gets_everything_in_the_order_in_which_it_was_accepted() -> None:
    delivery = delivery_of()
    for number in range(6):
        offer(delivery, number)
    take(delivery)
    delivery.receipt(delivery.stream_id, "", 2, 0.0)  # its copy stays
    delivery.receipt(delivery.stream_id, "", 4, 0.0)
    delivery.disconnected()
    delivery.connected()

    assert take(delivery) == [(0, 1), (1, 2), (2, 3), (3, 4)]


def test_a_copy_that_grows_too_old_is_no_loss() -> None:
    delivery = delivery_of(replace(ALO, max_age_seconds=5))
    offer(delivery, 0)
    take(delivery)
    delivery.receipt(delivery.stream_id, "", 1, 0.0)
    delivery.disconnected()
    delivery.expire(5.0, 0.0)

    assert (delivery.waiting, delivery.counts.lost, balance(delivery)) == (0, {}, 0)


def test_while_nothing_is_read_no_copy_wakes_the_owner() -> None:
    delivery = delivery_of(replace(ALO, linger_seconds=5))
    offer(delivery, 0)
    take(delivery)
    delivery.receipt(delivery.stream_id, "", 1, 0.0)

    assert delivery.due(10.0, 1.0) == 14.0
    assert delivery.due(10.0, 1.0, is_reading=False) == float("inf")


def test_what_is_not_acknowledged_in_time_is_sent_again_later_and_later_then_given_up() -> None:
    delivery = delivery_of(replace(ALO, redeliver_seconds=10, max_attempts=3))
    offer(delivery, 0)
    now, waits = 0.0, []
    while take(delivery, now) == [(0, 1)]:
        waits.append(delivery.due(now, 0.0) - now)
        now += waits[-1]
        delivery.expire(now, 0.0)

    assert waits == [10.0, 20.0, 40.0]
    assert delivery.counts.lost == {Loss.RETRY_EXHAUSTED: 1}
    assert [parcel.sequence for parcel in delivery.take_dead()] == [1]
    assert delivery.take_dead() == []


def test_the_packet_that_kills_its_receiver_is_given_up_and_its_neighbours_are_not() -> None:
    delivery = delivery_of(replace(ALO, max_attempts=4))
    for number in range(10):
        offer(delivery, number)
    poison, done = 2, set()
    for _session in range(30):
        delivery.connected()
        alive = True
        while alive and (arrived := take(delivery)):
            alive = poison not in {number for number, _ in arrived}
            if alive:
                for number, sequence in arrived:
                    done.add(number)
                    delivery.receipt(delivery.stream_id, "", sequence, 0.0)
        delivery.disconnected()

    assert done == set(range(10)) - {poison}
    assert delivery.counts.lost == {Loss.RETRY_EXHAUSTED: 1}
    assert delivery.counts.delivered == 9


def test_without_blocking_packets_are_dropped_by_policy_and_counted() -> None:
    chosen = replace(ALO, blocks=False, max_messages=2)
    for policy, kept, why in ((DropPolicy.NEWEST, [0, 1], Loss.BUFFER_FULL), (DropPolicy.OLDEST, [1, 2], None)):
        delivery = delivery_of(replace(chosen, drop_policy=policy))
        assert not delivery.must_wait(1)
        results = [offer(delivery, number) for number in range(3)]

        assert results == [None, None, why]
        assert [number for number, _ in take(delivery)] == kept
        assert sum(delivery.counts.lost.values()) == 1
        assert balance(delivery) == 0


def test_with_blocking_a_full_buffer_makes_producers_wait() -> None:
    delivery = delivery_of(replace(ALO, max_messages=4, window_messages=1))
    for number in range(4):
        assert not delivery.must_wait(10)
        offer(delivery, number)
    assert delivery.must_wait(10)
    assert delivery.gate.update(delivery.fill())

    take(delivery)
    delivery.gate.update(delivery.fill())
    assert delivery.must_wait(10)  # 75 %
    delivery.receipt(delivery.stream_id, "", 1, 0.0)
    take(delivery)
    assert delivery.gate.update(delivery.fill())  # 50 %
    assert not delivery.must_wait(10)


def test_a_packet_larger_than_the_buffer_is_dropped_and_never_waits() -> None:
    delivery = delivery_of(replace(ALO, max_bytes=10))

    assert not delivery.must_wait(11)
    assert offer(delivery, 0) is Loss.OVERSIZE
    assert balance(delivery) == 0


def test_packets_grow_too_old() -> None:
    delivery = delivery_of(replace(ALO, max_age_seconds=5))
    offer(delivery, 0, now=0.0)
    offer(delivery, 1, now=3.0)

    assert delivery.due(3.0, 0.0) == 5.0
    delivery.expire(5.0, 0.0)
    assert take(delivery) == [(1, 2)]
    assert delivery.counts.lost == {Loss.EXPIRED: 1}


def test_best_effort_loses_what_is_in_flight_and_counts_it() -> None:
    numbered = delivery_of(DeliverySettings(ordering=Ordering.PER_STREAM))
    for number in range(3):
        offer(numbered, number)
    take(numbered)
    numbered.receipt(numbered.stream_id, "", 2, 0.0)
    numbered.disconnected()
    numbered.connected()

    assert take(numbered) == []
    assert numbered.counts.lost == {Loss.SESSION_ENDED: 2}

    late = delivery_of(DeliverySettings(ordering=Ordering.PER_STREAM))
    offer(late, 0)
    take(late)
    late.expire(30.0, 0.0)
    assert late.counts.lost == {Loss.TIMEOUT: 1}


def test_packets_without_numbers_are_delivered_when_they_are_written() -> None:
    delivery = delivery_of(DeliverySettings())
    for number in range(20):
        offer(delivery, number)

    assert take(delivery) == [(number, 0) for number in range(16)]
    assert delivery.counts.delivered == 0
    delivery.flushed()
    assert take(delivery) == [(number, 0) for number in range(16, 20)]
    delivery.disconnected()
    assert (delivery.counts.delivered, delivery.counts.lost) == (16, {Loss.SESSION_ENDED: 4})


def test_each_partition_has_its_own_numbers_and_none_is_used_twice() -> None:
    delivery = delivery_of(replace(ALO, ordering=Ordering.PER_PARTITION, max_messages=10**6, window_messages=10**6))
    used = set()
    for number in range(3 * MAX_PARTITIONS):
        for partition in ("hot", f"p{number % (MAX_PARTITIONS + 300)}"):
            offer(delivery, number, partition=partition)
            for message in delivery.take(0.0, 1_000_000):
                envelope = decode(DataResponse, message).envelope
                assert envelope is not None
                assert (envelope.partition, envelope.sequence) not in used
                used.add((envelope.partition, envelope.sequence))

    assert len(delivery._next) <= MAX_PARTITIONS
    assert ("hot", 3 * MAX_PARTITIONS) in used  # a partition in use is not forgotten
    assert delivery.acknowledged("hot") == 0


def test_the_end_of_a_run_counts_what_was_pending() -> None:
    delivery = delivery_of()
    for number in range(6):
        offer(delivery, number)
    take(delivery)
    delivery.receipt(delivery.stream_id, "", 1, 0.0)
    delivery.abandon()

    assert delivery.counts.lost == {Loss.RUN_ENDED: 5}
    assert (balance(delivery), delivery.kept_bytes) == (0, 0)


class DeliveryMachine(RuleBasedStateMachine):
    """A receiver that forgets, repeats, mixes and breaks off; at the end it behaves, and everything must be there."""

    @initialize(
        chosen=st.builds(
            DeliverySettings,
            max_messages=st.integers(1, 6),
            max_bytes=st.sampled_from([60, 10_000]),
            max_age_seconds=st.sampled_from([None, None, 20.0]),
            drop_policy=st.sampled_from(DropPolicy),
            blocks=st.booleans(),
            ordering=st.sampled_from(Ordering),
            at_least_once=st.booleans(),
            window_messages=st.integers(1, 4),
            window_bytes=st.sampled_from([30, 10_000]),
            max_attempts=st.sampled_from([None, 2, 4]),
            concurrency=st.sampled_from(ConcurrencyMode),
            by_participant=st.booleans(),
        )
    )
    def begin(self, chosen: DeliverySettings) -> None:
        if chosen.at_least_once and chosen.ordering is Ordering.NONE:
            chosen = replace(chosen, ordering=Ordering.PER_STREAM)
        self.delivery = StepDelivery(chosen, STREAM, {"current-step-id": "step"})
        self.chosen = chosen
        self.now = self.reading = 0.0
        self.offered = 0
        self.accepted: set[int] = set()
        self.arrived: list[tuple[str, int, int]] = []
        """What the receiver of this session has, with partition and number."""
        self.seen: dict[tuple[str, int], int] = {}
        self.ever: set[int] = set()
        self.on_wire: list[tuple[str, int]] = []
        """Receipts under way."""

    @rule(partition=st.sampled_from(["", "a", "b"]), size=st.sampled_from([1, 1, 8]), who=st.sampled_from("xy"))
    def offer(self, partition: str, size: int, who: str) -> None:
        content = packet(self.offered, partition, size, participant=who)
        length = len(content.body)
        if self.delivery.must_wait(length):
            return
        if self.delivery.offer(content, length, self.now) is None:
            self.accepted.add(self.offered)
        self.offered += 1
        self.delivery.gate.update(self.delivery.fill())

    @rule(connects=st.booleans())
    def change_session(self, connects: bool) -> None:
        if self.delivery.is_connected:
            self.delivery.disconnected()
            self.on_wire.clear()
            self.arrived.clear()
        if connects:
            self.delivery.connected()
            self.reading = 0.0

    @rule(room=st.sampled_from([0, 1, 50, 10_000]))
    def take(self, room: int) -> None:
        for message in self.delivery.take(self.now, room):
            self.note(message)
        self.delivery.gate.update(self.delivery.fill())

    def note(self, message: bytes) -> None:
        decoded = decode(DataResponse, message)
        envelope = decoded.envelope or StreamEnvelope()
        number = int(decoded.metadata["n"])
        counted_by = envelope.partition if self.chosen.ordering is Ordering.PER_PARTITION else ""
        if self.chosen.is_sequenced:
            assert envelope.stream_id == self.delivery.stream_id
            assert self.seen.setdefault((counted_by, envelope.sequence), number) == number, "a number was used twice"
        else:
            assert number not in self.ever, "repeated without a number"
        self.ever.add(number)
        self.arrived.append((envelope.partition, envelope.sequence, number))

    @rule(which=st.integers(0, 10), times=st.integers(0, 2), reading=st.floats(0, 0.3))
    def acknowledge(self, which: int, times: int, reading: float) -> None:
        """In any order; some receipts are lost, some come twice."""
        self.reading += reading
        if self.arrived and self.chosen.is_sequenced:
            partition, sequence, _ = self.arrived.pop(which % len(self.arrived))
            for _ in range(times):
                self.delivery.receipt(self.delivery.stream_id, partition, sequence, self.reading)

    @rule()
    def flush(self) -> None:
        self.delivery.flushed()

    @rule(seconds=st.sampled_from([0.1, 5.0, 31.0, 700.0]), is_reading=st.booleans())
    def wait(self, seconds: float, is_reading: bool) -> None:
        self.now += seconds
        self.reading += seconds * is_reading
        self.delivery.expire(self.now, self.reading)

    @precondition(lambda self: hasattr(self, "delivery"))
    @invariant()
    def what_is_settled_ends_before_the_oldest_pending_packet(self) -> None:
        kept = (*self.delivery._waiting, *self.delivery._in_flight.values())
        pending = [parcel.order for parcel in kept if not parcel.is_delivered]
        assert self.delivery.settled == min(pending, default=self.delivery.order + 1) - 1

    @invariant()
    def everything_is_somewhere(self) -> None:
        delivery, chosen = self.delivery, self.chosen
        assert balance(delivery) == 0
        assert delivery.counts.offered == self.offered
        assert delivery.in_flight <= chosen.window_messages
        flying = [parcel.size for parcel in delivery._in_flight.values()]
        assert len(flying) <= 1 or sum(flying) <= chosen.window_bytes
        again = chosen.window_messages if chosen.at_least_once else 0
        assert delivery.waiting <= chosen.max_messages + again + len(self.ever)
        assert delivery.kept_bytes == sum(
            parcel.size
            for parcel in (
                *delivery._waiting,
                *delivery._in_flight.values(),
                *(each for _, each in delivery._lingering),
            )
        )
        turns = [parcel.turn for parcel in delivery._in_flight.values()]
        assert not chosen.takes_turns or len(turns) == len(set(turns)), "two of one turn are in flight"
        orders = [parcel.order for parcel in delivery._waiting]
        assert orders == sorted(orders)
        assert {parcel.ends < 2 or delivery.in_flight == 1 for parcel in delivery._in_flight.values()} <= {True}

    def teardown(self) -> None:
        """A receiver that acknowledges everything gets everything that was not counted as lost."""
        if not hasattr(self, "delivery"):
            return
        if self.delivery.is_connected:
            self.delivery.disconnected()
        self.delivery.connected()
        for _ in range(1_000):
            messages = self.delivery.take(self.now, 10_000)
            self.arrived.clear()
            for message in messages:
                self.note(message)
            self.delivery.flushed()
            if self.chosen.is_sequenced:
                for partition, sequence, _ in self.arrived:
                    self.delivery.receipt(self.delivery.stream_id, partition, sequence, self.reading)
            if not messages:
                break
        self.reading += 1
        self.delivery.expire(self.now, self.reading)
        assert (self.delivery.pending, self.delivery.kept_bytes, balance(self.delivery)) == (0, 0, 0)
        lost = sum(self.delivery.counts.lost.values()) - (self.offered - len(self.accepted))
        assert len(self.accepted - self.ever) <= lost, "lost and not counted"


DeliveryMachine.TestCase.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)
TestDeliveryMachine = DeliveryMachine.TestCase
