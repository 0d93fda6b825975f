"""Which texts say nearly the same: groups of questions that differ in case, punctuation and a word or two.

Words are cut to stems and function words left out, in English and Polish; what is left is compared as sets
(Jaccard). Candidates are found by MinHash and locality-sensitive hashing, as datasketch does it one text at
a time, here over all texts at once: a million questions take seconds and some hundred megabytes. Each
candidate is then compared in full with the first text of a group, so that groups never chain. The same texts
in the same order give the same groups.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable
from typing import Final
from zlib import crc32

import numpy as np
import numpy.typing as npt

from training.data.language import FUNCTION_WORDS, WITHOUT_DIACRITICS

THRESHOLD: Final = 0.7
"""Least Jaccard similarity of two near duplicates: one word of six may be another, or two of twelve."""
BANDS: Final = 12
ROWS: Final = 4
"""Twelve bands of four hashes find 96 of 100 pairs that are 0.7 alike, 99.8 of those that are 0.8 alike."""
STEM: Final = 5
"""Letters of a word that count: English and Polish endings go, "model" and "modelu" are one word."""

_MOST_COMPARED: Final = 4
"""First texts of groups that a bucket keeps: more of them are words in common, not likeness."""
_LARGEST_VOCABULARY: Final = 500_000
_ROWS_AT_ONCE: Final = 10_000
_STRICT: Final = 1 << 32
"""Marks a token that both texts must have: a number, a negation, a word such as "why" or "when"."""

_WHOLE: Final = 1 << 33
"""Marks the token that stands for a text without a word of content."""
NEGATION: Final = crc32(b"not") | _STRICT
"""What every "not", "never", "nie" counts as."""

_WORD: Final = re.compile(r"\w+(?:['’\-]\w+)*")
_JOINT: Final = re.compile(r"['’\-]")
_DIGIT: Final = re.compile(r"\d")
_NEGATIONS: Final = """
not no never none nothing without cannot cant dont doesnt didnt isnt arent wasnt werent wont wouldnt
shouldnt couldnt hasnt havent nie nigdy nic bez zaden zadna zadne
"""
_REASONS_AND_TIMES: Final = {
    "why": "why",
    "dlaczego": "why",
    "czemu": "why",
    "when": "when",
    "kiedy": "when",
    "where": "where",
    "gdzie": "where",
    "who": "who",
    "kto": "who",
}


class Vocabulary(dict[str, int]):
    """Words as they stand in a text → what they count as: 0 for nothing, above 2³² for what must be equal."""

    def __init__(self) -> None:
        super().__init__()
        self._negations = frozenset(_NEGATIONS.split())
        self._function_words = frozenset[str]().union(*FUNCTION_WORDS.values())

    def __missing__(self, word: str) -> int:
        plain = _JOINT.sub("", word).translate(WITHOUT_DIACRITICS)
        if _DIGIT.search(plain):
            token = crc32(plain.encode()) | _STRICT
        elif plain in self._negations:
            token = NEGATION
        elif plain in _REASONS_AND_TIMES:
            token = crc32(_REASONS_AND_TIMES[plain].encode()) | _STRICT
        elif plain in self._function_words:
            token = 0
        else:
            # in a name such as lora_alpha the end is not an ending
            stem = plain if "_" in plain else plain[:STEM]
            token = crc32(stem.encode(errors="replace")) or 1
        if len(self) < _LARGEST_VOCABULARY:
            self[word] = token
        return token


def tokens(text: str, vocabulary: Vocabulary) -> set[int]:
    """What of a text counts in a comparison, as hashes of word stems; never empty.

    Of a text without a word of content ("Why not?", "48", "???") it is the text as a whole.
    """
    words = _WORD.findall(text.casefold())
    found = {vocabulary[word] for word in words}
    found.discard(0)
    if not found or min(found) >= _STRICT:
        found.add(crc32((" ".join(words) or text.strip()).encode(errors="replace")) | _WHOLE)
    return found


def has_content(found: set[int]) -> bool:
    """Whether tokens are those of a text that says what it is about; "Why not?" doesn't."""
    return min(found) < _STRICT


def is_strict(token: int) -> bool:
    """Whether both of two texts must have the token: a number, a negation or a word such as "why"."""
    return token >= _STRICT


def are_alike(one: set[int], other: set[int], threshold: float) -> bool:
    """Whether two texts' tokens have at least that Jaccard similarity, and the same numbers and negations."""
    smaller, larger = sorted((len(one), len(other)))
    if smaller < threshold * larger:
        return False
    both = len(one & other)
    return both >= threshold * (smaller + larger - both) and not any(map(is_strict, one ^ other))


