"""Training an adapter on preferences: DPO on pairs, KTO on single thumbs. Read `train` from top to bottom.

DPO (Rafailov et al. 2023) and KTO (Ethayarajh et al. 2024) by TRL's trainers; ours are the tokens (those that
serving uses) and the margin on held-out pairs. The reference model is where this training starts: the base
model with the adapter disabled, or a frozen copy of the adapter that is continued; never a second model.
Leaves to others: the examples (`preferences.py`), when to train like this and with which numbers
(`hyperparameters.py`).
"""

from __future__ import annotations

import math
import random
import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import torch
from datasets import Dataset
from torch import Tensor
from transformers import EarlyStoppingCallback, set_seed
from transformers.trainer_callback import PrinterCallback
from trl import DPOConfig, DPOTrainer, KTOConfig, KTOTrainer
from trl.trainer.utils import FusedCausalLMOutput

from training.data.dataset import messages
from training.data.pairs import PreferencePair, Thumb, TrainingPair
from training.data.preferences import Preferences
from training.errors import TrainingError
from training.files import faults_explained
from training.fit import checkpoints
from training.fit.curve import Reporter
from training.fit.distributed import ALONE, FoldersFirst, Ranks, on_one_device
from training.fit.hyperparameters import ROW_TOKENS, PreferenceHyperparameters, PreferenceMethod
from training.fit.lora_linear import speed_up
from training.fit.packing import ROUND_TO, example_losses
from training.fit.sft import ADAPTER, Trained, keep, training_faults
from training.model import attach
from training.model.base_model import BaseModel
from training.model.chat_format import IGNORED, Example, training_example
from training.model.libraries import quiet
from training.progress import Progress
from training.settings import TrainingSettings

PREFERRED: Final = "preferred"
"""The folder in a run's staging where this training writes its adapter."""
MOST_HELD_OUT: Final = 24
"""Held-out examples of each kind that the margin is measured on at most."""
HEAVIEST: Final = 10.0
"""How much more a thumb of the rarer kind may weigh than one of the commoner kind."""


@dataclass(frozen=True)
class Margin:
    """How far apart the model holds good and bad answers to the same questions.

    `mean` is the log-probability of the chosen answer less that of the rejected one, in nats, the mean over
    `pairs`; `right` is the share of them where the chosen answer is the likelier. NaN without pairs.
    """

    pairs: int
    mean: float
    right: float


