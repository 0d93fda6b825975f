"""The slabs: whatever joins, decodes, grows and leaves, every answer finds its own keys and values again."""

from __future__ import annotations

import torch
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from bot.answering.engine.cache import Cache, CacheShape, Slot

SHAPE = CacheShape(layers=2, kv_heads=1, head_size=2, dtype=torch.float32, device=torch.device("cpu"))


def test_an_answer_gets_a_slot_of_the_shortest_slab_that_holds_it() -> None:
    cache = Cache(SHAPE, 3000)
    assert [slab.positions for slab in cache.slabs] == [512, 2048, 3000]
    assert [cache.allocate(n).slab.positions for n in (1, 512, 513, 2048, 2049, 3000)] == [
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
    slots = [cache.allocate(positions) for positions in (40, 3000) for _ in range(20)]
    for slot in slots:
        slot.free()
    assert short.data.numel() == long.data.numel() == 0


def test_a_burst_of_short_answers_finds_the_memory_of_the_one_before() -> None:
    cache = Cache(SHAPE, 3000)
    for slot in [cache.allocate(40) for _ in range(16)]:
        slot.free()
    taken = cache.slabs[0].data
    assert taken.numel() > 0
    assert cache.allocate(40).slab.data is taken


class SlotTraffic(RuleBasedStateMachine):
    """Answers write numbers of their own into their slots, in any order of events."""

    @initialize()
    def open(self) -> None:
        self.cache = Cache(SHAPE, 24)
        self.written: dict[Slot, list[float]] = {}
        self.next = 1.0

    @rule()
    def join(self) -> None:
        self.written[self.cache.allocate(24)] = []

    @precondition(lambda self: self.written)
    @rule(data=st.data(), positions=st.integers(1, 5))
    def write(self, data: st.DataObject, positions: int) -> None:
        slot = data.draw(st.sampled_from(list(self.written)))
        for _ in range(min(positions, 24 - slot.length)):
            slot.slab.data[:, slot.index, :, :, slot.length] = self.next
            self.written[slot].append(self.next)
            slot.length += 1
            self.next += 1

    @precondition(lambda self: any(not slot.is_decoding for slot in self.written))
    @rule(data=st.data())
    def begin_decoding(self, data: st.DataObject) -> None:
        data.draw(st.sampled_from([slot for slot in self.written if not slot.is_decoding])).begin_decoding()

    @precondition(lambda self: self.written)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        slot = data.draw(st.sampled_from(list(self.written)))
        del self.written[slot]
        slot.free()

    @invariant()
    def everyone_finds_their_own(self) -> None:
        for slot, numbers in self.written.items():
            found = slot.keys_and_values(slot.length)
            expected = torch.tensor(numbers).reshape(1, 1, 1, -1, 1)
            assert torch.equal(found, expected.expand(2, 2, 1, -1, 2))

    @invariant()
    def decoding_slots_come_first_and_without_gaps(self) -> None:
        slab = self.cache.slabs[0]
        assert [slot.index for slot in slab.slots] == list(range(len(slab.slots)))
        assert set(slab.slots) == set(self.written)
        assert sum(slot.is_decoding for slot in slab.slots) == slab.decoding


TestSlotTraffic = SlotTraffic.TestCase
TestSlotTraffic.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
