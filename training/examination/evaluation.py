"""The examination: base model, adapter in service and candidate on the same held-out questions.

For each of them the loss on the reference answers is taken, the own answer is told from others (`contrast`),
and answers are generated. Packaged questions come on top: unanswerable ones, and general knowledge that no
adapter should unlearn. Leaves to others: figures of the texts (`text_metrics`), opinions (`judge`), and the
verdict (`gate`).
"""

from __future__ import annotations

import gc
import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, zip_longest
from pathlib import Path
from typing import Final, Protocol

from peft import PeftModel

from training.data import retrieval, similar_texts
from training.data.abstention import is_abstention
from training.data.dataset import fitted, messages
from training.data.pairs import TrainingPair, json_line
from training.data.retrieval import Embed
from training.examination import contrast, generation, text_metrics
from training.examination.comparisons import DECIDING, JUDGE, LOSS, RIGHT
from training.examination.contrast import Competitor
from training.examination.judge import Judge
from training.examination.metrics import METRICS
from training.examination.results import ABSTAINS, Answer, Examined, Kind, Subject
from training.examination.text_metrics import Gram, Style
from training.fit.packing import example_losses
from training.model.base_model import BaseModel
from training.model.chat_format import IGNORED, ChatMessage, Example, training_example
from training.model.libraries import quiet
from training.progress import Progress
from training.settings import TrainingSettings

LONGEST_ANSWER: Final = 200
"""Tokens after which an answer is cut off; less where one and a half times the longest reference is less."""
ROW_TOKENS: Final = 1024
"""Tokens of a packed row when losses are taken."""
_PACKAGED: Final = Path(__file__).parent
_NO_RANKS: Final = (math.nan, math.nan)


class Answering(Protocol):
    """A function that answers prompts with the given model and its adapter, such as `generation.answers`."""

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
    embed: Embed | None = None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> list[Examined]:
    """Examine each subject on the same questions: at most `settings.examination_questions` of `pairs`.

    `adapters` names each subject's adapter folder; None is the base model itself. `trained_on` are the pairs
    of the candidate's training, for whether it saw an answer, what it repeats verbatim, and their style. A
    judge is asked where the settings name one, and meaning compared where there is an `embed`. The base model
    is as it was afterwards. What `on_progress` raises stops the examination.
    """
    answers_of = similar_texts.groups(
        (pair.output for pair in [*trained_on, *pairs]), settings.hygiene.same_answer
    )
    learnt_answers, own = frozenset(answers_of[: len(trained_on)]), answers_of[len(trained_on) :]
    seen = [answer in learnt_answers for answer in own]
    chosen = select(base, pairs, settings, seen=seen)
    questions = _question_set(
        base, [*chosen.values()], [seen[index] for index in chosen], [own[index] for index in chosen]
    )
    bare = _without_notes(base, questions) if settings.examine_without_notes else None
    judge = Judge.of(settings)
    comparisons = len(questions.pairs) * (len(adapters) - 1) if judge and "candidate" in adapters else 0
    units = questions.units + (bare.units if bare else 0)
    total = units * len(adapters) + comparisons
    outputs: dict[Subject, _Outputs] = {}
    without: dict[Subject, _Outputs] = {}
    for subject, folder in adapters.items():
        before = len(outputs) * units

        def report(done: int, before: int = before) -> None:
            on_progress(Progress("evaluation", before + done, total))

        with quiet(), _attached(base, folder) as subject_model:
            outputs[subject] = _generate(subject_model, questions, answering, report)
            if bare:
                beside = partial(report, before=before + questions.units)
                without[subject] = _generate(subject_model, bare, answering, beside)
    answers = chain.from_iterable(output.answers for output in outputs.values())
    learnt = text_metrics.learnt_grams(answers, (pair.output for pair in trained_on))
    style = Style.of(pair.output for pair in trained_on or questions.pairs)
    embed = text_metrics.remembered(embed) if embed else None
    examined = {
        subject: _score(subject, questions, output, learnt, style, embed)
        for subject, output in outputs.items()
    }
    if bare:
        for subject, output in without.items():
            measured = text_metrics.measure(
                bare.pairs, output.answers, learnt=learnt, style=style, embed=embed
            )
            again = [replace(answer, kind="without notes") for answer in _held_out(bare, output, measured)]
            examined[subject] = replace(examined[subject], without_notes=again)
    if judge and "candidate" in examined and questions.pairs:
        done = total - comparisons
        for rival in ("base", "current"):
            if rival in examined:

                def report_judged(asked: int, before: int = done) -> None:
                    on_progress(Progress("evaluation", before + asked, total))

                examined["candidate"] = _with_opinions(judge, rival, examined, report_judged)
                done += len(questions.pairs)
    return list(examined.values())


