"""Figures of answers by their texts, beside their references and the texts that were trained on.

Knows texts only; who said them and what follows is for others. `metrics.METRICS` says what each figure
means.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu import corpus_bleu
from sacrebleu.metrics import CHRF

from training.data import retrieval
from training.data.abstention import is_abstention
from training.data.language import may_be_in
from training.data.pairs import TrainingPair
from training.data.retrieval import Embed
from training.examination import facts
from training.examination.comparisons import OWN_SHARE, RIGHTLY
from training.examination.results import ABSTAINS

VERBATIM_WORDS: Final = 8
"""Words in a row that are no coincidence: an answer that has them from a training text copied them."""
OVERLAP_WORDS: Final = 3
MUCH_LIKE: Final = 35.0
"""chrF, of 100, from which an answer says what its reference says: of 28 answers of the default model without
an adapter none has it; the community's own phrases alone bring about 25."""

READ_FOR_MEANING: Final = 300
"""Characters of a text whose meaning is compared: an approved answer's worth; vectors take their time."""

Gram = tuple[str, ...]

_FUNCTION_WORDS: Final = frozenset(
    re.findall(
        r"\w+",
        """
        a about after all also an and any are as at be because been before but by can do does for from had
        has have he how if in into is it its just like may me more most must my no not of on one only or
        other our out over own she should so some such than that the their them then there these they this
        those to too under up was we were what when where which while who why will with would you your aby
        ale albo ani bardzo bez bo być był była było były byś co coś czy dla dlatego gdy gdzie go i ich im
        ja jak jako jednak jego jej jest jeszcze jeśli już każdy kiedy kto która które który lub ma mi mnie
        może można na nad nam nas nawet nich nie nim niż o od ona oni oraz po pod ponieważ przed przez przy
        się są ta tak także tam te tego tej ten też trzeba tu ty tych tylko tym w wiele wy z za ze że żeby
        """,
    )
)
_PUNCTUATION: Final = re.compile(r"""[.,;:!?()\[\]{}"'„”“’–—…*`#_/-]|\n|[\U0001F300-\U0001FAFF]""")


@dataclass(frozen=True)
class Style:
    """How a body of answers is written: how often function words, marks and lengths occur in it."""

    words: Mapping[str, int] = field(default_factory=dict)
    marks: Mapping[str, int] = field(default_factory=dict)
    lengths: Mapping[int, int] = field(default_factory=dict)

    @classmethod
    def of(cls, answers: Iterable[str]) -> Style:
        """The style of these answers; lengths are counted by doublings of their words."""
        words: Counter[str] = Counter()
        marks: Counter[str] = Counter()
        lengths: Counter[int] = Counter()
        for answer in answers:
            said = words_of(answer)
            words.update(word if word in _FUNCTION_WORDS else "" for word in said)
            marks.update(_PUNCTUATION.findall(answer))
            marks[""] += len(said)
            lengths[len(said).bit_length()] += 1
        return cls(words, marks, lengths)

    def distance(self, other: Style) -> float:
        """How differently the two are written, from 0 to 1.

        The mean of the Jensen-Shannon distances (Endres and Schindelin 2003, to base 2) of three profiles:
        function words, punctuation marks, and lengths.
        """
        return (
            _jensen_shannon(self.words, other.words)
            + _jensen_shannon(self.marks, other.marks)
            + _jensen_shannon(self.lengths, other.lengths)
        ) / 3


@dataclass(frozen=True)
class Measured:
    """Figures over all answers, and those of each answer by name, in the answers' order."""

    metrics: dict[str, float]
    values: dict[str, list[float]]