def train(
    base: BaseModel,
    preferences: Preferences,
    numbers: PreferenceHyperparameters,
    settings: TrainingSettings,
    staging: Path,
    *,
    start: Path | None = None,
    row_tokens: int = ROW_TOKENS["cpu"],
    checkpointing: bool = False,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    resume: bool = False,
    ranks: Ranks = ALONE,
) -> Trained:
    """Train on what people preferred, starting from the adapter in `start` or from the base model alone.

    `row_tokens` go through the model at once, unless one example has more; `checkpointing` computes
    activations twice instead of keeping them. The step with the lowest loss on the validation split is kept.
    The metrics give the margin on held-out pairs before and after, and say whether the training `helped`. The
    adapter is detached from the base model afterwards. What `on_progress` raises stops the run. Among several
    `ranks` each trains on its share of every batch and the first writes the files; the base model must not be
    used afterwards. Raises TrainingError.
    """
    started = time.monotonic()
    rows, watched, too_long = _rows(base, preferences, numbers.method, settings)
    if not rows:
        raise TrainingError(
            f"There is nothing to train on by {numbers.method}: no example has at most "
            f"{settings.max_tokens} tokens.",
            "Raise THUMBLOOP_TRAINING__MAX_TOKENS, or train by sft.",
        )
    held_out = _HeldOut.of(base, preferences, numbers.method, settings, row_tokens)
    share = math.ceil(numbers.batch_size / ranks.count)
    micro_batch = _micro_batch(rows, replace(numbers, batch_size=share), row_tokens)
    accumulation = math.ceil(share / micro_batch)
    steps_per_epoch = math.ceil(len(rows) / (micro_batch * accumulation * ranks.count))
    steps = math.ceil(steps_per_epoch * numbers.epochs)
    random.Random(settings.seed).shuffle(rows)  # KTO reads its rows in order

    set_seed(settings.seed)
    peft_model = attach.attach(base, settings, start=start)
    trainable = sum(weight.numel() for weight in peft_model.parameters() if weight.requires_grad)
    common: dict[str, Any] = {
        "output_dir": str(staging / checkpoints.PREFERENCE),
        "max_steps": steps,
        "per_device_train_batch_size": micro_batch,
        "per_device_eval_batch_size": micro_batch,
        "gradient_accumulation_steps": accumulation,
        "learning_rate": numbers.learning_rate,
        "lr_scheduler_type": "cosine",
        "warmup_steps": round(0.1 * steps),
        "beta": numbers.beta,
        "optim": "adamw_torch",
        "eval_on_start": True,  # the loss to improve on
        "eval_strategy": "steps",
        "eval_steps": steps_per_epoch,
        "save_strategy": "steps",
        "save_steps": steps_per_epoch,
        "save_total_limit": 2,
        "load_best_model_at_end": True,
        "metric_for_best_model": "eval_loss",
        "greater_is_better": False,
        "logging_steps": 1,
        "seed": settings.seed,
        "data_seed": settings.seed,
        "use_cpu": base.device == "cpu",
        "bf16": base.precision == "bf16" and base.device == "cuda",
        "fp16": base.precision == "fp16" and base.device == "cuda",
        "gradient_checkpointing": checkpointing,
        "dataloader_pin_memory": base.device == "cuda",
        "max_length": None,
        "pad_to_multiple_of": ROUND_TO,
        "disable_tqdm": True,
        "report_to": "none",
        "ddp_find_unused_parameters": False,
        "log_level": "error",
    }
    reporter = _Reporter(on_progress)
    parts: dict[str, Any] = {
        "model": peft_model,
        "processing_class": base.tokenizer,
        "callbacks": [EarlyStoppingCallback(early_stopping_patience=numbers.patience), reporter],
    }
    try:
        with training_faults(staging), quiet():
            before = held_out.measure(peft_model)
            if numbers.method == "dpo":
                trainer: Any = _DpoTrainer(
                    args=on_one_device(DPOConfig(**common)),
                    train_dataset=Dataset.from_list(rows),
                    eval_dataset=Dataset.from_list(watched),
                    **parts,
                )
            else:
                trainer = _KtoTrainer(
                    args=on_one_device(KTOConfig(**common, **_weights(rows))),
                    train_dataset=Dataset.from_list(_with_neighbours(rows, micro_batch)),
                    eval_dataset=Dataset.from_list(_with_neighbours(watched, micro_batch)),
                    **parts,
                )
            if base.device == "cpu":
                _score_answers_only(base.model)
            if start is None:  # TRL has copied the fresh adapter; disabled, it is the base model as well
                peft_model.delete_adapter("ref")
            trainer.remove_callback(PrinterCallback)
            attach.in_full_precision(peft_model)
            if ranks.config.kind == "DDP":  # FSDP and DeepSpeed must see every layer called
                speed_up(peft_model)
            newest = checkpoints.newest(staging / checkpoints.PREFERENCE) if resume else None
            trainer.train(resume_from_checkpoint=str(newest) if newest else None)
            after = held_out.measure(trainer.model)
            folder = staging / PREFERRED / ADAPTER
            keep(trainer, peft_model, base, folder, ranks)
    finally:
        if ranks == ALONE:
            attach.detach(base, peft_model)

    metrics = {
        "method": numbers.method,
        "examples": len(rows),
        "validation_examples": len(watched),
        "left_out_too_long": too_long,
        "steps": trainer.state.global_step,
        "epochs": round(trainer.state.epoch or 0.0, 2),
        "beta": numbers.beta,
        "train_loss": reporter.last("loss"),
        "validation_loss": trainer.state.best_metric,
        "validation_loss_before": reporter.first("validation_loss"),
        "trainable_parameters": trainable,
        "seconds": round(time.monotonic() - started, 1),
        "curve": reporter.curve,
        **_figures(before, after),
    }
    metrics["helped"] = metrics["validation_loss"] < metrics["validation_loss_before"]
    if ranks.leads:
        with faults_explained("Writing the card to", folder, TrainingError):
            (folder / "README.md").write_text(_card(base, numbers, metrics, start), encoding="utf-8")
        shutil.rmtree(staging / checkpoints.PREFERENCE, ignore_errors=True)
    return Trained(folder, metrics)


class _PreferenceTrainer(FoldersFirst):
    """Where both trainers differ from TRL: rows are tokenised already, and the loss must be finite."""

    state: Any

    def _prepare_dataset(self, dataset: Any, *_: Any, **__: Any) -> Any:
        return dataset

    def compute_loss(self, *inputs: Any, **options: Any) -> Any:
        """TRL's loss. Raises TrainingError when it is not finite."""
        loss = super().compute_loss(*inputs, **options)  # type: ignore[misc]
        if not torch.isfinite(loss):
            raise TrainingError(
                f"The loss became {loss.item()} at step {self.state.global_step + 1}; the run was stopped.",
                "Lower THUMBLOOP_TRAINING__PREFERENCE_LEARNING_RATE, or train in fp32 or bf16, not in fp16.",
            )
        return loss

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """No card for a checkpoint; the adapter gets ours."""


class _DpoTrainer(_PreferenceTrainer, DPOTrainer):  # type: ignore[misc]
    """Rows of prompt_ids, chosen_ids, rejected_ids."""


