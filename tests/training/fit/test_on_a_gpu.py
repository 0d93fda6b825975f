"""Training on a CUDA GPU: the same lessons are learnt there, by the passes that only a GPU takes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training import lessons
from training.data.pairs import PreferencePair, Thumb
from training.data.preferences import Preferences
from training.errors import TrainingError
from training.fit import preference_training, sft
from training.fit.hyperparameters import ROW_TOKENS, for_preferences, for_sft
from training.model.base_model import BaseModel
from training.settings import Quantisation

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA GPU here")


def _load(folder: Path, **given: Any) -> BaseModel:
    return lessons.load(folder, **{"device": "cuda", "precision": "bf16", **given})


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("variant", ["lora", "dora"])
@pytest.mark.parametrize("quantisation", ["none", "8bit", "4bit"])
def test_an_adapter_learns_and_the_base_stays_as_it_was(
    tiny_model_folder: Path, tmp_path: Path, quantisation: Quantisation, variant: Any, checkpointing: bool
) -> None:
    base = _load(tiny_model_folder, quantisation=quantisation)
    before = {name: value.clone() for name, value in base.model.state_dict().items()}
    splits, settings = lessons.splits(), lessons.settings(quantisation=quantisation, lora_variant=variant)
    plan = for_sft(8, settings, row_tokens=ROW_TOKENS["cuda"], checkpointing=checkpointing)
    trained = sft.train(base, splits, plan, settings, tmp_path)
    losses = [point["loss"] for point in trained.metrics["curve"] if "loss" in point]
    assert losses[-1] < losses[0] - 0.2
    after = base.model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_attention_is_not_planned_anew_for_every_length(tiny_model_folder: Path) -> None:
    _load(tiny_model_folder)
    assert not torch.backends.cuda.cudnn_sdp_enabled()


def test_it_learns_on_a_gpu_what_it_learns_on_a_cpu(tiny_model_folder: Path, tmp_path: Path) -> None:
    losses = []
    for device in ("cpu", "cuda"):
        base = lessons.load(tiny_model_folder, device=device)
        plan = for_sft(8, lessons.settings())
        trained = sft.train(base, lessons.splits(), plan, lessons.settings(), tmp_path / device)
        losses.append([point["loss"] for point in trained.metrics["curve"] if "loss" in point])
    assert losses[1] == pytest.approx(losses[0], abs=1e-3)


@pytest.mark.parametrize("method", ["dpo", "kto"])
def test_held_out_preferences_become_likelier(tiny_model_folder: Path, tmp_path: Path, method: Any) -> None:
    pairs = [
        PreferencePair(
            f"What is item {number}?",
            chosen=f"Nobody knows, but {number} may be a lamp.",
            rejected=f"Item {number} is a stone.",
        )
        for number in range(24)
    ]
    found = Preferences()
    for split, share in (("train", pairs[:16]), ("validation", pairs[16:20]), ("examination", pairs[20:])):
        found.pairs[split] += share
        for pair in share:
            found.thumbs[split].append(Thumb(pair.instruction, output=pair.chosen, desirable=True))
            found.thumbs[split].append(Thumb(pair.instruction, output=pair.rejected, desirable=False))
    settings = lessons.settings(preference_learning_rate=0.01, preference_epochs=2)
    plan = for_preferences(method, 16, settings)
    figures = preference_training.train(
        _load(tiny_model_folder),
        found,
        plan,
        settings,
        tmp_path,
        row_tokens=ROW_TOKENS["cuda"],
    ).metrics
    assert figures["held_out_margin_after"] > figures["held_out_margin_before"] + 1


def test_running_out_of_the_gpus_memory_is_told_as_such(tiny_model_folder: Path, tmp_path: Path) -> None:
    base = _load(tiny_model_folder)
    torch.cuda.empty_cache()
    total = torch.cuda.mem_get_info()[1]
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + 2**20) / total)
    try:
        with pytest.raises(TrainingError, match="not enough memory"):
            many = replace(lessons.splits(), train=[lessons.pair(n, "A lamp. " * 50) for n in range(32)])
            settings = lessons.settings(batch_size=32)
            plan = for_sft(32, settings, row_tokens=ROW_TOKENS["cuda"])
            sft.train(base, many, plan, settings, tmp_path)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