def select(
    base: BaseModel, pairs: Sequence[TrainingPair], settings: TrainingSettings, *, seen: Sequence[bool]
) -> dict[int, TrainingPair]:
    """The pairs of an examination by place: those short enough, and the same while the dataset has them.

    A pair that is too long with its whole history keeps as much of it as fits. Those whose answers training
    has `seen` and the others take turns, and so do communities among each, so that each gives as many
    questions as the others while it has any left; within a community they are chosen by their hash, so that a
    growing set of pairs changes few of them.
    """

    def fits(pair: TrainingPair) -> bool:
        return len(training_example(base.tokenizer, messages(pair)).token_ids) <= settings.max_tokens

    ranked = sorted(range(len(pairs)), key=lambda index: hashlib.sha256(json_line(pairs[index])).digest())
    sides: dict[bool, dict[object, list[int]]] = {True: {}, False: {}}
    for index in ranked:
        community = (pairs[index].lineage or {}).get("community")
        sides[seen[index]].setdefault(community, []).append(index)
    in_turn = _in_turn([_in_turn([*communities.values()]) for communities in sides.values()])
    chosen: dict[int, TrainingPair] = {}
    for index in in_turn:
        if len(chosen) == settings.examination_questions:
            break
        pair = fitted(pairs[index], fits)
        if fits(pair):
            chosen[index] = pair
    return {index: chosen[index] for index in sorted(chosen)}


def _in_turn(queues: Sequence[Sequence[int]]) -> list[int]:
    """One of each queue after the other, while it has any."""
    return [index for row in zip_longest(*queues) for index in row if index is not None]


@dataclass(frozen=True)
class _QuestionSet:
    """What every subject is asked: the held-out `pairs`, and the packaged `unanswerable` and `general`.

    `seen` says of each held-out pair whether training saw its answer, `panels` which of them compete.
    """

    pairs: list[TrainingPair]
    seen: list[bool]
    panels: list[list[int]]
    unanswerable: list[TrainingPair]
    general: list[TrainingPair]
    examples: list[Example]
    general_examples: list[Example]

    @property
    def asked(self) -> list[TrainingPair]:
        """The questions that are answered, the held-out ones first."""
        return [*self.pairs, *self.unanswerable] if self.pairs else []

    @property
    def units(self) -> int:
        """How many losses and answers a subject gives."""
        return len(self.examples) + len(self.general_examples) + len(self.asked) if self.pairs else 0


def _without_notes(base: BaseModel, questions: _QuestionSet) -> _QuestionSet | None:
    """Those of the held-out questions that have notes, without them; None where none has."""
    noted = [index for index, pair in enumerate(questions.pairs) if retrieval.notes(pair)]
    if not noted:
        return None
    pairs = retrieval.without_notes(questions.pairs[index] for index in noted)
    place = {index: number for number, index in enumerate(noted)}
    panels = [[place[index] for index in panel if index in place] for panel in questions.panels]
    return _QuestionSet(
        pairs,
        [questions.seen[index] for index in noted],
        [panel for panel in panels if len(panel) > 1],
        unanswerable=[],
        general=[],
        examples=[training_example(base.tokenizer, messages(pair)) for pair in pairs],
        general_examples=[],
    )


@dataclass(frozen=True)
class _Outputs:
    """What a subject produced: losses in nats, summed over the tokens of each example, and answers.

    `ranks` are of those held-out pairs, by their index, that compete: the places of the own answer among
    answers and of the own question among questions.
    """

    losses: list[float]
    answers: list[str]
    ranks: dict[int, tuple[float, float]]


def _question_set(
    base: BaseModel, pairs: list[TrainingPair], seen: list[bool], answers: Sequence[int]
) -> _QuestionSet:
    """The questions; `answers` are the groups of answers that say the same, which never compete."""
    persona = (pairs[0].lineage or {}).get("persona", "plain") if pairs else "plain"
    general = _packaged("general.jsonl", persona)

    def examples(of: Sequence[TrainingPair]) -> list[Example]:
        return [training_example(base.tokenizer, messages(pair)) for pair in of]

    held_out = examples(pairs)
    panels = contrast.panels(
        [
            Competitor(
                alike=(pair.language, known, (pair.lineage or {}).get("community")),
                order=(pair.task_type, _tokens(example)),
                # one abstention is as right as another
                answer="not-knowing" if pair.task_type == "not-knowing" else answer,
            )
            for pair, example, known, answer in zip(pairs, held_out, seen, answers, strict=True)
        ]
    )
    return _QuestionSet(
        pairs, seen, panels, _packaged("unanswerable.jsonl", persona), general, held_out, examples(general)
    )


def count_unanswerable() -> int:
    """How many questions that nobody can answer each subject is asked beside those held out."""
    return len(_packaged("unanswerable.jsonl", ""))


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


