"""Facts of an approved answer: how many of them a generated answer has, and whether it contradicts any.

Facts are what cannot be said in other words: numbers, names (words with a capital letter that do not begin a
sentence) and code (between backticks, or words joined by dots or underscores). An answer contradicts its
reference where beside the same word it has another number ("rank 64" against "rank 8"), or where it says
nearly the same sentence with a negation more or less. English and Polish. What is said in wholly other words
is neither found nor contradicted: this counts slips, and understands nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from training.data.language import FUNCTION_WORDS
from training.data.similar_texts import NEGATION, Vocabulary, is_strict, tokens

_CODE: Final = re.compile(r"`+[^`]+`+|\b\w+(?:[._]\w+)+")
_SENTENCE: Final = re.compile(r"(?<=[.!?:;])\s+|\n+")
_WORD: Final = re.compile(r"\d+(?:[.,]\d+)*|\w+(?:['’\-]\w+)*")
_FUNCTION_WORDS: Final = frozenset[str]().union(*FUNCTION_WORDS.values())
_NEARLY_THE_SAME: Final = 0.6
"""Least likeness, numbers and negations aside, of two sentences that say the same or the opposite."""


def facts(text: str) -> frozenset[str]:
    """The numbers, names and code of a text, each in lower case and without its marks."""
    found = {_plain(code) for code in _CODE.findall(text)}
    for sentence in _SENTENCE.split(_CODE.sub(" ", text)):
        words = _WORD.findall(sentence)
        found |= {_plain(word) for word in words if word[0].isdigit()}
        found |= {_plain(word) for word in words[1:] if word[0].isupper() and len(word) > 1}
    return frozenset(found - {""})


def share_of_facts(reference: str, question: str, answer: str) -> float:
    """The share of the reference's facts, those that the question names aside, that stand in the answer.

    NaN where there are none.
    """
    wanted = facts(reference) - _said(question)
    return len(wanted & _said(answer)) / len(wanted) if wanted else float("nan")


def contradicts(reference: str, answer: str) -> bool:
    """Whether the answer has another number beside a word of the reference, or negates what that says."""
    meant, said = _beside_words(reference), _beside_words(answer)
    if any(meant[word].isdisjoint(said[word]) for word in meant.keys() & said.keys()):
        return True
    vocabulary = Vocabulary()
    theirs = [tokens(sentence, vocabulary) for sentence in _sentences(reference)]
    return any(
        _is_negated(one, other)
        for one in (tokens(sentence, vocabulary) for sentence in _sentences(answer))
        for other in theirs
    )


def _is_negated(one: set[int], other: set[int]) -> bool:
    words, others = ({token for token in of if not is_strict(token)} for of in (one, other))
    either = words | others
    alike = len(words & others) >= _NEARLY_THE_SAME * len(either) if len(either) > 1 else False
    return alike and (NEGATION in one) != (NEGATION in other)


def _beside_words(text: str) -> dict[str, set[str]]:
    """The numbers of a text by the word before and the word after each: "rank 8", "8 GB"."""
    found: dict[str, set[str]] = {}
    for sentence in _sentences(_CODE.sub(" ", text)):
        words = [_plain(word) for word in _WORD.findall(sentence)]
        for place, word in enumerate(words):
            if word[0].isdigit():
                for side, beside in (("<", words[place - 1 : place]), (">", words[place + 1 : place + 2])):
                    for one in beside:
                        if one not in _FUNCTION_WORDS and not one[0].isdigit():
                            found.setdefault(side + one, set()).add(word)
    return found


def _said(text: str) -> frozenset[str]:
    return facts(text) | {_plain(word) for word in _WORD.findall(text)}


def _sentences(text: str) -> Iterator[str]:
    return (sentence for sentence in _SENTENCE.split(text) if sentence.strip())


def _plain(fact: str) -> str:
    return (
        fact.strip("`").strip().casefold().replace(",", ".")
        if fact[0].isdigit()
        else fact.strip("` ").casefold()
    )
