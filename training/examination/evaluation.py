"""The examination: base, adapter in service and candidate on the same held-out questions, equally treated.

Each is asked for its loss on the reference answers and for answers of its own, and packaged questions beside
them: some that nobody can answer, and general knowledge that no adapter should unlearn. Leaves what the texts
say to `text_metrics.py`, opinions to `judge.py`, and the verdict to `gate.py`.
"""

from __future__ import annotations

import gc
import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain, zip_longest
from pathlib import Path
from typing import Final, Protocol

from peft import PeftModel

from training.data.abstention import admits
from training.data.dataset import fitted, messages
from training.data.pairs import TrainingPair, json_line
from training.examination import generation, text_metrics
from training.examination.gate import JUDGE, LOSS
from training.examination.judge import Judge
from training.examination.results import METRICS, Answer, Examined, Kind, Subject
from training.examination.text_metrics import Gram, Style
from training.fit.packing import example_losses
from training.model.base_model import BaseModel
from training.model.chat_format import IGNORED, ChatMessage, Example, training_example
from training.model.libraries import quiet
from training.progress import Progress
from training.settings import TrainingSettings

LONGEST_ANSWER: Final = 200
"""Tokens after which an answer is cut, unless one and a half times the longest reference is less."""
ROW_TOKENS: Final = 1024
"""Tokens of a packed row when losses are taken."""
_PACKAGED: Final = Path(__file__).parent


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


