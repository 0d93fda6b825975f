"""The examination: base, adapter in service and candidate on the same held-out questions, equally treated.

Each is asked for its loss on the reference answers and for answers of its own; the figures say how far apart
these are. Leaves the verdict to `gate.py`. `METRICS` says what each figure means; what could not be measured
is NaN.
"""

from __future__ import annotations

import gc
import hashlib
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Literal, Protocol

from peft import PeftModel
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu import corpus_bleu, corpus_chrf

from training import generation
from training.base_model import BaseModel, quiet
from training.chat_format import IGNORED, ChatMessage, Example, training_example
from training.dataset import messages
from training.gate import LOSS
from training.language import language_of
from training.packing import example_losses
from training.pairs import TrainingPair, json_line
from training.progress import Progress
from training.settings import TrainingSettings

Subject = Literal["base", "current", "candidate"]

METRICS: Final = {
    LOSS: "mean loss on the reference answers, nats per answer token; lower is better",
    "chrf": "chrF, character n-grams shared with the references, 0 to 100 (Popović 2015)",
    "bleu": "BLEU, word n-grams shared with the references, 0 to 100 (Papineni et al. 2002, sacrebleu)",
    "rouge_l": "ROUGE-L, longest common subsequence with the reference, F1 from 0 to 1 (Lin 2004)",
    "distinct_2": "different word pairs as a share of all in the answers, 0 to 1 (Li et al. 2016)",
    "repetition": "share of an answer's word 4-grams that it said before, mean over answers, 0 to 1",
    "length_ratio": "words of all answers by words of all references; 1 is as long",
    "language_match": "share of answers in the language of their reference, 0 to 1",
}
LONGEST_ANSWER: Final = 200
"""Tokens after which an answer is cut, unless one and a half times the longest reference is less."""
ROW_TOKENS: Final = 1024
"""Tokens of a packed row when losses are taken."""


class Answering(Protocol):
    """A function that answers prompts with the model it is given, adapter and all: `generation.answers`."""

    def __call__(
        self,
        base: BaseModel,
        prompts: Sequence[Sequence[ChatMessage]],
        *,
        max_new_tokens: int,
        on_progress: Callable[[int], None],
    ) -> list[str]:
        """One answer to each prompt, in their order."""


@dataclass(frozen=True)
class Answer:
    """What a subject said to one question, and its loss on the reference in nats per token."""

    question: str
    reference: str
    answer: str
    loss: float


@dataclass(frozen=True)
class Examined:
    """How one subject did: its figures, named as in `METRICS`, and its answers in the questions' order."""

    subject: Subject
    metrics: dict[str, float]
    answers: list[Answer] = field(default_factory=list)