class _KtoTrainer(_PreferenceTrainer, KTOTrainer):  # type: ignore[misc]
    """Rows of prompt_ids, completion_ids, label, KL_completion_ids."""


class _Reporter(Reporter):
    """Also gives the first point of a curve."""

    def first(self, name: str) -> float:
        """The oldest point of a curve."""
        return next((point[name] for point in self.curve if name in point), math.nan)


def _score_answers_only(model: Any) -> None:
    """Let TRL's trainers score the positions of answers only, as they do themselves on a GPU.

    The vocabulary is much of a small model's work, and prompts are most of the tokens. Entropies and mean
    logits, which TRL logs and nobody reads here, are left at zero.
    """
    plain = partial(type(model).forward, model)

    def forward(*, fused_lm_head: bool = False, labels: Tensor | None = None, **inputs: Any) -> Any:
        if not fused_lm_head or labels is None:
            return plain(labels=labels, **inputs)
        answered = labels[:, 1:] != IGNORED
        places = answered.any(0).nonzero()[:, 0]
        logits = plain(**inputs, logits_to_keep=places).logits
        targets = labels[:, 1:][:, places]
        losses = torch.nn.functional.cross_entropy(
            logits.float().flatten(0, 1), targets.flatten(), ignore_index=IGNORED, reduction="none"
        )
        nothing = torch.zeros(answered.shape, device=losses.device)
        log_probs = nothing.index_copy(1, places, -losses.view_as(targets))
        return FusedCausalLMOutput(
            log_probs=log_probs, entropy=nothing, mean_logits=nothing, is_top1=answered, label_mask=answered
        )

    model.forward = forward


@dataclass(frozen=True)
class _HeldOut:
    """What is measured before and after: held-out pairs, and held-out thumbs of each kind, as tokens."""

    chosen: list[Example]
    rejected: list[Example]
    desirable: list[Example]
    undesirable: list[Example]
    row_tokens: int

    @classmethod
    def of(
        cls,
        base: BaseModel,
        preferences: Preferences,
        method: PreferenceMethod,
        settings: TrainingSettings,
        row_tokens: int,
    ) -> _HeldOut:
        """Of the examination where it has any, else of the validation; thumbs where they are trained on."""
        chosen, rejected = [], []
        for pair in _held_out(preferences.pairs):
            good, bad = (_example(base, pair.answered(text)) for text in (pair.chosen, pair.rejected))
            if max(len(good.token_ids), len(bad.token_ids)) <= settings.max_tokens:
                chosen.append(good)
                rejected.append(bad)
        kinds: dict[bool, list[Example]] = {True: [], False: []}
        for thumb in _held_out(preferences.thumbs) if method == "kto" else []:
            example = _example(base, thumb.pair())
            if len(example.token_ids) <= settings.max_tokens:
                kinds[thumb.desirable].append(example)
        most = slice(MOST_HELD_OUT)
        return cls(chosen[most], rejected[most], kinds[True][most], kinds[False][most], row_tokens)

    def measure(self, model: Any) -> list[list[float]]:
        """The log-probability of every answer in nats, by kind, in the order of the fields."""
        training = model.training
        model.eval()
        kinds = (self.chosen, self.rejected, self.desirable, self.undesirable)
        log_probs = [
            [-loss for loss in example_losses(model, kind, most_tokens=self.row_tokens)] if kind else []
            for kind in kinds
        ]
        model.train(training)
        return log_probs


def _figures(before: list[list[float]], after: list[list[float]]) -> dict[str, Any]:
    """The margins on held-out examples before and after; NaN where there were none."""
    rose = [
        _mean(now - then for then, now in zip(*kind, strict=True))
        for kind in zip(before[2:], after[2:], strict=True)
    ]
    return {
        "held_out_pairs": len(before[0]),
        "held_out_margin_before": _margin(before).mean,
        "held_out_margin_after": _margin(after).mean,
        "held_out_right_before": _margin(before).right,
        "held_out_right_after": _margin(after).right,
        "held_out_thumbs": len(before[2]) + len(before[3]),
        # how much likelier desirable answers became than undesirable ones
        "held_out_thumbs_margin": rose[0] - rose[1],
    }


