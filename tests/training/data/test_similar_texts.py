"""Near duplicates: what belongs together, what only looks alike, and as datasketch would judge it."""

from __future__ import annotations

import random

import pytest
from datasketch import MinHash

from training.data.similar_texts import Vocabulary, are_alike, groups, tokens

ALIKE = [
    ("What is LoRA?", "what is lora"),
    ("Dlaczego strata rośnie po trzeciej epoce?", "dlaczego strata rosnie, po trzeciej epoce..."),
    ("How do I fine-tune a model on a laptop CPU?", "how do i finetune a model on my laptop cpu"),
    ("Ile pamięci zajmuje model 7B w 4 bitach?", "ile pamieci zajmuja modele 7B w 4 bitach"),
    (
        "My model repeats the same sentence after training on our support questions, what should I change?",
        "My bot repeats the same sentence after training on our support questions - what should I change??",
    ),
]
DIFFERENT = [
    ("What is LoRA?", "What is QLoRA?"),
    ("What does the rank mean in LoRA?", "What does alpha mean in LoRA?"),
    ("What is lora_alpha for?", "What is lora_dropout for?"),
    ("How do I load a trained adapter from disk?", "How do I delete a trained adapter from disk?"),
    ("What is item 3?", "What is item 4?"),
    ("Ile pamięci zajmuje model 7B w 4 bitach?", "Ile pamięci zajmuje model 13B w 4 bitach?"),
    ("Does LoRA change the base weights?", "Does LoRA not change the base weights?"),
    ("Czy LoRA zmienia wagi?", "Czy LoRA nie zmienia wag?"),
    ("Why does the loss rise?", "When does the loss rise?"),
    ("Why?", "Why not?"),
    ("???", "!!!"),
]


@pytest.mark.parametrize(("one", "other"), ALIKE)
def test_questions_that_differ_in_dress_only_are_one_group(one: str, other: str) -> None:
    assert groups([one, "Where is the documentation?", other]) == [0, 1, 0]


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_short_questions_about_different_things_stay_apart(one: str, other: str) -> None:
    assert groups([one, other]) == [0, 1]


def test_likeness_is_not_handed_on_from_neighbour_to_neighbour() -> None:
    words = [f"word{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"]
    # each text shares 9 of 11 words with the next one, and the last nothing with the first
    window = [" ".join(words[at : at + 10]) for at in range(17)]
    found = groups(window)
    assert found[0] == found[1]
    assert found[0] != found[-1]


def test_no_text_at_all_has_no_group() -> None:
    assert groups([]) == []


def test_texts_without_words_are_compared_as_they_stand() -> None:
    assert groups(["", "…", "", "👍", "…"]) == [0, 1, 0, 2, 1]


def test_many_texts_that_share_a_phrase_keep_to_their_own() -> None:
    names = _names(800)
    texts = [
        f"Which settings suit {one} and {other} best?"
        for one, other in zip(names[:400], names[400:], strict=True)
    ]
    found = groups([*texts, *(text.upper() for text in texts)])
    assert found == [*range(400), *range(400)]


def test_what_datasketch_holds_for_alike_is_found() -> None:
    chance = random.Random(5)
    names = _names(300)
    texts = [" ".join(chance.sample(names, 14)) for _ in range(500)]
    changed = []
    for text in texts:
        words = text.split()
        words[chance.randrange(14)] = chance.choice(names)
        changed.append(" ".join(words))
    found = groups([*texts, *changed])
    vocabulary = Vocabulary()
    pairs = [
        place
        for place, (one, other) in enumerate(zip(texts, changed, strict=True))
        if _minhash(one).jaccard(_minhash(other)) >= 0.75
        and are_alike(tokens(one, vocabulary), tokens(other, vocabulary), 0.75)
    ]
    together = sum(found[place] == found[place + 500] for place in pairs)
    assert len(pairs) > 300
    assert together >= 0.95 * len(pairs)


def _names(count: int) -> list[str]:
    chance = random.Random(1)
    return ["".join(chance.choices("bcdfghjklmnprstw", k=5)) for _ in range(count)]


def _minhash(text: str) -> MinHash:
    minhash = MinHash(num_perm=256)
    minhash.update_batch([word.encode() for word in text.split()])
    return minhash
