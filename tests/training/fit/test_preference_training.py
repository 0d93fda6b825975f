"""DPO and KTO, really trained: held-out preferences become likelier, and what stops a training."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file

from tests.training import lessons
from training.data.dataset import messages
from training.data.pairs import PreferencePair, Thumb
from training.data.preferences import Preferences
from training.errors import TrainingError
from training.fit import preference_training, sft
from training.fit.hyperparameters import for_preferences, for_sft
from training.fit.packing import example_losses
from training.fit.sft import Trained
from training.model.base_model import BaseModel
from training.model.chat_format import training_example
from training.progress import Progress
from training.settings import TrainingSettings


@pytest.fixture
def base(tiny_model_folder: Path) -> BaseModel:
    return lessons.load(tiny_model_folder)


def _pair(number: int) -> PreferencePair:
    return PreferencePair(
        f"What is item {number}?",
        chosen=f"Nobody knows, but {number} may be a lamp.",
        rejected=f"Item {number} is a stone.",
    )


def _preferences(train: int = 16, validation: int = 4, examination: int = 4) -> Preferences:
    """That many pairs, and each of their answers as a thumb."""
    found, first = Preferences(), 0
    for split, count in zip(found.pairs, (train, validation, examination), strict=True):
        for pair in map(_pair, range(first, first + count)):
            found.pairs[split].append(pair)
            found.thumbs[split].append(Thumb(pair.instruction, output=pair.chosen, desirable=True))
            found.thumbs[split].append(Thumb(pair.instruction, output=pair.rejected, desirable=False))
        first += count
    return found


def _train(
    base: BaseModel, staging: Path, method: Any, preferences: Preferences | None = None, **given: Any
) -> Trained:
    heard: Callable[[Progress], None] = given.pop("on_progress", lambda progress: None)
    start = given.pop("start", None)
    preferences = preferences or _preferences()
    settings = lessons.settings(**{"preference_learning_rate": 0.01, "preference_epochs": 2, **given})
    plan = for_preferences(method, len(preferences.pairs["train"]), settings)
    return preference_training.train(
        base, preferences, plan, settings, staging, start=start, on_progress=heard
    )


# --- what is learnt ---


@pytest.mark.parametrize("method", ["dpo", "kto"])
def test_the_margin_of_chosen_over_rejected_rises_on_pairs_it_never_saw(
    base: BaseModel, tmp_path: Path, method: str
) -> None:
    before = _state(base)
    trained = _train(base, tmp_path, method)
    figures = trained.metrics
    assert figures["held_out_pairs"] == 4
    assert figures["held_out_margin_after"] > figures["held_out_margin_before"] + 1
    if method == "kto":
        assert figures["held_out_thumbs"] == 8 and figures["held_out_thumbs_margin"] > 0.5
    assert figures["helped"] and figures["validation_loss"] < figures["validation_loss_before"]
    weights = load_file(trained.folder / "adapter_model.safetensors")
    assert len(weights) == 2 * 7 * 2 and all(weight.abs().max() > 0 for weight in weights.values())
    after = _state(base)
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("method", ["dpo", "kto"])
def test_it_goes_on_from_an_adapter_and_holds_on_to_that_one(
    base: BaseModel, tmp_path: Path, method: str
) -> None:
    first = sft.train(
        base,
        lessons.splits(),
        for_sft(8, lessons.settings()),
        lessons.settings(),
        tmp_path / "sft",
    )
    former = _margin(base, first.folder, _preferences().pairs["examination"])
    trained = _train(base, tmp_path / method, method, start=first.folder)
    figures = trained.metrics
    assert figures["held_out_margin_before"] == pytest.approx(former, rel=1e-4)
    assert figures["held_out_margin_after"] > former + 1
    # the reference is the adapter that is continued: at the start no answer is preferred over its
    assert figures["validation_loss_before"] == pytest.approx(math.log(2) if method == "dpo" else 0.5)
    saved = _margin(base, trained.folder, _preferences().pairs["examination"])
    assert saved == pytest.approx(figures["held_out_margin_after"], rel=1e-3)
    assert [path.name for path in trained.folder.iterdir() if path.is_dir()] == []
    card = (trained.folder / "README.md").read_text(encoding="utf-8")
    assert "8 to learn from" in card and f"## Preferences ({method.upper()})" in card


def test_the_adapter_saved_is_the_one_of_the_best_validation(base: BaseModel, tmp_path: Path) -> None:
    contrary = _preferences()
    contrary.pairs["validation"][:] = [
        replace(pair, chosen=pair.rejected, rejected=pair.chosen) for pair in contrary.pairs["train"][:4]
    ]
    trained = _train(base, tmp_path, "dpo", contrary, preference_epochs=20, patience=2)
    losses = [point["validation_loss"] for point in trained.metrics["curve"] if "validation_loss" in point]
    assert trained.metrics["epochs"] < 20 and len(losses) > 2
    assert trained.metrics["validation_loss"] == pytest.approx(min(losses[1:]))
    assert not trained.metrics["helped"]


def test_the_rarer_kind_of_thumb_weighs_more() -> None:
    rows = [{"label": True}] * 30 + [{"label": False}] * 10
    assert preference_training._weights(rows) == {"desirable_weight": 1.0, "undesirable_weight": 3.0}


# --- bad input ---


@pytest.mark.parametrize("method", ["dpo", "kto"])
def test_a_loss_that_is_no_number_stops_the_training_at_once(
    base: BaseModel, tmp_path: Path, method: str
) -> None:
    base.model.model.norm.weight.data[0] = float("nan")
    with pytest.raises(TrainingError, match=r"became nan .*PREFERENCE_LEARNING_RATE"):
        _train(base, tmp_path, method)
    assert not (tmp_path / "preferred").exists()


def test_examples_that_are_too_long_are_left_out_and_counted(base: BaseModel, tmp_path: Path) -> None:
    preferences = _preferences()
    preferences.pairs["train"].append(replace(_pair(99), rejected="A lamp. " * 200))
    figures = _train(base, tmp_path, "dpo", preferences, max_tokens=200, preference_epochs=1).metrics
    assert (figures["examples"], figures["left_out_too_long"]) == (16, 1)


def test_an_adapter_of_another_rank_is_not_continued(base: BaseModel, tmp_path: Path) -> None:
    first = sft.train(
        base,
        lessons.splits(),
        for_sft(8, lessons.settings()),
        lessons.settings(),
        tmp_path / "sft",
    )
    with pytest.raises(TrainingError, match=r"rank is 4, .* ask for 2.*RANK=4.*START_FROM=fresh"):
        _train(base, tmp_path / "dpo", "dpo", start=first.folder, rank=2)


# --- stopping ---


class _Enough(Exception):
    pass


def test_what_progress_raises_stops_the_training_and_leaves_the_base_clean(
    base: BaseModel, tmp_path: Path
) -> None:
    before = _state(base)

    def heard(progress: Progress) -> None:
        assert (progress.step, progress.total) == ("training", 8)
        if progress.done == 2:
            raise _Enough

    with pytest.raises(_Enough):
        _train(base, tmp_path, "dpo", on_progress=heard)
    after = _state(base)
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)


# --- the numbers chosen ---


def test_few_examples_hold_on_harder_and_get_larger_steps_than_many() -> None:
    few, many = (for_preferences("dpo", number, TrainingSettings()) for number in (20, 20_000))
    assert few.beta > many.beta
    assert few.learning_rate > many.learning_rate
    assert few.epochs > many.epochs


def test_what_the_settings_say_is_not_chosen_otherwise() -> None:
    settings = TrainingSettings(preference_beta=0.5, preference_learning_rate=1e-6, preference_epochs=7)
    plan = for_preferences("kto", 20, settings)
    assert (plan.beta, plan.learning_rate, plan.epochs) == (0.5, 1e-6, 7)


def _state(base: BaseModel) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in base.model.state_dict().items()}


def _margin(base: BaseModel, adapter: Path, pairs: list[PreferencePair]) -> float:
    """How much likelier the adapter holds the chosen answers, in nats."""
    model: Any = PeftModel.from_pretrained(base.model, str(adapter)).eval()
    try:
        said = [
            [training_example(base.tokenizer, messages(pair.answered(text))) for pair, text in answers]
            for answers in (
                [(pair, pair.chosen) for pair in pairs],
                [(pair, pair.rejected) for pair in pairs],
            )
        ]
        chosen, rejected = (example_losses(model, examples, most_tokens=1024) for examples in said)
    finally:
        model.unload()
    return sum(rejected) / len(pairs) - sum(chosen) / len(pairs)