def examine(
    base: BaseModel,
    pairs: Sequence[TrainingPair],
    adapters: Mapping[Subject, Path | None],
    settings: TrainingSettings,
    *,
    answering: Answering = generation.answers,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> list[Examined]:
    """Examine each subject on at most `settings.examination_questions` of `pairs`, the same for all.

    `adapters` names each subject's adapter folder; None is the base model itself. The base model is as it was
    afterwards. What `on_progress` raises stops the examination.
    """
    chosen = select(base, pairs, settings)
    paper = _Paper(
        pairs=chosen,
        examples=[training_example(base.tokenizer, messages(pair)) for pair in chosen],
    )
    total = 2 * len(chosen) * len(adapters)
    examined: list[Examined] = []
    for subject, folder in adapters.items():
        before = len(examined) * 2 * len(chosen)

        def tell(done: int, before: int = before) -> None:
            on_progress(Progress("evaluation", before + done, total))

        with quiet(), _attached(base, folder) as subject_model:
            examined.append(_sit(subject, subject_model, paper, answering, tell))
    return examined


def select(base: BaseModel, pairs: Sequence[TrainingPair], settings: TrainingSettings) -> list[TrainingPair]:
    """The pairs of an examination: those short enough, the same ones again as long as they are there.

    Chosen by their own hash, so a growing set of pairs changes few of them.
    """

    def fits(pair: TrainingPair) -> bool:
        return len(training_example(base.tokenizer, messages(pair)).token_ids) <= settings.max_tokens

    ranked = sorted(range(len(pairs)), key=lambda index: hashlib.sha256(json_line(pairs[index])).digest())
    chosen = [index for index in ranked if fits(pairs[index])][: settings.examination_questions]
    return [pairs[index] for index in sorted(chosen)]


@dataclass(frozen=True)
class _Paper:
    """What every subject is asked."""

    pairs: list[TrainingPair]
    examples: list[Example]

    @property
    def prompts(self) -> list[list[ChatMessage]]:
        return [
            [ChatMessage(role=message["role"], content=message["content"]) for message in messages(pair)[:-1]]
            for pair in self.pairs
        ]

    @property
    def tokens(self) -> list[int]:
        """How many tokens each reference has."""
        return [sum(label != IGNORED for label in example.labels) for example in self.examples]


def _sit(
    subject: Subject, model: BaseModel, paper: _Paper, answering: Answering, tell: Callable[[int], None]
) -> Examined:
    if not paper.pairs:
        return Examined(subject, dict.fromkeys(METRICS, math.nan))
    tell(0)
    losses = example_losses(model.model, paper.examples, most_tokens=ROW_TOKENS, on_row=tell)
    given = answering(
        model,
        paper.prompts,
        max_new_tokens=min(LONGEST_ANSWER, math.ceil(1.5 * max(paper.tokens))),
        on_progress=lambda finished: tell(len(paper.pairs) + finished),
    )
    answers = [
        Answer(pair.instruction, pair.output, answer, loss / tokens)
        for pair, answer, loss, tokens in zip(paper.pairs, given, losses, paper.tokens, strict=True)
    ]
    loss = sum(losses) / sum(paper.tokens)
    return Examined(subject, {LOSS: loss, **text_metrics(paper.pairs, given)}, answers)


def text_metrics(pairs: Sequence[TrainingPair], answers: Sequence[str]) -> dict[str, float]:
    """What the answers' texts say of them, beside the pairs' references; rounded to four places."""
    references = [pair.output for pair in pairs]
    words = [_words(answer) for answer in answers]
    scorer = RougeScorer(["rougeL"], tokenizer=_UnicodeWords())
    bigrams = [pair for answer in words for pair in _ngrams(answer, 2)]
    figures = {
        "chrf": corpus_chrf(list(answers), [references]).score,
        "bleu": corpus_bleu(list(answers), [references]).score,
        "rouge_l": _mean(
            scorer.score(reference, answer)["rougeL"].fmeasure
            for reference, answer in zip(references, answers, strict=True)
        ),
        "distinct_2": len(set(bigrams)) / len(bigrams) if bigrams else 0.0,
        "repetition": _mean(_repetition(answer) for answer in words),
        "length_ratio": sum(map(len, words)) / max(1, sum(len(_words(text)) for text in references)),
        "language_match": _mean(
            float(
                bool(answer.strip())
                and language_of(answer, "pl" if pair.language == "pl" else "en") == pair.language
            )
            for pair, answer in zip(pairs, answers, strict=True)
        ),
    }
    return {name: round(figure, 4) for name, figure in figures.items()}


@contextmanager
def _attached(base: BaseModel, adapter: Path | None) -> Iterator[BaseModel]:
    """The base model with the adapter on it; afterwards it is without, as before."""
    if adapter is None:
        yield base
        return
    peft_model = PeftModel.from_pretrained(base.model, str(adapter))
    try:
        peft_model.eval()
        yield replace(base, model=peft_model)
    finally:
        peft_model.unload()
        del peft_model
        gc.collect()


class _UnicodeWords:
    """rouge-score's own tokenizer drops every letter that is not English."""

    def tokenize(self, text: str) -> list[str]:
        return _words(text)


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())


def _ngrams(words: Sequence[str], size: int) -> list[tuple[str, ...]]:
    return [tuple(words[index : index + size]) for index in range(len(words) - size + 1)]


def _repetition(words: Sequence[str]) -> float:
    grams = _ngrams(words, 4)
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def _mean(figures: Iterable[float]) -> float:
    found = list(figures)
    return sum(found) / len(found)
