"""The examination: everybody gets the same questions, figures mean what they say, the base stays clean."""

from __future__ import annotations

import json
import math
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.training import lessons
from training.data import retrieval
from training.data.dataset import history, messages, with_history
from training.data.pairs import TrainingPair
from training.data.retrieval import FoundPassage
from training.examination import evaluation, gate, generation
from training.examination.metrics import METRICS
from training.examination.results import Subject, by_group, restored, stored
from training.fit import hyperparameters, sft
from training.fit.packing import mean_loss
from training.model.base_model import BaseModel
from training.model.chat_format import ChatMessage, training_example
from training.progress import Progress
from training.run import lifecycle
from training.settings import TrainingSettings


@pytest.fixture
def base(tiny_model_folder: Path) -> BaseModel:
    return lessons.load(tiny_model_folder)


@pytest.fixture(scope="module")
def adapters(tiny_model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two adapters that were trained, the second one longer."""
    return [
        _trained(lessons.load(tiny_model_folder), tmp_path_factory.mktemp("adapter"), epochs)
        for epochs in (1, 12)
    ]


def _trained(base: BaseModel, staging: Path, epochs: float) -> Path:
    settings = lessons.settings(epochs=epochs)
    return sft.train(base, lessons.splits(), hyperparameters.for_sft(8, settings), settings, staging).folder


PAIRS = lessons.splits(examination=5).examination


def _selected(base: BaseModel, pairs: list[TrainingPair], settings: TrainingSettings) -> list[TrainingPair]:
    """What is asked of pairs of which training saw none."""
    return list(evaluation.select(base, pairs, settings, seen=[False] * len(pairs)).values())


def _said(text: str | Callable[[str], str]) -> Any:
    """An answering function that says `text`."""

    def answering(
        base: BaseModel,
        prompts: Sequence[Sequence[ChatMessage]],
        *,
        max_new_tokens: int,
        on_progress: Callable[[int], None],
    ) -> list[str]:
        return [text if isinstance(text, str) else text(prompt[-1]["content"]) for prompt in prompts]

    return answering


def test_base_current_and_candidate_are_compared_on_the_same_questions(
    base: BaseModel, adapters: list[Path]
) -> None:
    subjects: dict[Subject, Path | None] = {
        "base": None,
        "current": adapters[0],
        "candidate": adapters[1],
    }
    examined = evaluation.examine(base, PAIRS, subjects, lessons.settings())
    assert [one.subject for one in examined] == ["base", "current", "candidate"]
    # nothing was trained on, references name nothing, and nobody gave vectors
    absent = {"rank_recall", "right_recall", "facts", "nearest_by_meaning"}
    assert all(METRICS.keys() - absent <= one.metrics.keys() <= METRICS.keys() for one in examined)
    for one in examined:
        assert [answer.question for answer in one.answers] == [pair.instruction for pair in PAIRS]
        assert [answer.reference for answer in one.answers] == [pair.output for pair in PAIRS]
    losses = [one.metrics["loss"] for one in examined]
    assert losses[0] > losses[1] > losses[2]


def test_a_question_with_notes_is_asked_with_them_and_once_more_without(base: BaseModel) -> None:
    told = FoundPassage(passage=1, content_hash="h", title="A guide", text="The gate is green.")
    pairs = [retrieval.with_notes(PAIRS[0], [told]), *PAIRS[1:]]
    echo = _said(lambda prompt: "seen" if "The gate is green." in prompt else "not seen")
    (examined,) = evaluation.examine(base, pairs, {"base": None}, lessons.settings(), answering=echo)
    assert [answer.answer for answer in examined.answers] == ["seen", *["not seen"] * (len(PAIRS) - 1)]
    (again,) = examined.without_notes
    assert (again.question, again.answer, again.kind) == (PAIRS[0].instruction, "not seen", "without notes")
    assert again.loss != examined.answers[0].loss
    kept = restored("base", {}, lifecycle.storable(stored(examined.every_answer)))
    assert [one.answer for one in kept.without_notes] == ["not seen"]
    assert len(kept.answers) == len(PAIRS)


def test_questions_are_not_asked_without_notes_where_the_settings_say_so(base: BaseModel) -> None:
    told = FoundPassage(passage=1, content_hash="h", title="A guide", text="The gate is green.")
    pairs = [retrieval.with_notes(pair, [told]) for pair in PAIRS]
    settings = lessons.settings(examine_without_notes=False)
    (examined,) = evaluation.examine(base, pairs, {"base": None}, settings, answering=_said("yes"))
    assert examined.without_notes == []


def test_the_loss_is_that_of_the_references_per_answer_token(base: BaseModel, adapters: list[Path]) -> None:
    examined = evaluation.examine(base, PAIRS, {"base": None}, lessons.settings())[0]
    examples = [training_example(base.tokenizer, messages(pair)) for pair in PAIRS]
    assert examined.metrics["loss"] == pytest.approx(
        mean_loss(base.model, examples, most_tokens=64), rel=1e-4
    )
    single = [mean_loss(base.model, [example], most_tokens=64) for example in examples]
    assert [answer.loss for answer in examined.answers] == pytest.approx(single, rel=1e-4)


@pytest.mark.parametrize("quantisation", ["none", "4bit"])
def test_the_base_model_is_clean_afterwards(
    tiny_model_folder: Path, adapters: list[Path], quantisation: str
) -> None:
    base = lessons.load(tiny_model_folder, quantisation=quantisation)
    names = [name for name, _ in base.model.named_modules()]
    probe = torch.tensor([[1, 2, 3, 4]])
    with torch.no_grad():
        before = base.model(input_ids=probe).logits
        for _ in range(2):
            evaluation.examine(base, PAIRS, {"base": None, "candidate": adapters[1]}, lessons.settings())
        # bitsandbytes keeps 4-bit weights in one of two layouts, which compute almost the same
        torch.testing.assert_close(
            base.model(input_ids=probe).logits, before, rtol=0, atol=0.0 if quantisation == "none" else 5e-3
        )
    assert [name for name, _ in base.model.named_modules()] == names


def test_the_base_model_is_clean_after_an_examination_that_was_stopped(
    base: BaseModel, adapters: list[Path]
) -> None:
    names = [name for name, _ in base.model.named_modules()]

    def stop(progress: Progress) -> None:
        if progress.done > 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluation.examine(base, PAIRS, {"candidate": adapters[0]}, lessons.settings(), on_progress=stop)
    assert [name for name, _ in base.model.named_modules()] == names


def test_progress_goes_from_nothing_to_all(base: BaseModel, adapters: list[Path]) -> None:
    heard: list[Progress] = []
    evaluation.examine(
        base, PAIRS, {"base": None, "candidate": adapters[0]}, lessons.settings(), on_progress=heard.append
    )
    done = [progress.done for progress in heard]
    assert {progress.step for progress in heard} == {"evaluation"}
    assert done == sorted(done) and done[0] == 0 and done[-1] == heard[-1].total


def test_as_many_questions_as_the_settings_allow_the_same_ones_each_time(base: BaseModel) -> None:
    pairs = [lessons.pair(number) for number in range(40)]
    settings = lessons.settings(examination_questions=10)
    chosen = _selected(base, pairs, settings)
    assert len(chosen) == 10
    assert chosen == _selected(base, pairs, settings)
    assert set(chosen) == set(_selected(base, pairs[::-1], settings))
    grown = _selected(base, [*pairs, lessons.pair(100)], settings)
    assert len(set(grown) & set(chosen)) >= 9


def test_a_pair_too_long_for_training_is_not_asked(base: BaseModel) -> None:
    long = lessons.pair(1, "A lamp. " * 200)
    assert _selected(base, [*PAIRS, long], lessons.settings(max_tokens=200)) == PAIRS


def test_a_pair_with_a_long_history_is_asked_with_as_much_of_it_as_fits(base: BaseModel) -> None:
    said = [{"turn": number, "question": f"And {number}?", "answer": "A lamp. " * 30} for number in (1, 2)]
    pair = with_history(PAIRS[0], said)
    (asked,) = _selected(base, [pair], lessons.settings(max_tokens=320))
    assert [one["turn"] for one in history(asked)] == [2]


def test_without_questions_nothing_is_measured_and_the_gate_holds(base: BaseModel) -> None:
    examined = evaluation.examine(base, [], {"base": None, "candidate": None}, lessons.settings())
    assert all(math.isnan(figure) for one in examined for figure in one.metrics.values())
    assert not gate.judge({}, examined[0], None, examined[1]).promote


def test_answers_may_come_from_another_engine(base: BaseModel) -> None:
    answering = _said(lambda question: f"You asked: {question}")
    examined = evaluation.examine(base, PAIRS, {"base": None}, lessons.settings(), answering=answering)
    assert [answer.answer for answer in examined[0].answers] == [
        f"You asked: {pair.instruction}" for pair in PAIRS
    ]


def test_the_plain_generator_is_asked_by_default(base: BaseModel) -> None:
    examined = evaluation.examine(base, PAIRS[:1], {"base": None}, lessons.settings())[0]
    prompt = [ChatMessage(role=m["role"], content=m["content"]) for m in messages(PAIRS[0])[:-1]]
    most = len([t for t in training_example(base.tokenizer, messages(PAIRS[0])).labels if t >= 0])
    assert (
        examined.answers[0].answer
        == generation.answers(base, [prompt], max_new_tokens=math.ceil(1.5 * most))[0]
    )


def test_communities_are_asked_alike_while_they_have_questions(base: BaseModel) -> None:
    pairs = [replace(lessons.pair(number), lineage={"community": 1}) for number in range(20)]
    pairs += [replace(lessons.pair(number), lineage={"community": 2}) for number in range(20, 24)]
    chosen = _selected(base, pairs, lessons.settings(examination_questions=10))
    assert Counter((pair.lineage or {})["community"] for pair in chosen) == {1: 6, 2: 4}


def test_what_training_saw_and_what_it_never_saw_are_asked_alike_and_told_apart(base: BaseModel) -> None:
    pairs = [lessons.pair(number) for number in range(24)]
    examined = evaluation.examine(
        base, pairs, {"base": None}, lessons.settings(examination_questions=8), trained_on=pairs[:20]
    )[0]
    asked = Counter(answer.examination for answer in examined.answers)
    assert asked == {"recall": 4, "generalisation": 4}
    assert {"rank_recall", "rank_generalisation"} <= examined.metrics.keys()


def test_a_question_with_nobody_to_compete_with_is_not_judged_by_contrast(base: BaseModel) -> None:
    alone = [replace(pair, output="It is a lamp.") for pair in PAIRS]
    examined = evaluation.examine(base, alone, {"base": None}, lessons.settings())[0]
    assert {answer.competitors for answer in examined.answers} == {0}
    assert not {"rank_recall", "rank_generalisation"} & examined.metrics.keys()
    assert examined.metrics["loss"] > 0


def test_an_adapter_of_broken_numbers_is_rejected(
    base: BaseModel, adapters: list[Path], tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(adapters[0], broken)
    weights = load_file(broken / "adapter_model.safetensors")
    save_file(
        {name: torch.full_like(weight, math.nan) for name, weight in weights.items()},
        broken / "adapter_model.safetensors",
    )
    examined = evaluation.examine(
        base, PAIRS, {"base": None, "candidate": broken}, lessons.settings(), answering=_said("A lamp.")
    )
    found = gate.judge({}, examined[0], None, examined[1], lessons.LENIENT)
    assert not found.promote and "is not known" in str(found)


def test_one_question_alone_proves_nothing(base: BaseModel, adapters: list[Path]) -> None:
    subjects: dict[Subject, Path | None] = {"base": None, "candidate": adapters[1]}
    examined = evaluation.examine(base, PAIRS[:1], subjects, lessons.settings(), answering=_said("A lamp."))
    found = gate.judge({}, examined[0], None, examined[1], lessons.LENIENT)
    assert not found.promote and "luck cannot be told from learning" in str(found)


def test_questions_that_nobody_can_answer_are_asked_beside_and_admitting_it_is_counted(
    base: BaseModel,
) -> None:
    honest = _said("I don't know that.")
    examined = evaluation.examine(base, PAIRS, {"base": None}, lessons.settings(), answering=honest)[0]
    assert (examined.metrics["not_knowing"], examined.metrics["false_not_knowing"]) == (1.0, 1.0)
    asked = [answer for answer in examined.packaged if answer.kind == "unanswerable"]
    assert {answer.language for answer in asked} == {"en", "pl"}

    sure = _said("It is a lamp.")
    examined = evaluation.examine(base, PAIRS, {"base": None}, lessons.settings(), answering=sure)[0]
    assert (examined.metrics["not_knowing"], examined.metrics["false_not_knowing"]) == (0.0, 0.0)


def test_a_held_out_question_without_an_answer_counts_among_those_nobody_can_answer(base: BaseModel) -> None:
    unknown = replace(PAIRS[0], output="I do not know.", task_type="not-knowing")
    honest_there = _said(lambda question: "No idea." if question == unknown.instruction else "A lamp.")
    examined = evaluation.examine(
        base, [unknown, *PAIRS[1:]], {"base": None}, lessons.settings(), answering=honest_there
    )[0]
    assert 0 < examined.metrics["not_knowing"] < 0.5 and examined.metrics["false_not_knowing"] == 0.0


def test_general_knowledge_that_an_adapter_unlearns_shows_in_its_loss(
    base: BaseModel, adapters: list[Path]
) -> None:
    subjects: dict[Subject, Path | None] = {"base": None, "candidate": adapters[1]}
    base_alone, candidate = evaluation.examine(base, PAIRS, subjects, lessons.settings())
    assert candidate.metrics["general_loss"] != base_alone.metrics["general_loss"] > 0


def test_what_was_learnt_word_for_word_is_told_unless_it_is_the_reference(base: BaseModel) -> None:
    recited = "An adapter is two small matrices beside each layer of the frozen base model"
    texts = [TrainingPair("What is an adapter?", output=recited)]

    def share(reference: str) -> float:
        pairs = [replace(pair, output=reference) for pair in PAIRS]
        examined = evaluation.examine(
            base, pairs, {"base": None}, lessons.settings(), trained_on=texts, answering=_said(recited)
        )
        return examined[0].metrics["memorisation"]

    assert share("A lamp.") == 1.0
    assert share(recited) == 0.0


def test_what_the_record_keeps_gives_the_same_figures_again(base: BaseModel) -> None:
    examined = evaluation.examine(base, PAIRS, {"base": None}, lessons.settings())[0]
    kept = lifecycle.storable(stored([*examined.answers, *examined.packaged]))
    again = restored("base", lifecycle.storable(examined.metrics), json.loads(json.dumps(kept)))
    assert again.figures.values == examined.figures.values
    assert again.figures.weights == examined.figures.weights


def test_languages_with_enough_questions_have_figures_of_their_own(base: BaseModel) -> None:
    polish = [replace(lessons.pair(number), language="pl") for number in range(10, 14)]
    examined = evaluation.examine(base, [*PAIRS, *polish], {"base": None}, lessons.settings())[0]
    groups = by_group(examined)
    assert list(groups) == ["language en"] and groups["language en"]["questions"] == 5
    english = [answer for answer in examined.answers if answer.language == "en"]
    loss = sum(answer.loss * answer.tokens for answer in english) / sum(a.tokens for a in english)
    assert groups["language en"]["loss"] == pytest.approx(loss)