def measure(
    pairs: Sequence[TrainingPair],
    answers: Sequence[str],
    *,
    learnt: frozenset[Gram] = frozenset(),
    style: Style | None = None,
    embed: Embed | None = None,
) -> Measured:
    """Measure each pair's answer beside its reference.

    `learnt` are the verbatim runs that training texts hold (`learnt_grams`), `style` that of the approved
    answers; without one, the references'. `embed` tells which reference is nearest by meaning, too.
    """
    references = [pair.output for pair in pairs]
    said = [words_of(answer) for answer in answers]
    meant = [words_of(reference) for reference in references]
    rouge = RougeScorer(["rougeL"], tokenizer=_UnicodeWords())
    pairs_and_answers = list(zip(pairs, answers, strict=True))
    likeness = _likeness(pairs, answers)
    values = {
        "chrf": [found[pair.output] for pair, found in zip(pairs, likeness, strict=True)],
        "nearest_own": [
            float(found[pair.output] > max((found[text] for text in found if text != pair.output), default=0))
            for pair, found in zip(pairs, likeness, strict=True)
        ],
        OWN_SHARE: [_own_share(found, pair.output) for pair, found in zip(pairs, likeness, strict=True)],
        "facts": [
            facts.share_of_facts(pair.output, pair.instruction, answer) for pair, answer in pairs_and_answers
        ],
        "contradicted": [float(facts.contradicts(pair.output, answer)) for pair, answer in pairs_and_answers],
        "rouge_l": [
            rouge.score(pair.output, answer)["rougeL"].fmeasure for pair, answer in pairs_and_answers
        ],
        "overlap": [_overlap(*both) for both in zip(said, meant, strict=True)],
        "repetition": [_repetition(words) for words in said],
        "memorisation": [
            _memorisation(words, [reference, *_notes(pair)], learnt)
            for pair, words, reference in zip(pairs, said, meant, strict=True)
        ],
        "language_match": [float(_in_its_language(pair, answer)) for pair, answer in pairs_and_answers],
        ABSTAINS: [float(is_abstention(answer)) for answer in answers],
    }
    if embed is not None and (meant_alike := _meant_alike(pairs, answers, embed)) is not None:
        values["nearest_by_meaning"] = meant_alike
    values[RIGHTLY] = [
        float(nearest and like >= MUCH_LIKE and not contradicted)
        for nearest, like, contradicted in zip(
            values["nearest_own"], values["chrf"], values["contradicted"], strict=True
        )
    ]
    approved = style or Style.of(references)
    metrics = {
        **{name: _mean(each) for name, each in values.items() if name not in (ABSTAINS, "facts")},
        **({"facts": _mean(known)} if (known := [v for v in values["facts"] if math.isfinite(v)]) else {}),
        "bleu": corpus_bleu(list(answers), [references]).score,
        "distinct_1": _distinct(said, 1),
        "distinct_2": _distinct(said, 2),
        "length_ratio": sum(map(len, said)) / max(1, sum(map(len, meant))),
        "length_spread": length_spread(answers),
        "same_opening": same_opening(answers),
        "style_distance": approved.distance(Style.of(answers)),
    }
    return Measured(_rounded(metrics), {name: [round(v, 4) for v in each] for name, each in values.items()})


def learnt_grams(answers: Iterable[str], training_texts: Iterable[str]) -> frozenset[Gram]:
    """The runs of `VERBATIM_WORDS` words that the answers share with a training text.

    Reads the training texts once and keeps only what the answers say, so no training set stays in memory.
    """
    wanted = {gram for answer in answers for gram in _ngrams(words_of(answer), VERBATIM_WORDS)}
    shared: set[Gram] = set()
    if wanted:
        for text in training_texts:
            shared |= wanted.intersection(_ngrams(words_of(text), VERBATIM_WORDS))
    return frozenset(shared)


def length_spread(texts: Sequence[str]) -> float:
    """The standard deviation of the texts' words by their mean; 0 is all the same length."""
    lengths = [len(words_of(text)) for text in texts]
    mean = _mean(lengths)
    return math.sqrt(_mean((length - mean) ** 2 for length in lengths)) / mean if mean else 0.0


def same_opening(texts: Sequence[str]) -> float:
    """The share of texts that begin with the three words that most of them begin with, from 0 to 1."""
    openings = Counter(tuple(words[:3]) for words in map(words_of, texts) if words)
    return max(openings.values(), default=0) / len(texts)


def words_of(text: str) -> list[str]:
    """The words of a text, letters and digits of any language, in lower case."""
    return re.findall(r"\w+", text.casefold())


def _likeness(pairs: Sequence[TrainingPair], answers: Sequence[str]) -> list[dict[str, float]]:
    """Of each answer its chrF with every reference in its language, by the reference."""
    chrf = CHRF()
    references: dict[str, dict[str, None]] = {}
    for pair in pairs:
        references.setdefault(pair.language, {})[pair.output] = None
    return [
        {text: chrf.sentence_score(answer, [text]).score for text in references[pair.language]}
        for pair, answer in zip(pairs, answers, strict=True)
    ]


