"""The prefix cache: the longest prefix that fits, never another adapter's, bounded."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from bot.answering.engine.prefix_cache import EVERYONE, PrefixCache, common_length

tokens = st.lists(st.integers(0, 2), min_size=1, max_size=6).map(tuple)


def kept(*of: int) -> Tensor:
    """Stands for keys and values: [layers 1, 2, heads 1, tokens, size 1] with the tokens themselves in it."""
    return torch.tensor(of, dtype=torch.float32).reshape(1, 1, 1, -1, 1).expand(1, 2, 1, -1, 1)


@given(
    stored=st.lists(
        st.tuples(st.sampled_from("xy"), st.sampled_from(["a", "b", EVERYONE]), tokens), max_size=8
    ),
    adapter=st.sampled_from("xyz"),
    community=st.sampled_from("abc"),
    prompt=tokens,
)
def test_it_finds_the_longest_common_beginning_of_the_same_adapter_that_the_community_may_read(
    stored: list[tuple[str, str | None, tuple[int, ...]]],
    adapter: str,
    community: str,
    prompt: tuple[int, ...],
) -> None:
    store = PrefixCache(1000)
    for owner, whose, beginning in stored:
        store.add(owner, whose, beginning, kept(*beginning))
    found, length = store.longest(adapter, community, prompt)
    # never the last token: its logits must be computed
    readable = [t for a, whose, t in stored if a == adapter and whose in (EVERYONE, community)]
    assert length == max((min(common_length(t, prompt), len(prompt) - 1) for t in readable), default=0)
    if found is not None:
        assert found.adapter == adapter and found.community in (EVERYONE, community)
        assert found.keys_values[0, 0, 0, :length, 0].tolist() == list(prompt[:length])


def test_what_is_kept_is_a_copy() -> None:
    store, own = PrefixCache(100), torch.ones(1, 2, 1, 3, 1)
    store.add("x", EVERYONE, (1, 2, 3), own)
    own.zero_()
    found, _ = store.longest("x", "a", (1, 2, 3, 4))
    assert found is not None and bool((found.keys_values == 1).all())


def test_the_least_recently_used_goes_first() -> None:
    store = PrefixCache(6)
    store.add("x", EVERYONE, (1, 1, 1), kept(1, 1, 1))
    store.add("x", EVERYONE, (2, 2, 2), kept(2, 2, 2))
    store.longest("x", "a", (1, 1, 1, 9))
    store.add("x", EVERYONE, (3, 3, 3), kept(3, 3, 3))
    assert store.covers("x", EVERYONE, (1, 1, 1)) and store.covers("x", EVERYONE, (3, 3, 3))
    assert not store.covers("x", EVERYONE, (2, 2, 2))


@given(st.lists(tokens, max_size=20), st.integers(0, 12))
def test_it_never_holds_more_tokens_than_it_may(stored: list[tuple[int, ...]], most: int) -> None:
    store = PrefixCache(most)
    for beginning in stored:
        store.add("x", EVERYONE, beginning, kept(*beginning))
        held = {t for t in set(stored) if store.covers("x", EVERYONE, t)}
        roots = [t for t in held if not any(t != o and o[: len(t)] == t for o in held)]
        assert sum(map(len, roots)) <= most


def test_a_conversation_that_goes_on_takes_the_place_of_its_beginning() -> None:
    store = PrefixCache(9)
    store.add("x", EVERYONE, (1, 1), kept(1, 1))
    store.add("x", "a", (1, 1, 2), kept(1, 1, 2))
    store.add("x", "a", (1, 1, 2, 3, 4), kept(1, 1, 2, 3, 4))
    assert store.covers("x", EVERYONE, (1, 1)), "nine tokens had room for both"
    assert store.longest("x", "a", (1, 1, 2, 3, 4, 5))[1] == 5


def test_forgetting_an_adapter_leaves_the_others() -> None:
    store = PrefixCache(100)
    for owner in ("x", "y", ""):
        store.add(owner, EVERYONE, (1, 2), kept(1, 2))
    store.remove("x")
    assert [store.covers(owner, EVERYONE, (1, 2)) for owner in ("x", "y", "")] == [False, True, True]
    store.clear()
    assert not store.covers("y", EVERYONE, (1, 2))
