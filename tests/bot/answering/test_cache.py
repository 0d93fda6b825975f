"""The slabs: whatever joins, decodes, grows and leaves, every answer finds its own keys and values again."""

from __future__ import annotations

import torch
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from bot.answering.engine.cache import Cache, CacheShape, Seat

SHAPE = CacheShape(layers=2, heads=1, head_size=2, dtype=torch.float32, device=torch.device("cpu"))


def test_an_answer_sits_in_the_shortest_slab_that_holds_it() -> None:
    cache = Cache(SHAPE, 3000)
    assert [slab.positions for slab in cache.slabs] == [512, 2048, 3000]
    assert [cache.seat(n).slab.positions for n in (1, 512, 513, 2048, 2049, 3000)] == [
        512,
        512,
        2048,
        2048,
        3000,
        3000,
    ]


def test_a_short_context_has_one_slab() -> None:
    assert [slab.positions for slab in Cache(SHAPE, 40).slabs] == [40]


def test_an_empty_slab_gives_back_what_it_grew() -> None:
    cache = Cache(SHAPE, 3000)
    short, long = cache.slabs[0], cache.slabs[-1]
    seats = [cache.seat(positions) for positions in (40, 3000) for _ in range(20)]
    for seat in seats:
        seat.leave()
    assert short.data.numel() == long.data.numel() == 0


def test_a_burst_of_short_answers_finds_the_memory_of_the_one_before() -> None:
    cache = Cache(SHAPE, 3000)
    for seat in [cache.seat(40) for _ in range(16)]:
        seat.leave()
    taken = cache.slabs[0].data
    assert taken.numel() > 0
    assert cache.seat(40).slab.data is taken


class Seating(RuleBasedStateMachine):
    """Answers write numbers of their own into their seats, in any order of events."""

    @initialize()
    def open(self) -> None:
        self.cache = Cache(SHAPE, 24)
        self.written: dict[Seat, list[float]] = {}
        self.next = 1.0

    @rule()
    def join(self) -> None:
        self.written[self.cache.seat(24)] = []

    @precondition(lambda self: self.written)
    @rule(data=st.data(), positions=st.integers(1, 5))
    def write(self, data: st.DataObject, positions: int) -> None:
        seat = data.draw(st.sampled_from(list(self.written)))
        for _ in range(min(positions, 24 - seat.length)):
            seat.slab.data[:, seat.slot, :, :, seat.length] = self.next
            self.written[seat].append(self.next)
            seat.length += 1
            self.next += 1

    @precondition(lambda self: any(not seat.decodes for seat in self.written))
    @rule(data=st.data())
    def begin_decoding(self, data: st.DataObject) -> None:
        data.draw(st.sampled_from([seat for seat in self.written if not seat.decodes])).begin_decoding()

    @precondition(lambda self: self.written)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        seat = data.draw(st.sampled_from(list(self.written)))
        del self.written[seat]
        seat.leave()

    @invariant()
    def everyone_finds_their_own(self) -> None:
        for seat, numbers in self.written.items():
            found = seat.keys_and_values(seat.length)
            expected = torch.tensor(numbers).reshape(1, 1, 1, -1, 1)
            assert torch.equal(found, expected.expand(2, 2, 1, -1, 2))

    @invariant()
    def decoding_slots_come_first_and_without_gaps(self) -> None:
        slab = self.cache.slabs[0]
        assert [seat.slot for seat in slab.seats] == list(range(len(slab.seats)))
        assert set(slab.seats) == set(self.written)
        assert sum(seat.decodes for seat in slab.seats) == slab.decoding


TestSeating = Seating.TestCase
TestSeating.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
