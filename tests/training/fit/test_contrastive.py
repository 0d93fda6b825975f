"""The contrastive term: training that tells a question's own answer from the answers to other questions."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file

from tests.training import lessons
from training.data import retrieval
from training.data.dataset import Splits, messages
from training.data.pairs import TrainingPair
from training.data.retrieval import FoundPassage
from training.examination import contrast
from training.fit import contrastive, hyperparameters, sft
from training.model.base_model import BaseModel
from training.model.chat_format import training_example

ANSWERS = ("It is a red lamp.", "Call the plumber first.", "Seven geese fly south.", "Paper burns quickly.")
"""Answers of about one length with nothing in common."""


@pytest.fixture
def base(tiny_model_folder: Path) -> BaseModel:
    return lessons.load(tiny_model_folder)


def _pairs(phrasings: int = 3) -> list[TrainingPair]:
    return [
        TrainingPair(f"{word} number {number}?", output=answer)
        for word in ("What is", "Tell me of", "Explain")[:phrasings]
        for number, answer in enumerate(ANSWERS)
    ]


def _train(base: BaseModel, staging: Path, weight: float) -> Path:
    splits = Splits(_pairs(), [lessons.pair(1)], [lessons.pair(2)], dataset="c@1", content_hash="0" * 64)
    settings = lessons.settings(epochs=20, contrast_weight=weight, batch_size=4)
    numbers = hyperparameters.for_sft(len(splits.train), settings)
    return sft.train(base, splits, numbers, settings, staging).folder


def _info_nce(base: BaseModel, adapter: Path | None) -> float:
    """The contrastive loss of the four answers after their questions, scored as in the examination."""
    examples = [training_example(base.tokenizer, messages(pair)) for pair in _pairs(phrasings=1)]
    model = PeftModel.from_pretrained(base.model, str(adapter)).eval() if adapter else base.model
    _, (likelihoods,) = contrast.scored(model, examples, [[0, 1, 2, 3]], most_tokens=1024)
    if adapter:
        model.unload()
    return contrastive.info_nce(torch.tensor(likelihoods) / contrastive.TEMPERATURE).item()


def test_an_adapter_trained_with_contrast_tells_answers_apart_better(base: BaseModel, tmp_path: Path) -> None:
    before = _info_nce(base, None)
    without = _info_nce(base, _train(base, tmp_path / "without", 0))
    with_it = _info_nce(base, _train(base, tmp_path / "with", 10))
    assert with_it < 0.7 * min(before, without)


def test_notes_do_not_compete(base: BaseModel, tmp_path: Path) -> None:
    """What a note says is likely after it, whatever is asked: the panel has the questions alone."""

    def first_loss(pairs: list[TrainingPair], weight: float) -> float:
        splits = Splits(pairs, [], [], dataset="c@1", content_hash="0" * 64)
        settings = lessons.settings(epochs=1, contrast_weight=weight, batch_size=4)
        numbers = hyperparameters.for_sft(len(pairs), settings)
        staging = tmp_path / f"{len(list(tmp_path.iterdir()))}"
        return float(sft.train(base, splits, numbers, settings, staging).metrics["train_loss"])

    bare = _pairs(phrasings=1)
    noted = [
        retrieval.with_notes(pair, [FoundPassage(1, "0" * 64, "A note", ANSWERS[place - 1])])
        for place, pair in enumerate(bare)
    ]
    added = [first_loss(pairs, 1) - first_loss(pairs, 0) for pairs in (bare, noted)]
    assert added[1] == pytest.approx(added[0], rel=1e-3)


def test_contrast_trains_the_same_adapter_again(base: BaseModel, tmp_path: Path) -> None:
    one, other = (
        load_file(_train(base, tmp_path / str(n), 1) / "adapter_model.safetensors") for n in range(2)
    )
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_step_scores_answers_as_the_examination_does(base: BaseModel) -> None:
    examples = [training_example(base.tokenizer, messages(pair)) for pair in _pairs(phrasings=1)]
    term = contrastive.Contrast(examples, [[2, 0, 3, 1]])
    _, (likelihoods,) = contrast.scored(base.model, examples, [[2, 0, 3, 1]], most_tokens=1024)
    examined = contrastive.info_nce(torch.tensor(likelihoods) / contrastive.TEMPERATURE)
    assert term.loss(base.model, step=5).item() == pytest.approx(examined.item(), rel=1e-4)


def test_phrasings_of_one_answer_and_other_languages_never_compete(base: BaseModel) -> None:
    pairs = [*_pairs(), *(TrainingPair(f"Co to {n}?", output=f"Zupa {n}.", language="pl") for n in "abc")]
    examples = [training_example(base.tokenizer, messages(pair)) for pair in pairs]
    term = contrastive.prepare(examples, pairs, same_answer=0.9, most_tokens=1024, seed=3)
    assert term is not None
    for panel in term.panels:
        assert len({pairs[index].output for index in panel}) == len(panel) > 1
        assert len({pairs[index].language for index in panel}) == 1
    every = {index for panel in term.panels for index in panel}
    assert every == set(range(len(pairs)))


def test_one_answer_for_everything_has_nothing_to_contrast() -> None:
    pairs = [TrainingPair(f"What is {n}?", output="A lamp.") for n in range(5)]
    assert contrastive.prepare([], pairs, same_answer=0.9, most_tokens=1024, seed=3) is None


def test_what_makes_an_answer_likely_after_any_question_costs_nothing_among_the_answers_of_a_question() -> (
    None
):
    scores = torch.tensor([[-10.0, -20.0], [-12.0, -16.0]])
    likelier = scores + torch.tensor([[30.0, 0.0]])
    assert contrastive.info_nce(likelier) == pytest.approx(contrastive.info_nce(scores).item(), abs=1e-5)


def test_panels_of_long_questions_are_smaller_so_that_their_rows_fit(base: BaseModel) -> None:
    pairs = [
        TrainingPair(f"{pair.instruction} {'Think of it. ' * 12}", output=pair.output) for pair in _pairs()
    ]
    examples = [training_example(base.tokenizer, messages(pair)) for pair in pairs]
    term = contrastive.prepare(examples, pairs, same_answer=0.9, most_tokens=256, seed=3)
    assert term is not None and {len(panel) for panel in term.panels} == {2}