def remembered(embed: Embed) -> Embed:
    """The same, asked for each text once: all subjects of an examination have the same references."""
    known: dict[str, NDArray[np.float32]] = {}

    def asked(texts: Sequence[str]) -> NDArray[np.float32] | None:
        new = [text for text in dict.fromkeys(texts) if text not in known]
        if new:
            vectors = embed(new)
            if vectors is None:
                return None
            known.update(zip(new, vectors, strict=True))
        return np.stack([known[text] for text in texts])

    return asked


def _meant_alike(pairs: Sequence[TrainingPair], answers: Sequence[str], embed: Embed) -> list[float] | None:
    """Whether each answer comes nearest to its own reference by cosine, among those in its language."""
    references = [*dict.fromkeys(pair.output for pair in pairs)]
    vectors = embed([text[:READ_FOR_MEANING] for text in (*references, *answers)])
    if vectors is None:
        return None
    known = {text: place for place, text in enumerate(references)}
    cosines = vectors[len(references) :] @ vectors[: len(references)].T
    found = []
    for pair, likeness in zip(pairs, cosines, strict=True):
        others = {known[one.output] for one in pairs if one.language == pair.language} - {known[pair.output]}
        found.append(
            float(likeness[known[pair.output]] > max((likeness[other] for other in others), default=-1))
        )
    return found


def _own_share(likeness: Mapping[str, float], own: str) -> float:
    """What of the likeness to the own reference and to the mean other one is to the own; 0.5 is luck."""
    others = [found for text, found in likeness.items() if text != own]
    other = _mean(others) if others else likeness[own]
    both = likeness[own] + other
    return likeness[own] / both if both else 0.5


class _UnicodeWords:
    """rouge-score's own tokenizer drops every letter that is not English."""

    def tokenize(self, text: str) -> list[str]:
        return words_of(text)


def _ngrams(words: Sequence[str], size: int) -> list[Gram]:
    return [tuple(words[index : index + size]) for index in range(len(words) - size + 1)]


def _overlap(said: Sequence[str], meant: Sequence[str]) -> float:
    size = min(OVERLAP_WORDS, max(1, len(meant)))
    wanted = set(_ngrams(meant, size))
    return len(wanted & set(_ngrams(said, size))) / len(wanted) if wanted else 0.0


def _repetition(words: Sequence[str]) -> float:
    grams = _ngrams(words, 4)
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def _notes(pair: TrainingPair) -> list[list[str]]:
    """The words of the notes before a question: what an answer takes from there it need not know by heart."""
    return [words_of(text) for note in retrieval.notes(pair) for text in (note.title, note.text)]


def _memorisation(said: Sequence[str], at_hand: Iterable[Sequence[str]], learnt: frozenset[Gram]) -> float:
    grams = _ngrams(said, VERBATIM_WORDS)
    own = {gram for words in at_hand for gram in _ngrams(words, VERBATIM_WORDS)}
    return sum(gram in learnt and gram not in own for gram in grams) / len(grams) if grams else 0.0


def _in_its_language(pair: TrainingPair, answer: str) -> bool:
    return bool(answer.strip()) and may_be_in("pl" if pair.language == "pl" else "en", answer)


def _distinct(said: Sequence[Sequence[str]], size: int) -> float:
    grams = [gram for words in said for gram in _ngrams(words, size)]
    return len(set(grams)) / len(grams) if grams else 0.0


def _jensen_shannon(ours: Mapping[Any, int], theirs: Mapping[Any, int]) -> float:
    """The distance of two counted profiles; 1 where only one of them has anything."""
    total, other_total = sum(ours.values()), sum(theirs.values())
    if not total or not other_total:
        return float(bool(total) != bool(other_total))
    divergence = 0.0
    for key in ours.keys() | theirs.keys():
        p, q = ours.get(key, 0) / total, theirs.get(key, 0) / other_total
        middle = (p + q) / 2
        divergence += sum(share * math.log2(share / middle) / 2 for share in (p, q) if share)
    return math.sqrt(max(0.0, divergence))


def _rounded(figures: Mapping[str, float]) -> dict[str, float]:
    return {name: round(figure, 4) for name, figure in figures.items()}


def _mean(figures: Iterable[float]) -> float:
    values = list(figures)
    return sum(values) / len(values)
