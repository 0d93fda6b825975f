"""One training run: what is learnt, what is left alone, what stops it, and how it goes on."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file

from tests.training import lessons
from training.data.dataset import Splits, messages
from training.data.pairs import TrainingPair
from training.errors import TrainingError
from training.fit import hyperparameters, sft
from training.fit.packing import mean_loss
from training.fit.sft import Trained
from training.model import fingerprint
from training.model.base_model import BaseModel
from training.model.chat_format import training_example
from training.progress import Progress
from training.settings import TrainingSettings


@pytest.fixture
def base(tiny_model_folder: Path) -> BaseModel:
    return lessons.load(tiny_model_folder)


def _train(
    base: BaseModel, staging: Path, splits: Splits | None = None, *, resume: bool = False, **given: Any
) -> Trained:
    heard: Callable[[Progress], None] = given.pop("on_progress", lambda progress: None)
    splits = splits or lessons.splits()
    start, row_tokens = given.pop("start", None), given.pop("row_tokens", hyperparameters.ROW_TOKENS["cpu"])
    settings = lessons.settings(**given)
    plan = hyperparameters.for_sft(len(splits.train), settings, row_tokens=row_tokens)
    return sft.train(base, splits, plan, settings, staging, start=start, on_progress=heard, resume=resume)


def _state(base: BaseModel) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in base.model.state_dict().items()}


def _loss(base: BaseModel, pairs: list[TrainingPair], adapter: Path | None = None) -> float:
    examples = [training_example(base.tokenizer, messages(pair)) for pair in pairs]
    if adapter is None:
        return mean_loss(base.model, examples, most_tokens=1024)
    model = PeftModel.from_pretrained(base.model, str(adapter)).eval()
    try:
        return mean_loss(model, examples, most_tokens=1024)
    finally:
        model.unload()


# --- what is learnt ---


@pytest.mark.filterwarnings("error:.*an autograd kernel was not registered")
@pytest.mark.parametrize("quantisation", ["none", "8bit", "4bit"])
def test_every_weight_of_the_adapter_moves_and_none_of_the_base(
    tiny_model_folder: Path, tmp_path: Path, quantisation: str
) -> None:
    base = lessons.load(tiny_model_folder, quantisation=quantisation)
    before = _state(base)
    splits = lessons.splits()
    trained = _train(base, tmp_path, splits, quantisation=quantisation)
    weights = load_file(trained.folder / "adapter_model.safetensors")
    assert len(weights) == 2 * 7 * 2, "A and B of seven linear layers in two blocks"
    for name, weight in weights.items():
        # B begins at zero and A at random, so a B that is not zero has moved, and A with it from then on
        assert weight.abs().max() > 0 and torch.isfinite(weight).all(), name
    after = _state(base)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert _loss(base, splits.train, trained.folder) < _loss(base, splits.train) - 0.2


def test_both_halves_of_every_layer_move(base: BaseModel, tmp_path: Path) -> None:
    first = load_file(_train(base, tmp_path / "1", epochs=0.5).folder / "adapter_model.safetensors")
    later = load_file(_train(base, tmp_path / "2", epochs=3).folder / "adapter_model.safetensors")
    assert all(not torch.equal(first[name], later[name]) for name in first)


def test_the_adapter_saved_is_the_one_of_the_best_validation(base: BaseModel, tmp_path: Path) -> None:
    splits = lessons.splits()
    trained = _train(base, tmp_path, splits, epochs=4)
    measured = [point["validation_loss"] for point in trained.metrics["curve"] if "validation_loss" in point]
    assert len(measured) == 4
    assert trained.metrics["validation_loss"] == pytest.approx(min(measured))
    assert _loss(base, splits.validation, trained.folder) == pytest.approx(min(measured), rel=1e-3)


def test_training_ends_early_when_validation_only_gets_worse(base: BaseModel, tmp_path: Path) -> None:
    lamps = lessons.splits(train=8).train
    contrary = Splits(lamps, [replace(pair, output="Zzz qqq xxx 9 9 9.") for pair in lamps[:2]], [])
    trained = _train(base, tmp_path, contrary, epochs=40, patience=2, learning_rate=0.02)
    assert trained.metrics["epochs"] < 20
    measured = [point["validation_loss"] for point in trained.metrics["curve"] if "validation_loss" in point]
    assert min(measured) < measured[-1]
    assert trained.metrics["validation_loss"] == pytest.approx(min(measured))


def test_the_same_seed_gives_the_same_adapter(tiny_model_folder: Path, tmp_path: Path) -> None:
    runs = [
        load_file(
            _train(lessons.load(tiny_model_folder), tmp_path / str(n)).folder / "adapter_model.safetensors"
        )
        for n in range(2)
    ]
    assert all(torch.equal(runs[0][name], runs[1][name]) for name in runs[0])


def test_a_batch_counts_the_same_in_one_row_and_in_several(tiny_model_folder: Path, tmp_path: Path) -> None:
    uneven = [lessons.pair(number, "A lamp." * (1 + number % 4)) for number in range(8)]
    splits = replace(lessons.splits(), train=uneven)

    def losses(place: str, row_tokens: int) -> list[float]:
        base = lessons.load(tiny_model_folder)
        trained = _train(base, tmp_path / place, splits, batch_size=8, row_tokens=row_tokens)
        return [point["loss"] for point in trained.metrics["curve"] if "loss" in point]

    whole = losses("whole", 1024)
    assert losses("several", 128) == pytest.approx(whole, rel=1e-4)


def test_a_base_in_bf16_gets_an_adapter_in_full_precision(tiny_model_folder: Path, tmp_path: Path) -> None:
    base = lessons.load(tiny_model_folder, precision="bf16")
    weights = load_file(_train(base, tmp_path).folder / "adapter_model.safetensors")
    assert {weight.dtype for weight in weights.values()} == {torch.float32}
    assert base.model.dtype == torch.bfloat16


def test_only_the_named_layers_get_an_adapter(base: BaseModel, tmp_path: Path) -> None:
    trained = _train(base, tmp_path, target_modules="q_proj, v_proj")
    weights = load_file(trained.folder / "adapter_model.safetensors")
    assert {name.split(".")[-3] for name in weights} == {"q_proj", "v_proj"}


@pytest.mark.parametrize("variant", ["rslora", "dora"])
def test_every_variant_is_trained_saved_as_what_it_is_and_says_the_same_when_loaded(
    base: BaseModel, tmp_path: Path, variant: str
) -> None:
    splits = lessons.splits()
    trained = _train(base, tmp_path, splits, lora_variant=variant)
    config = json.loads((trained.folder / "adapter_config.json").read_bytes())
    assert (config["use_rslora"], config["use_dora"]) == (variant == "rslora", variant == "dora")
    assert _loss(base, splits.validation, trained.folder) == pytest.approx(
        trained.metrics["validation_loss"], rel=1e-3
    )
    assert _loss(base, splits.train, trained.folder) < _loss(base, splits.train) - 0.2


def test_with_lora_plus_the_second_matrix_learns_faster_than_the_first(
    tiny_model_folder: Path, tmp_path: Path
) -> None:
    def sizes(ratio: float) -> tuple[float, float]:
        place = tmp_path / str(ratio)
        trained = _train(lessons.load(tiny_model_folder), place, epochs=0.5, lora_plus_ratio=ratio)
        weights = load_file(trained.folder / "adapter_model.safetensors")
        first, second = (
            sum(w.abs().mean().item() for name, w in weights.items() if f"lora_{half}" in name)
            for half in "AB"
        )
        return first, second

    (plain_a, plain_b), (plus_a, plus_b) = sizes(0), sizes(8)
    assert plus_b > 6 * plain_b, "one step of AdamW is as long as its rate"
    assert plus_a == pytest.approx(plain_a, rel=0.1)


def test_it_goes_on_from_an_adapter_where_that_stopped(base: BaseModel, tmp_path: Path) -> None:
    splits = lessons.splits()
    first = _train(base, tmp_path / "1", splits)
    further = _train(base, tmp_path / "2", splits, start=first.folder)
    began = next(point["loss"] for point in further.metrics["curve"] if "loss" in point)
    ended = next(point["loss"] for point in reversed(first.metrics["curve"]) if "loss" in point)
    assert began < ended + 0.1
    assert _loss(base, splits.train, further.folder) < _loss(base, splits.train, first.folder)


def test_an_adapter_of_another_rank_is_not_gone_on_from(base: BaseModel, tmp_path: Path) -> None:
    first = _train(base, tmp_path / "1")
    with pytest.raises(TrainingError, match=r"rank is 4, .* ask for 2.*RANK=4.*START_FROM=fresh"):
        _train(base, tmp_path / "2", start=first.folder, rank=2)


# --- what is left behind ---


def test_the_folder_holds_an_adapter_its_fingerprint_and_a_card_and_no_pickle(
    base: BaseModel, tmp_path: Path
) -> None:
    trained = _train(base, tmp_path)
    assert {path.name for path in trained.folder.iterdir()} == {
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
        fingerprint.FILE_NAME,
    }
    assert [path.name for path in tmp_path.iterdir()] == ["adapter"]
    card = (trained.folder / "README.md").read_text(encoding="utf-8")
    assert f"base_model: {base.name}" in card and "community@1" in card and "8 to learn from" in card


def test_no_path_of_this_machine_is_in_the_adapter(base: BaseModel, tmp_path: Path) -> None:
    trained = _train(base, tmp_path)
    for file in trained.folder.iterdir():
        assert str(tmp_path).encode() not in file.read_bytes(), file.name


def test_progress_counts_the_steps_with_their_losses(base: BaseModel, tmp_path: Path) -> None:
    heard: list[Progress] = []
    trained = _train(base, tmp_path, on_progress=heard.append)
    assert {progress.step for progress in heard} == {"training"}
    assert heard[-1].done == heard[-1].total == trained.metrics["steps"]
    assert heard[-1].per_second > 0
    assert heard[-1].figures.keys() == {"loss", "validation_loss"}


# --- bad input ---


def test_pairs_that_are_too_long_are_left_out_and_counted(base: BaseModel, tmp_path: Path) -> None:
    long = lessons.pair(99, "A lamp. " * 200)
    splits = replace(lessons.splits(), train=[*lessons.splits().train, long])
    trained = _train(base, tmp_path, splits, max_tokens=200)
    assert (trained.metrics["pairs"], trained.metrics["left_out_too_long"]) == (8, 1)


def test_when_every_pair_is_too_long_the_run_says_what_to_raise(base: BaseModel, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="THUMBLOOP_TRAINING__MAX_TOKENS"):
        _train(base, tmp_path, Splits([lessons.pair(1, "A lamp. " * 200)] * 4, [], []), max_tokens=64)


def test_layers_that_the_model_does_not_have_are_named(base: BaseModel, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no layers 'w_pack'"):
        _train(base, tmp_path, target_modules="w_pack")


def test_a_loss_that_is_no_number_stops_the_run_at_once(base: BaseModel, tmp_path: Path) -> None:
    base.model.model.norm.weight.data[0] = float("nan")
    with pytest.raises(TrainingError, match=r"became nan at step 1; .*LEARNING_RATE"):
        _train(base, tmp_path)
    assert not (tmp_path / "adapter").exists()


def test_a_full_disk_is_said_in_a_sentence(base: BaseModel, tmp_path: Path) -> None:
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").symlink_to("/dev/full")
    with pytest.raises(TrainingError, match="disk is full") as caught:
        _train(base, tmp_path)
    assert isinstance(caught.value.__cause__, OSError) and caught.value.__cause__.errno == errno.ENOSPC


# --- stopping and going on ---


class _Enough(Exception):
    pass


def _stop_at(step: int) -> Callable[[Progress], None]:
    def heard(progress: Progress) -> None:
        if progress.done == step:
            raise _Enough

    return heard


def test_what_progress_raises_stops_the_run_and_leaves_the_base_clean(
    base: BaseModel, tmp_path: Path
) -> None:
    before = _state(base)
    with pytest.raises(_Enough):
        _train(base, tmp_path, on_progress=_stop_at(2))
    after = _state(base)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_killed_run_goes_on_from_its_checkpoint_to_the_same_end(
    tiny_model_folder: Path, tmp_path: Path
) -> None:
    whole = _train(lessons.load(tiny_model_folder), tmp_path / "whole", epochs=4)
    with pytest.raises(_Enough):
        _train(lessons.load(tiny_model_folder), tmp_path / "cut", epochs=4, on_progress=_stop_at(6))
    heard: list[Progress] = []
    resumed = _train(
        lessons.load(tiny_model_folder), tmp_path / "cut", epochs=4, on_progress=heard.append, resume=True
    )
    assert heard[0].done == 5, "two steps an epoch: the checkpoint after step 4 was the last whole one"
    assert [point["step"] for point in resumed.metrics["curve"]] == [
        point["step"] for point in whole.metrics["curve"]
    ]
    first, second = (load_file(run.folder / "adapter_model.safetensors") for run in (whole, resumed))
    for name in first:
        torch.testing.assert_close(first[name], second[name])


def test_a_checkpoint_that_was_cut_off_is_passed_over(tiny_model_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(_Enough):
        _train(lessons.load(tiny_model_folder), tmp_path, epochs=4, on_progress=_stop_at(6))
    (tmp_path / "checkpoints" / "checkpoint-4" / "trainer_state.json").write_text('{"epoch', encoding="utf-8")
    heard: list[Progress] = []
    _train(lessons.load(tiny_model_folder), tmp_path, epochs=4, on_progress=heard.append, resume=True)
    assert heard[0].done == 3


# --- the numbers chosen ---


def test_few_pairs_get_more_epochs_and_larger_steps_than_many() -> None:
    few, many = (hyperparameters.for_sft(pairs, TrainingSettings()) for pairs in (20, 20_000))
    assert few.epochs > many.epochs
    assert few.learning_rate > many.learning_rate
    assert few.batch_size < many.batch_size


def test_what_the_settings_say_is_not_chosen_otherwise() -> None:
    plan = hyperparameters.for_sft(20, TrainingSettings(epochs=1.5, learning_rate=3e-4, batch_size=2))
    assert (plan.epochs, plan.learning_rate, plan.batch_size) == (1.5, 3e-4, 2)


def test_a_wider_model_learns_at_a_lower_rate() -> None:
    rates = [
        hyperparameters.for_sft(20_000, TrainingSettings(), width=width).learning_rate
        for width in (64, 576, 2560, 4096)
    ]
    assert rates[0] == rates[1] == 1e-3
    assert rates[3] == pytest.approx(2.2e-4, rel=0.05)
    assert rates == sorted(rates, reverse=True)