def groups(texts: Iterable[str], threshold: float = THRESHOLD) -> list[int]:
    """The group of each text, counted from 0 in the order of their first texts.

    A text is at least `threshold` like the first text of its group. Of 1,000,000 questions of a dozen words
    the memory is about 500 MB above the texts.
    """
    flat, starts = _flattened(texts)
    if not len(starts):
        return []
    strict = flat >= _STRICT
    mixed = _mixed(flat)
    sets = np.add.reduceat(mixed, starts)
    _, first, inverse = np.unique(sets, return_index=True, return_inverse=True)
    leader = first[inverse]  # of texts with the very same tokens, the first one
    content = np.add.reduceat(~strict, starts, dtype=np.int64)
    # one word more or less than two is already more than the threshold allows
    rivals = np.flatnonzero((leader == np.arange(len(starts))) & (content > threshold / (1 - threshold)))
    if len(rivals):
        joined = _joined(flat, starts, strict, mixed, rivals, threshold)
        leader = joined[leader]
    _, first, inverse = np.unique(leader, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    numbers: list[int] = rank[inverse].tolist()
    return numbers


def _flattened(texts: Iterable[str]) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
    """The tokens of all texts one after another, and where each text begins."""
    vocabulary = Vocabulary()
    flat = array("Q")
    starts = array("q")
    for text in texts:
        starts.append(len(flat))
        flat.extend(tokens(text, vocabulary))
    return np.frombuffer(flat, dtype=np.uint64), np.frombuffer(starts, dtype=np.int64)


def _mixed(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """MurmurHash3's finaliser, so that sums and minima of neighbouring hashes are as good as random."""
    mixed = values ^ (values >> np.uint64(33))
    mixed *= np.uint64(0xFF51AFD7ED558CCD)
    mixed ^= mixed >> np.uint64(33)
    mixed *= np.uint64(0xC4CEB9FE1A85EC53)
    mixed ^= mixed >> np.uint64(33)
    return mixed


def _joined(
    flat: npt.NDArray[np.uint64],
    starts: npt.NDArray[np.int64],
    strict: npt.NDArray[np.bool_],
    mixed: npt.NDArray[np.uint64],
    rivals: npt.NDArray[np.int64],
    threshold: float,
) -> npt.NDArray[np.int64]:
    """The leader of each text after the rivals, in their order, have joined leaders that are like them."""
    ends = np.append(starts[1:], len(flat))
    leader = np.arange(len(starts))
    buckets, count = _buckets(strict, mixed, starts, rivals)
    shared = np.flatnonzero((buckets >= 0).any(axis=1))
    # the leaders of each bucket side by side, counted from 1: a dict of lists takes ten times the room
    leaders = array("i", bytes(4 * _MOST_COMPARED * count))

    def tokens_of(number: int) -> set[int]:
        found: set[int] = set(flat[starts[number] : ends[number]].tolist())
        return found

    for part in range(0, len(shared), _ROWS_AT_ONCE):
        at_once = shared[part : part + _ROWS_AT_ONCE]
        for row, number in zip(buckets[at_once].tolist(), rivals[at_once].tolist(), strict=True):
            own = tokens_of(number)
            free = []
            compared = set()
            for bucket in row:
                if bucket < 0:
                    continue
                for place in range(bucket * _MOST_COMPARED, (bucket + 1) * _MOST_COMPARED):
                    known = leaders[place] - 1
                    if known < 0:
                        free.append(place)
                        break
                    if known not in compared:
                        compared.add(known)
                        if are_alike(own, tokens_of(known), threshold):
                            leader[number] = known
                            break
                if leader[number] != number:
                    break
            else:
                for place in free:
                    leaders[place] = number + 1
    return leader


def _buckets(
    strict: npt.NDArray[np.bool_],
    mixed: npt.NDArray[np.uint64],
    starts: npt.NDArray[np.int64],
    rivals: npt.NDArray[np.int64],
) -> tuple[npt.NDArray[np.int32], int]:
    """[rivals, BANDS] the bucket of each rival in each band, -1 where it would be alone; how many buckets.

    Only texts with the same numbers and negations share a bucket.
    """
    demands = np.add.reduceat(np.where(strict, mixed, np.uint64(0)), starts)[rivals]
    base = np.where(strict, np.uint32(0xFFFFFFFF), mixed.astype(np.uint32))
    random = np.random.default_rng(1)
    buckets = np.full((len(rivals), BANDS), -1, dtype=np.int32)
    taken = 0
    for band in range(BANDS):
        key = demands.copy()
        for factor, shift in random.integers(0, 1 << 32, size=(ROWS, 2), dtype=np.uint32):
            hashed = (
                base * (factor | np.uint32(1)) + shift
            )  # modulo 2³²: a permutation, since the factor is odd
            hashed[strict] = 0xFFFFFFFF
            key = _mixed(key + np.minimum.reduceat(hashed, starts)[rivals])
        order = np.argsort(key, kind="stable")
        ranked = key[order]
        run = np.cumsum(np.r_[True, ranked[1:] != ranked[:-1]]) - 1
        company = np.bincount(run) > 1
        number = np.where(company, np.cumsum(company) - 1 + taken, -1)
        buckets[order, band] = number[run]
        taken += int(company.sum())
    return buckets, taken
