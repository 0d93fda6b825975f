"""The prefix cache: the longest prefix that fits, never another adapter's, bounded."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from bot.answering.engine.prefix_cache import PrefixCache, common_length

tokens = st.lists(st.integers(0, 2), min_size=1, max_size=6).map(tuple)


def kept(*of: int) -> Tensor:
    """Stands for keys and values: [layers 1, 2, heads 1, tokens, size 1] with the tokens themselves in it."""
    return torch.tensor(of, dtype=torch.float32).reshape(1, 1, 1, -1, 1).expand(1, 2, 1, -1, 1)


@given(
    stored=st.lists(st.tuples(st.sampled_from("xy"), tokens), max_size=8),
    adapter=st.sampled_from("xyz"),
    prompt=tokens,
)
def test_it_finds_the_longest_common_beginning_of_the_same_adapter(
    stored: list[tuple[str, tuple[int, ...]]], adapter: str, prompt: tuple[int, ...]
) -> None:
    store = PrefixCache(1000)
    for owner, beginning in stored:
        store.add(owner, beginning, kept(*beginning))
    found, length = store.longest(adapter, prompt)
    # never the last token: its logits must be computed
    best = max((min(common_length(t, prompt), len(prompt) - 1) for a, t in stored if a == adapter), default=0)
    assert length == best
    if found is not None:
        assert found.adapter == adapter
        assert found.keys_values[0, 0, 0, :length, 0].tolist() == list(prompt[:length])


def test_what_is_kept_is_a_copy() -> None:
    store, own = PrefixCache(100), torch.ones(1, 2, 1, 3, 1)
    store.add("x", (1, 2, 3), own)
    own.zero_()
    found, _ = store.longest("x", (1, 2, 3, 4))
    assert found is not None and bool((found.keys_values == 1).all())


def test_the_least_recently_used_goes_first() -> None:
    store = PrefixCache(6)
    store.add("x", (1, 1, 1), kept(1, 1, 1))
    store.add("x", (2, 2, 2), kept(2, 2, 2))
    store.longest("x", (1, 1, 1, 9))
    store.add("x", (3, 3, 3), kept(3, 3, 3))
    assert store.covers("x", (1, 1, 1)) and store.covers("x", (3, 3, 3))
    assert not store.covers("x", (2, 2, 2))


@given(st.lists(tokens, max_size=20), st.integers(0, 12))
def test_it_never_holds_more_tokens_than_it_may(stored: list[tuple[int, ...]], most: int) -> None:
    store = PrefixCache(most)
    for beginning in stored:
        store.add("x", beginning, kept(*beginning))
        held = {t for t in set(stored) if store.covers("x", t)}
        roots = [t for t in held if not any(t != o and o[: len(t)] == t for o in held)]
        assert sum(map(len, roots)) <= most


def test_forgetting_an_adapter_leaves_the_others() -> None:
    store = PrefixCache(100)
    for owner in ("x", "y", ""):
        store.add(owner, (1, 2), kept(1, 2))
    store.remove("x")
    assert [store.covers(owner, (1, 2)) for owner in ("x", "y", "")] == [False, True, True]
    store.clear()
    assert not store.covers("y", (1, 2))
