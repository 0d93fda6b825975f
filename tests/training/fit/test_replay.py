"""Replay: what the base model says to general questions stays what the adapter says."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file

import training.examination
from tests.training import lessons
from training.data.dataset import messages
from training.fit import hyperparameters, replay, sft
from training.fit.packing import label_logits, pack
from training.model.base_model import BaseModel
from training.model.chat_format import training_example


@pytest.fixture
def base(tiny_model_folder: Path) -> BaseModel:
    return lessons.load(tiny_model_folder)


def _train(base: BaseModel, staging: Path, weight: float) -> Path:
    splits = lessons.splits(train=24)
    settings = lessons.settings(epochs=6, replay_weight=weight)
    return sft.train(base, splits, hyperparameters.for_sft(24, settings), settings, staging).folder


def _departure(base: BaseModel, adapter: Path) -> float:
    """KL(base || adapter) on all replayed text, by torch's own over the whole vocabulary."""
    row = pack([training_example(base.tokenizer, messages(pair)) for pair in replay.pairs()])
    with torch.no_grad():
        before = torch.log_softmax(label_logits(base.model, row), dim=-1)
        model = PeftModel.from_pretrained(base.model, str(adapter)).eval()
        after = torch.log_softmax(label_logits(model, row), dim=-1)
        model.unload()
    return torch.nn.functional.kl_div(after, before, log_target=True, reduction="batchmean").item()


def test_an_adapter_trained_with_replay_departs_less_from_the_base_model(
    base: BaseModel, tmp_path: Path
) -> None:
    without = _departure(base, _train(base, tmp_path / "without", 0))
    with_it = _departure(base, _train(base, tmp_path / "with", 50))
    assert without > 0.01
    assert with_it < 0.7 * without


def test_replay_trains_the_same_adapter_again(base: BaseModel, tmp_path: Path) -> None:
    one, other = (
        load_file(_train(base, tmp_path / str(n), 1) / "adapter_model.safetensors") for n in range(2)
    )
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_the_divergence_is_that_of_the_whole_vocabulary_where_few_tokens_hold_the_mass() -> None:
    generator = torch.Generator().manual_seed(1)
    said = 4 * torch.randn(5, 400, generator=generator)
    answered = said + torch.randn(5, 400, generator=generator)
    whole = torch.nn.functional.kl_div(
        torch.log_softmax(answered, -1), torch.log_softmax(said, -1), log_target=True, reduction="batchmean"
    )
    coarse = replay.divergence(replay.expectation(said), torch.log_softmax(answered, -1))
    assert 0.9 * whole < coarse <= whole
    assert replay.divergence(replay.expectation(said), torch.log_softmax(said, -1)).abs() < 1e-5


def test_replayed_questions_are_in_both_languages_and_none_is_asked_in_the_examination() -> None:
    replayed = replay.pairs()
    assert {pair.language for pair in replayed} == {"en", "pl"}
    folder = Path(training.examination.__file__).parent
    asked = [
        json.loads(line)["question"]
        for name in ("general.jsonl", "unanswerable.jsonl")
        for line in (folder / name).read_text(encoding="utf-8").splitlines()
    ]
    alike = [
        (one, pair.instruction)
        for one, pair in product(asked, replayed)
        if len(_words(one) & _words(pair.instruction)) > 0.7 * len(_words(one))
    ]
    assert alike == []


def _words(text: str) -> set[str]:
    return set(text.casefold().strip("?.").split())