def examine(
    base: BaseModel,
    pairs: Sequence[TrainingPair],
    adapters: Mapping[Subject, Path | None],
    settings: TrainingSettings,
    *,
    trained_on: Sequence[TrainingPair] = (),
    answering: Answering = generation.answers,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> list[Examined]:
    """Examine each subject on at most `settings.examination_questions` of `pairs`, the same for all.

    `adapters` names each subject's adapter folder; None is the base model itself. `trained_on` are the pairs
    of the candidate's training, for what it repeats verbatim and for their style. A judge is asked where the
    settings name one. The base model is as it was afterwards. What `on_progress` raises stops the
    examination.
    """
    paper = _paper(base, select(base, pairs, settings))
    judge = Judge.of(settings)
    comparisons = len(paper.pairs) * (len(adapters) - 1) if judge and "candidate" in adapters else 0
    total = paper.units * len(adapters) + comparisons
    sheets: dict[Subject, _Sheet] = {}
    for subject, folder in adapters.items():
        before = len(sheets) * paper.units

        def tell(done: int, before: int = before) -> None:
            on_progress(Progress("evaluation", before + done, total))

        with quiet(), _attached(base, folder) as subject_model:
            sheets[subject] = _sit(subject_model, paper, answering, tell)
    said = chain.from_iterable(sheet.answers for sheet in sheets.values())
    learnt = text_metrics.learnt_grams(said, (pair.output for pair in trained_on))
    style = Style.of(pair.output for pair in trained_on or paper.pairs)
    examined = {subject: _marked(subject, paper, sheet, learnt, style) for subject, sheet in sheets.items()}
    if judge and "candidate" in examined and paper.pairs:
        done = total - comparisons
        for rival in ("base", "current"):
            if rival in examined:

                def judged(asked: int, before: int = done) -> None:
                    on_progress(Progress("evaluation", before + asked, total))

                examined["candidate"] = _judged(judge, rival, examined, judged)
                done += len(paper.pairs)
    return list(examined.values())


def select(base: BaseModel, pairs: Sequence[TrainingPair], settings: TrainingSettings) -> list[TrainingPair]:
    """The pairs of an examination: those short enough, the same ones again as long as they are there.

    A pair that is too long with its whole history is asked with as much of it as fits. Communities take
    turns, so that each is asked as much as the others while it has questions left; within one they are chosen
    by their own hash, so a growing set of pairs changes few of them.
    """

    def fits(pair: TrainingPair) -> bool:
        return len(training_example(base.tokenizer, messages(pair)).token_ids) <= settings.max_tokens

    ranked = sorted(range(len(pairs)), key=lambda index: hashlib.sha256(json_line(pairs[index])).digest())
    communities: dict[object, list[int]] = {}
    for index in ranked:
        communities.setdefault((pairs[index].lineage or {}).get("community"), []).append(index)
    in_turn = [index for row in zip_longest(*communities.values()) for index in row if index is not None]
    chosen: dict[int, TrainingPair] = {}
    for index in in_turn:
        if len(chosen) == settings.examination_questions:
            break
        pair = fitted(pairs[index], fits)
        if fits(pair):
            chosen[index] = pair
    return [chosen[index] for index in sorted(chosen)]


@dataclass(frozen=True)
class _Paper:
    """What every subject is asked: `pairs` held out, `unanswerable` and `general` packaged."""

    pairs: list[TrainingPair]
    unanswerable: list[TrainingPair]
    general: list[TrainingPair]
    examples: list[Example]
    general_examples: list[Example]

    @property
    def asked(self) -> list[TrainingPair]:
        """What is answered, the held-out ones first."""
        return [*self.pairs, *self.unanswerable] if self.pairs else []

    @property
    def units(self) -> int:
        """How many losses and answers a subject gives."""
        return len(self.examples) + len(self.general_examples) + len(self.asked) if self.pairs else 0


@dataclass(frozen=True)
class _Sheet:
    """What a subject gave: losses in nats, summed over the tokens of each example, and answers."""

    losses: list[float]
    answers: list[str]


def _paper(base: BaseModel, pairs: list[TrainingPair]) -> _Paper:
    persona = (pairs[0].lineage or {}).get("persona", "plain") if pairs else "plain"
    general = _packaged("general.jsonl", persona)

    def examples(of: Sequence[TrainingPair]) -> list[Example]:
        return [training_example(base.tokenizer, messages(pair)) for pair in of]

    return _Paper(
        pairs, _packaged("unanswerable.jsonl", persona), general, examples(pairs), examples(general)
    )


def _packaged(name: str, persona: str) -> list[TrainingPair]:
    lines = (_PACKAGED / name).read_text(encoding="utf-8").splitlines()
    return [
        TrainingPair(
            row["question"],
            output=row.get("answer", ""),
            language=row["language"],
            lineage={"persona": persona},
        )
        for row in map(json.loads, lines)
    ]


def _sit(model: BaseModel, paper: _Paper, answering: Answering, tell: Callable[[int], None]) -> _Sheet:
    if not paper.pairs:
        return _Sheet([], [])
    tell(0)
    every = [*paper.examples, *paper.general_examples]
    losses = example_losses(model.model, every, most_tokens=ROW_TOKENS, on_row=tell)
    longest = max(map(_tokens, paper.examples))
    answers = answering(
        model,
        [
            [ChatMessage(role=message["role"], content=message["content"]) for message in messages(pair)[:-1]]
            for pair in paper.asked
        ],
        max_new_tokens=min(LONGEST_ANSWER, math.ceil(1.5 * longest)),
        on_progress=lambda finished: tell(len(every) + finished),
    )
    return _Sheet(losses, answers)


def _tokens(example: Example) -> int:
    """How many tokens the reference has."""
    return sum(label != IGNORED for label in example.labels)


def _marked(
    subject: Subject, paper: _Paper, sheet: _Sheet, learnt: frozenset[Gram], style: Style
) -> Examined:
    """The figures of one subject's sheet."""
    if not paper.pairs:
        return Examined(subject, dict.fromkeys(METRICS, math.nan))
    held_out = len(paper.pairs)
    measured = text_metrics.measure(paper.pairs, sheet.answers[:held_out], learnt=learnt, style=style)
    answers = [
        _answer(
            pair,
            answer,
            loss,
            _tokens(example),
            "held-out",
            {name: values[index] for name, values in measured.values.items()},
        )
        for index, (pair, example, answer, loss) in enumerate(
            zip(paper.pairs, paper.examples, sheet.answers, sheet.losses, strict=False)
        )
    ]
    packaged = [
        _answer(pair, said, math.nan, 0, "unanswerable", {"admits": float(admits(said))})
        for pair, said in zip(paper.unanswerable, sheet.answers[held_out:], strict=True)
    ]
    packaged += [
        _answer(pair, "", loss, _tokens(example), "general", {})
        for pair, example, loss in zip(
            paper.general, paper.general_examples, sheet.losses[held_out:], strict=True
        )
    ]
    unscored = Examined(subject, {}, answers, packaged)
    values = unscored.figures.values
    general = [*zip(sheet.losses[held_out:], map(_tokens, paper.general_examples), strict=True)]
    metrics = {
        LOSS: sum(sheet.losses[:held_out]) / sum(map(_tokens, paper.examples)),
        **measured.metrics,
        "not_knowing": _share(values["not_knowing"]),
        "false_not_knowing": _share(values["false_not_knowing"]),
        "general_loss": sum(loss for loss, _ in general) / sum(tokens for _, tokens in general),
    }
    return replace(unscored, metrics={name: metrics[name] for name in METRICS})


def _answer(
    pair: TrainingPair, answer: str, loss: float, tokens: int, kind: Kind, values: dict[str, float]
) -> Answer:
    lineage = pair.lineage or {}
    return Answer(
        question=pair.instruction,
        reference=pair.output,
        answer=answer,
        loss=loss / tokens if tokens else math.nan,
        tokens=tokens,
        kind=kind,
        language=pair.language,
        task_type=pair.task_type,
        turn=lineage.get("turn"),
        community=lineage.get("community"),
        values=values,
    )


def _judged(
    judge: Judge, rival: Subject, examined: Mapping[Subject, Examined], tell: Callable[[int], None]
) -> Examined:
    """The candidate with the judge's opinion of its answers beside the rival's."""
    candidate, name = examined["candidate"], JUDGE.format(rival)
    opinions = judge.compare(candidate.answers, examined[rival].answers, on_progress=tell)
    answers = [
        replace(
            answer,
            values={**answer.values, name: opinion.preference},
            reasons={**answer.reasons, **({name: opinion.reason} if opinion.reason else {})},
        )
        for answer, opinion in zip(candidate.answers, opinions, strict=True)
    ]
    metrics = {**candidate.metrics, name: _share([opinion.preference for opinion in opinions])}
    return replace(candidate, metrics=metrics, answers=answers)


def _share(values: Sequence[float]) -> float:
    return round(sum(values) / len(values), 4) if values else math.nan


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