def _card(
    base: BaseModel, numbers: PreferenceHyperparameters, metrics: dict[str, Any], start: Path | None
) -> str:
    """The card of the adapter that is continued, with a section on this training; or one of its own."""
    before = start / "README.md" if start else None
    if before is not None and before.is_file():
        card = before.read_text(encoding="utf-8")
    else:
        card = (
            f"---\nbase_model: {base.name}\nlibrary_name: peft\npipeline_tag: text-generation\n"
            f"tags:\n- lora\n- thumbloop\n---\n\n# A Thumbloop adapter for {base.name}\n"
        )
    rows = {
        "Examples": f"{metrics['examples']} to learn from, {metrics['validation_examples']} for validation",
        "Training": f"beta {numbers.beta:g}, rate {numbers.learning_rate:g}, "
        f"batches of {numbers.batch_size}, {metrics['epochs']} epochs in {metrics['steps']} steps",
        "Loss, validation": f"{metrics['validation_loss_before']:.4f} before, "
        f"{metrics['validation_loss']:.4f} after",
        "Margin on held-out pairs": f"{metrics['held_out_margin_before']:.2f} nats before, "
        f"{metrics['held_out_margin_after']:.2f} after",
    }
    table = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
    return f"{card}\n## Preferences ({numbers.method.upper()})\n\n| | |\n| --- | --- |\n{table}\n"


def _margin(log_probs: list[list[float]]) -> Margin:
    differences = [good - bad for good, bad in zip(log_probs[0], log_probs[1], strict=True)]
    return Margin(len(differences), _mean(differences), _mean(float(one > 0) for one in differences))


def _mean(figures: Iterable[float]) -> float:
    values = list(figures)
    return sum(values) / len(values) if values else math.nan


def _held_out(by_split: Mapping[Any, list[Any]]) -> list[Any]:
    return by_split["examination"] or by_split["validation"]


def _example(base: BaseModel, pair: TrainingPair) -> Example:
    return training_example(base.tokenizer, messages(pair))


def _rows(
    base: BaseModel, preferences: Preferences, method: PreferenceMethod, settings: TrainingSettings
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], int]:
    """The rows to train on, those to validate on, and how many to train on were left out as too long.

    Without a validation split, the training rows serve for both.
    """
    splits: list[list[dict[str, Any]]] = []
    for split in ("train", "validation"):
        if method == "dpo":
            splits.append([_pair_row(base, pair) for pair in preferences.pairs[split]])
        else:
            splits.append([_thumb_row(base, thumb) for thumb in preferences.thumbs[split]])
    kept = [[row for row in rows if _tokens(row) <= settings.max_tokens] for rows in splits]
    return kept[0], kept[1] or kept[0], len(splits[0]) - len(kept[0])


def _pair_row(base: BaseModel, pair: PreferencePair) -> dict[str, Any]:
    good, bad = (_example(base, pair.answered(text)) for text in (pair.chosen, pair.rejected))
    prompt = _prompt_tokens(good)
    return {
        "prompt_ids": good.token_ids[:prompt],
        "chosen_ids": good.token_ids[prompt:],
        "rejected_ids": bad.token_ids[_prompt_tokens(bad) :],
    }


def _thumb_row(base: BaseModel, thumb: Thumb) -> dict[str, Any]:
    example = _example(base, thumb.pair())
    prompt = _prompt_tokens(example)
    return {
        "prompt_ids": example.token_ids[:prompt],
        "completion_ids": example.token_ids[prompt:],
        "label": thumb.desirable,
    }


def _with_neighbours(rows: Sequence[dict[str, Any]], micro_batch: int) -> list[dict[str, Any]]:
    """Each row with its neighbour's answer beside its own: KTO estimates its reference point from those.

    The answers are rotated by one within a batch, as in TRL's own preparation.
    """
    made = []
    for first in range(0, len(rows), micro_batch):
        batch = rows[first : first + micro_batch]
        for row, neighbour in zip(batch, [batch[-1], *batch[:-1]], strict=True):
            made.append({**row, "KL_completion_ids": neighbour["completion_ids"]})
    return made


def _weights(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Weights by which both kinds count the same in total (Ethayarajh et al. 2024, equation 8)."""
    good = max(1, sum(row["label"] for row in rows))
    bad = max(1, len(rows) - good)
    return {
        "desirable_weight": min(HEAVIEST, max(1.0, bad / good)),
        "undesirable_weight": min(HEAVIEST, max(1.0, good / bad)),
    }


def _prompt_tokens(example: Example) -> int:
    return next(index for index, label in enumerate(example.labels) if label != IGNORED)


def _tokens(row: dict[str, Any]) -> int:
    answers = [len(row[name]) for name in ("chosen_ids", "rejected_ids", "completion_ids") if name in row]
    return len(row["prompt_ids"]) + max(answers)


def _micro_batch(rows: Sequence[dict[str, Any]], numbers: PreferenceHyperparameters, row_tokens: int) -> int:
    """Examples that go through the model at once. A pair is two answers; KTO compares with a neighbour."""
    typical = sorted(map(_tokens, rows))[len(rows) * 3 // 4]
    each, least = (2, 1) if numbers.method == "dpo" else (1, 2)
    fitting = max(1, min(numbers.batch_size, row_tokens // (each * typical)))
    even = math.ceil(numbers.batch_size / math.ceil(numbers.batch_size / fitting))
    return max(least, even // numbers.batch_divisor)
