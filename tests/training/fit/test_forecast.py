"""What a run will do before it does it: what fits into memory, how long it takes, and why."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from feedback.text import Text
from tests.training import lessons
from training.data.preferences import Preferences
from training.errors import TrainingError
from training.fit import hyperparameters, machine, memory_plan
from training.fit.accelerate_config import DDP, AccelerateConfig
from training.fit.forecast import Forecast, forecast
from training.fit.hyperparameters import ChosenMethod
from training.fit.machine import Machine
from training.fit.memory_plan import Shape
from training.model.base_model import BaseModel
from training.settings import TrainingSettings

SEVEN_BILLION = Shape(
    linear=6_500_000_000,
    other=262_000_000,
    layers=32,
    hidden=4096,
    intermediate=11008,
    vocabulary=32000,
    adapted=32 * (4 * 2 * 4096 + 3 * (4096 + 11008)),
)
SFT = ChosenMethod(("sft",), Text("SFT.", "Nadzorowany."))


# --- memory and time ---


@pytest.fixture(scope="module")
def base(tiny_model_folder: Path) -> BaseModel:
    return lessons.load(tiny_model_folder)


def _forecast(base: BaseModel, gib: float, shape: Shape = SEVEN_BILLION, **given: Any) -> Forecast:
    return forecast(
        SFT,
        lessons.splits(train=20),
        Preferences(),
        TrainingSettings(**given),
        machine=Machine("cuda", "bf16", gib * 1024, 1e14),
        shape=shape,
        tokenizer=base.tokenizer,
    )


def test_where_there_is_room_nothing_is_spared(base: BaseModel) -> None:
    plan = _forecast(base, 200)
    assert (plan.settings.quantisation, plan.settings.rank, plan.settings.alpha) == ("none", 16, 32)
    assert (plan.row_tokens, plan.checkpointing) == (hyperparameters.ROW_TOKENS["cuda"], False)
    assert plan.peak_mib < plan.free_mib and not any("To fit" in reason.en for reason in plan.reasons)


def test_the_less_memory_the_more_is_spared_and_it_fits(base: BaseModel) -> None:
    plan = [_forecast(base, gib) for gib in (200, 40, 20, 8)]
    peaks = [one.peak_mib for one in plan]
    assert peaks == sorted(peaks, reverse=True)
    assert all(one.peak_mib <= memory_plan.SHARE_OF_MEMORY * one.free_mib for one in plan)
    assert [one.settings.quantisation for one in plan] == ["none", "none", "none", "4bit"]
    assert plan[-1].checkpointing and any("To fit, " in reason.en for reason in plan[-1].reasons)


def test_seven_billion_weights_in_four_bits_train_within_six_gib(base: BaseModel) -> None:
    plan = _forecast(base, 6.6, rank=8)
    assert plan.settings.quantisation == "4bit" and plan.peak_mib <= 6 * 1024


def test_what_is_replayed_takes_time_and_its_tokens_are_counted(base: BaseModel) -> None:
    without, with_it = (_forecast(base, 200, replay_weight=weight) for weight in (0, 1))
    assert with_it.steps == without.steps
    assert with_it.tokens > without.tokens
    assert with_it.seconds > without.seconds


def test_answers_that_compete_take_time_and_their_tokens_are_counted(base: BaseModel) -> None:
    without, with_it = (_forecast(base, 200, contrast_weight=weight) for weight in (0, 1))
    assert with_it.steps == without.steps
    assert with_it.tokens > without.tokens
    assert with_it.seconds > without.seconds


def test_what_fits_nowhere_is_tried_smallest_and_said(base: BaseModel) -> None:
    plan = _forecast(base, 2)
    assert plan.settings.quantisation == "4bit" and plan.peak_mib > plan.free_mib
    assert "choose a smaller model" in plan.reasons[-3].en


def test_a_set_quantisation_and_rank_are_kept_however_tight_it_is(base: BaseModel) -> None:
    plan = _forecast(base, 4, quantisation="none", rank=32, alpha=16)
    assert (plan.settings.quantisation, plan.settings.rank, plan.settings.alpha) == ("none", 32, 16)


def test_more_pairs_and_a_slower_machine_take_longer(base: BaseModel) -> None:
    fast, slow = (
        forecast(
            SFT,
            lessons.splits(train=pairs),
            Preferences(),
            TrainingSettings(epochs=3, batch_size=4),
            machine=Machine("cpu", "bf16", 1e5, rate),
            shape=SEVEN_BILLION,
            tokenizer=base.tokenizer,
        )
        for pairs, rate in ((20, 1e12), (40, 1e11))
    )
    assert (fast.steps, slow.steps) == (15, 30)
    assert slow.tokens == pytest.approx(2 * fast.tokens, rel=0.1)
    assert slow.seconds > 15 * fast.seconds


def test_preferences_after_sft_are_counted_in(base: BaseModel) -> None:
    found = lessons.preferences(pairs=40)
    one, both = (
        forecast(
            ChosenMethod(stages, SFT.why),
            lessons.splits(train=20),
            found,
            TrainingSettings(),
            machine=Machine("cpu", "bf16", 1e5, 1e11),
            shape=SEVEN_BILLION,
            tokenizer=base.tokenizer,
        )
        for stages in ((("sft",)), (("sft", "dpo")))
    )
    assert both.seconds > one.seconds and both.steps > one.steps


def test_the_shape_is_read_without_the_weights(tiny_model_folder: Path, base: BaseModel) -> None:
    shape = memory_plan.read_shape(tiny_model_folder, TrainingSettings())
    assert shape.weights == sum(weight.numel() for weight in base.model.parameters())
    assert (shape.layers, shape.hidden, shape.vocabulary) == (2, 64, base.model.config.vocab_size)
    some = memory_plan.read_shape(tiny_model_folder, TrainingSettings(target_modules="q_proj, v_proj"))
    assert some.adapted == 2 * ((64 + 64) + (64 + 32))


def test_the_machine_is_measured() -> None:
    here = machine.measure("cpu", "fp32", TrainingSettings())
    assert (here.device, here.precision) == ("cpu", "fp32")
    assert here.free_mib > 0 and here.rate > 1e6


# --- several processes ---


def test_a_small_model_takes_the_time_of_its_calls_however_quick_the_gpu(base: BaseModel) -> None:
    small = Shape(linear=10**8, other=10**7, layers=30, hidden=576, intermediate=1536, vocabulary=50_000,
                  adapted=10**6)  # fmt: skip
    seconds = [
        forecast(
            SFT,
            lessons.splits(train=40),
            Preferences(),
            TrainingSettings(epochs=3, batch_size=4),
            machine=Machine("cuda", "bf16", 1e5, rate),
            shape=small,
            tokenizer=base.tokenizer,
        ).seconds
        for rate in (1e14, 1e15)
    ]
    assert seconds[0] == seconds[1] > 5  # 30 steps through 30 layers, forward and back


def _of_several(base: BaseModel, processes: int, stages: Any = ("sft",), **given: Any) -> Forecast:
    config = given.pop("config", AccelerateConfig())
    return forecast(
        ChosenMethod(stages, SFT.why),
        lessons.splits(train=20),
        lessons.preferences(pairs=40, up=20, down=20),
        TrainingSettings(**given),
        machine=Machine("cuda", "bf16", 80 * 1024, 1e14, processes, config),
        shape=SEVEN_BILLION,
        tokenizer=base.tokenizer,
    )


def test_a_batch_is_shared_out_and_takes_less_time(base: BaseModel) -> None:
    one, four = (_of_several(base, processes, batch_size=8) for processes in (1, 4))
    assert (four.processes, four.steps) == (4, one.steps)
    assert four.seconds == pytest.approx(one.seconds / 4)
    english, polish = zip(*four.reasons, strict=True)
    assert "4 GPUs train together (DDP) and share batches of 8 examples (SFT) among them." in english
    assert "GPU: 4 trenuje razem (DDP) i dzieli między siebie porcje po 8 przykładów (SFT)." in polish
    assert any("MiB free (cuda, each of 4 processes)" in reason for reason in english)
    assert four.described()["processes"] == 4


@pytest.mark.parametrize(
    ("stages", "most", "used"),
    [(("sft",), 8, 6), (("sft",), 4, 4), (("sft", "dpo"), 4, 3), (("kto",), 8, 3), (("kto",), 2, 1)],
)
def test_no_process_is_without_work(base: BaseModel, stages: Any, most: int, used: int) -> None:
    plan = _of_several(base, most, stages, batch_size=6)
    assert plan.processes == used


def test_a_model_that_is_shared_out_takes_less_memory_of_each(base: BaseModel) -> None:
    spread = AccelerateConfig("FSDP", sharded=True)
    whole, shared = (_of_several(base, 4, quantisation="none", config=one) for one in (DDP, spread))
    assert whole.row_tokens == shared.row_tokens and whole.checkpointing == shared.checkpointing
    weights = 2 * SEVEN_BILLION.weights / 2**20
    assert whole.peak_mib - shared.peak_mib == pytest.approx(weights * 3 / 4, rel=0.01)
    assert _of_several(base, 8, config=spread).processes == 8, "it would not fit into fewer"


def test_a_quantised_model_is_not_shared_out(base: BaseModel) -> None:
    with pytest.raises(TrainingError, match="FSDP does not share out a base model of 4 bits"):
        _of_several(base, 4, quantisation="4bit", config=AccelerateConfig("FSDP", sharded=True))


def test_it_is_said_in_sentences_of_both_languages(base: BaseModel) -> None:
    plan = replace(_forecast(base, 40), seconds=200)
    assert plan.reasons[0] == SFT.why
    assert all(said.endswith(".") for reason in plan.reasons for said in reason)
    assert plan.reasons[-2] == (
        "8 epochs of 20 pairs in batches of 4, fewer when the validation loss stops falling.",
        "20 par w porcjach po 4, epoki: 8; mniej, gdy strata walidacji przestanie spadać.",
    )
    assert plan.described()["seconds"] == 200
    assert plan.described()["reasons"][0] == {"en": "SFT.", "pl": "Nadzorowany."}
