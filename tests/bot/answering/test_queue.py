"""The fair queue: order within a community, turns among communities, bounded, honest about who is before."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from bot.answering.engine.queue import FairQueue
from bot.errors import Busy


@dataclass(eq=False)
class Question:
    community: str


def take_all(queue: FairQueue[Question]) -> list[Question]:
    taken = []
    while (request := queue.take()) is not None:
        taken.append(request)
    return taken


def fill(queue: FairQueue[Question], community: str) -> int:
    """Ask until it is busy, and say how many were let in."""
    for number in range(1000):
        try:
            queue.put(Question(community))
        except Busy:
            return number
    raise AssertionError("never busy")


def test_a_full_queue_says_how_many_are_before_you() -> None:
    queue: FairQueue[Question] = FairQueue(1, 3)
    for _ in range(4):
        queue.put(Question("a"))
        queue.take()  # one runs, the others wait
    with pytest.raises(Busy) as refused:
        queue.put(Question("a"))
    assert refused.value.before_you == 3


def test_before_you_counts_only_those_who_really_come_first() -> None:
    queue: FairQueue[Question] = FairQueue(1, 4)
    queue.put(Question("loud"))
    queue.take()
    fill(queue, "loud")
    fill(queue, "quiet")
    with pytest.raises(Busy) as refused:
        queue.put(Question("quiet"))
    # its own that wait, and by turns as many and one of the other's: never the other's whole flood
    own = sum(request.community == "quiet" for request in queue.clear())
    assert refused.value.before_you == own + min(4, own + 1)


@given(st.lists(st.sampled_from("abc"), max_size=40))
def test_within_a_community_first_come_is_first_served(communities: list[str]) -> None:
    queue: FairQueue[Question] = FairQueue(100, 100)
    asked = [Question(community) for community in communities]
    for request in asked:
        queue.put(request)
    taken = take_all(queue)
    for community in "abc":
        assert [r for r in taken if r.community == community] == [
            r for r in asked if r.community == community
        ]


@given(st.dictionaries(st.sampled_from("abcde"), st.integers(1, 20), min_size=2))
def test_communities_come_by_turns(waiting: dict[str, int]) -> None:
    queue: FairQueue[Question] = FairQueue(200, 200)
    for community, questions in waiting.items():
        for _ in range(questions):
            queue.put(Question(community))
    served: Counter[str] = Counter()
    for request in take_all(queue):
        served[request.community] += 1
        for other, total in waiting.items():
            # nobody is more than one answer ahead of a community that still waits
            assert served[other] == total or served[request.community] <= served[other] + 1


def test_a_flood_does_not_shut_out_another_community() -> None:
    queue: FairQueue[Question] = FairQueue(2, 10)
    for _ in range(2):
        queue.put(Question("loud"))
        queue.take()
    fill(queue, "loud")
    queue.put(Question("quiet"))
    first = queue.take()
    assert first is not None and first.community == "quiet"


def test_a_community_without_an_answer_under_way_gets_a_slot_although_all_are_taken() -> None:
    queue: FairQueue[Question] = FairQueue(2, 10)
    for community in ("loud", "loud", "loud", "quiet", "quiet"):
        queue.put(Question(community))
    assert Counter(request.community for request in take_all(queue)) == {"loud": 1, "quiet": 1}
    queue.put(Question("third"))
    third = queue.take()
    assert third is not None and third.community == "third"


class Traffic(RuleBasedStateMachine):
    """Any order of asking, taking, ending and withdrawing."""

    @initialize(running=st.integers(1, 5), waiting=st.integers(1, 8))
    def open(self, running: int, waiting: int) -> None:
        self.running, self.waiting = running, waiting
        self.queue: FairQueue[Question] = FairQueue(running, waiting)
        self.lined_up: list[Question] = []
        self.under_way: list[Question] = []

    @rule(community=st.sampled_from("abcd"))
    def ask(self, community: str) -> None:
        request = Question(community)
        try:
            self.queue.put(request)
        except Busy as busy:
            assert len(self.lined_up) >= self.waiting
            own = sum(other.community == community for other in self.lined_up)
            assert own <= busy.before_you <= len(self.lined_up)
        else:
            self.lined_up.append(request)

    @rule()
    def take(self) -> None:
        request = self.queue.take()
        if request is None:
            # only when there is nobody, or nobody with a right to a slot
            busy = {other.community for other in self.under_way}
            full = len(self.under_way) >= self.running
            crammed = len(self.under_way) >= 2 * self.running
            assert not self.lined_up or crammed or (full and {r.community for r in self.lined_up} <= busy)
        else:
            self.lined_up.remove(request)
            self.under_way.append(request)

    @precondition(lambda self: self.under_way)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        request = data.draw(st.sampled_from(self.under_way))
        self.under_way.remove(request)
        self.queue.done(request)

    @precondition(lambda self: self.lined_up)
    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        request = data.draw(st.sampled_from(self.lined_up))
        assert self.queue.remove(request)
        assert not self.queue.remove(request)
        self.lined_up.remove(request)

    @rule()
    def everybody_leaves(self) -> None:
        assert set(self.queue.clear()) == set(self.lined_up)
        self.lined_up = []

    @invariant()
    def bounded_and_nobody_lost(self) -> None:
        assert len(self.queue) == len(self.lined_up)
        assert len(self.lined_up) <= max(2 * self.waiting, 1)
        assert len(self.under_way) <= 2 * self.running


TestTraffic = Traffic.TestCase