def _generate(
    model: BaseModel, questions: _QuestionSet, answering: Answering, report: Callable[[int], None]
) -> _Outputs:
    """The losses and answers of one subject; `report` hears how many of them are done."""
    if not questions.pairs:
        return _Outputs([], [], {})
    report(0)
    competing = [index for panel in questions.panels for index in panel]
    alone = [index for index in range(len(questions.pairs)) if index not in set(competing)]
    own, likelihoods = contrast.scored(
        model.model, questions.examples, questions.panels, most_tokens=ROW_TOKENS, on_row=report
    )
    rest = [*(questions.examples[index] for index in alone), *questions.general_examples]
    others = example_losses(
        model.model, rest, most_tokens=ROW_TOKENS, on_row=lambda done: report(len(own) + done)
    )
    losses = dict(zip([*competing, *alone], [*own, *others], strict=False))
    every = len(own) + len(others)
    longest = max(map(_tokens, questions.examples))
    answers = answering(
        model,
        [
            [ChatMessage(role=message["role"], content=message["content"]) for message in messages(pair)[:-1]]
            for pair in questions.asked
        ],
        max_new_tokens=min(LONGEST_ANSWER, math.ceil(1.5 * longest)),
        on_progress=lambda finished: report(every + finished),
    )
    return _Outputs(
        [*(losses[index] for index in range(len(questions.pairs))), *others[len(alone) :]],
        answers,
        {
            index: (rank, question_rank)
            for panel, found in zip(questions.panels, likelihoods, strict=True)
            for index, rank, question_rank in zip(
                panel, contrast.ranks(found), contrast.ranks_of_questions(found), strict=True
            )
        },
    )


def _tokens(example: Example) -> int:
    """How many tokens the reference has."""
    return sum(label != IGNORED for label in example.labels)


def _score(
    subject: Subject,
    questions: _QuestionSet,
    outputs: _Outputs,
    learnt: frozenset[Gram],
    style: Style,
    embed: Embed | None,
) -> Examined:
    """The figures of one subject's outputs."""
    if not questions.pairs:
        return Examined(subject, dict.fromkeys(METRICS, math.nan))
    held_out = len(questions.pairs)
    measured = text_metrics.measure(
        questions.pairs, outputs.answers[:held_out], learnt=learnt, style=style, embed=embed
    )
    answers = _held_out(questions, outputs, measured)
    packaged = [
        _answer(pair, answer, math.nan, 0, "unanswerable", {ABSTAINS: float(is_abstention(answer))})
        for pair, answer in zip(questions.unanswerable, outputs.answers[held_out:], strict=True)
    ]
    packaged += [
        _answer(pair, "", loss, _tokens(example), "general", {})
        for pair, example, loss in zip(
            questions.general, questions.general_examples, outputs.losses[held_out:], strict=True
        )
    ]
    unscored = Examined(subject, {}, answers, packaged)
    values = unscored.figures.values
    general = [*zip(outputs.losses[held_out:], map(_tokens, questions.general_examples), strict=True)]
    metrics: dict[str, float] = {
        **{metric: _share(values[metric]) for metric in DECIDING.values() if values[metric]},
        **{RIGHT[name]: _share(unscored.figures.right(name)) for name in DECIDING if values[DECIDING[name]]},
        LOSS: sum(outputs.losses[:held_out]) / sum(map(_tokens, questions.examples)),
        **measured.metrics,
        "not_knowing": _share(values["not_knowing"]),
        "false_not_knowing": _share(values["false_not_knowing"]),
        "general_loss": sum(loss for loss, _ in general) / sum(tokens for _, tokens in general),
    }
    return replace(unscored, metrics={name: metrics[name] for name in METRICS if name in metrics})


def _held_out(questions: _QuestionSet, outputs: _Outputs, measured: text_metrics.Measured) -> list[Answer]:
    """The answers to the held-out questions, each with its own figures."""
    panel_of = {index: panel for panel in questions.panels for index in panel}
    return [
        replace(
            _answer(
                pair,
                answer,
                loss,
                _tokens(example),
                "held-out",
                _values(measured, index),
            ),
            examination="recall" if questions.seen[index] else "generalisation",
            competitors=len(panel_of.get(index, ())[1:]),
            rank=outputs.ranks.get(index, _NO_RANKS)[0],
            question_rank=outputs.ranks.get(index, _NO_RANKS)[1],
        )
        for index, (pair, example, answer, loss) in enumerate(
            zip(questions.pairs, questions.examples, outputs.answers, outputs.losses, strict=False)
        )
    ]


def _values(measured: text_metrics.Measured, index: int) -> dict[str, float]:
    """The figures of one answer; no share of facts where its reference names none."""
    found = {name: values[index] for name, values in measured.values.items()}
    return {name: value for name, value in found.items() if math.isfinite(value)}


def _answer(
    pair: TrainingPair, answer: str, loss: float, tokens: int, kind: Kind, values: dict[str, float]
) -> Answer:
    """An answer as the record keeps it, with the lineage of its pair; its loss becomes that of a token."""
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


def _with_opinions(
    judge: Judge, rival: Subject, examined: Mapping[Subject, Examined], report: Callable[[int], None]
) -> Examined:
    """The candidate with the judge's opinion of its answers beside the rival's."""
    candidate, name = examined["candidate"], JUDGE.format(rival)
    opinions = judge.compare(candidate.answers, examined[rival].answers, on_progress=report)
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
