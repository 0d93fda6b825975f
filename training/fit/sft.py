"""One training run: pairs in, a LoRA adapter out. Read `train` from top to bottom.

LoRA is peft's (Hu et al. 2021; QLoRA for a quantised base: Dettmers et al. 2023), the loop is TRL's
SFTTrainer; ours are the packed batches and the loss on answers only (`packing.py`). Leaves to others: which
numbers (`hyperparameters.py`), which pairs (`dataset.py`), attaching the adapter (`attach.py`), examining it
(`evaluation.py`), and keeping it (`registry.py`).
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import torch
from datasets import Dataset
from peft.optimizers import create_loraplus_optimizer
from safetensors import SafetensorError
from torch import Tensor
from transformers import EarlyStoppingCallback, TrainerControl, TrainerState, set_seed
from transformers.trainer_callback import PrinterCallback
from trl import SFTConfig, SFTTrainer

from training.data import retrieval
from training.data.dataset import Splits, fitted, messages
from training.data.pairs import TrainingPair
from training.errors import TrainingError
from training.files import faults_explained
from training.fit import checkpoints, contrastive, packed_attention, replay
from training.fit.contrastive import Contrast
from training.fit.curve import Reporter
from training.fit.distributed import (
    ALONE,
    FoldersFirst,
    Ranks,
    SharedBatches,
    SharedLoader,
    on_one_device,
    whole_weights,
)
from training.fit.hyperparameters import SftHyperparameters
from training.fit.lora_linear import speed_up
from training.fit.packing import answer_loss, mean_loss, pack
from training.fit.replay import Replay
from training.model import attach, fingerprint
from training.model.base_model import BaseModel
from training.model.chat_format import IGNORED, Example, training_example
from training.model.libraries import is_out_of_memory, quiet
from training.progress import Progress
from training.settings import TrainingSettings

MOST_STEPS_UNWATCHED: Final = 200
"""Steps after which a run is validated and saved even within an epoch; a killed run loses no more."""
ADAPTER: Final = "adapter"


@dataclass(frozen=True)
class Trained:
    """The adapter's folder, and what was measured: losses in nats per answer token, counts, seconds."""

    folder: Path
    metrics: dict[str, Any]


def train(
    base: BaseModel,
    splits: Splits,
    numbers: SftHyperparameters,
    settings: TrainingSettings,
    staging: Path,
    *,
    start: Path | None = None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    resume: bool = False,
    ranks: Ranks = ALONE,
) -> Trained:
    """Train an adapter on `splits.train` into `staging`, watched by `splits.validation`.

    `start` is an adapter to continue; without one a fresh adapter is trained. The base model's weights stay
    as they are, and the adapter is detached afterwards. What `on_progress` raises stops the run. `resume`
    continues from the newest whole checkpoint in `staging`, if there is one. Among several `ranks` each
    trains on its share of every batch and the first writes the files; the base model must not be used
    afterwards. Raises TrainingError.
    """
    started = time.monotonic()
    examples, pairs, too_long = _examples(base, splits.train, settings.max_tokens)
    watched, *_ = _examples(base, splits.validation, settings.max_tokens)
    if not examples:
        raise TrainingError(
            f"None of the {len(splits.train)} pairs is short enough to train on: the longest may have "
            f"{settings.max_tokens} tokens.",
            "Raise THUMBLOOP_TRAINING__MAX_TOKENS, or approve shorter answers.",
        )
    watched = watched or examples
    row_tokens = numbers.row_tokens // numbers.batch_divisor

    set_seed(settings.seed)
    peft_model = attach.attach(base, settings, start=start)
    # peft's own layers are fast under autocast, and FSDP and DeepSpeed must see every layer called
    quick = ranks.config.kind == "DDP" and speed_up(peft_model)
    mixed = not quick and base.device == "cuda"
    trainable = sum(weight.numel() for weight in peft_model.parameters() if weight.requires_grad)

    micro_batch = max(
        1, _micro_batch(examples, numbers.batch_size, numbers.row_tokens) // numbers.batch_divisor
    )
    batch = micro_batch * math.ceil(numbers.batch_size / micro_batch)
    accumulation = math.ceil(batch / (micro_batch * ranks.count))
    steps_per_epoch = math.ceil(len(examples) / batch)
    steps = math.ceil(steps_per_epoch * numbers.epochs)
    validate_every = min(steps_per_epoch, MOST_STEPS_UNWATCHED)
    arguments = SFTConfig(
        output_dir=str(staging / checkpoints.SFT),
        max_steps=steps,
        per_device_train_batch_size=micro_batch,
        gradient_accumulation_steps=accumulation,
        learning_rate=numbers.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=round(numbers.warmup * steps),
        weight_decay=0.0,
        optim="adamw_torch_fused",
        eval_strategy="steps",
        eval_steps=validate_every,
        save_strategy="steps",
        save_steps=validate_every,
        save_total_limit=2,
        load_best_model_at_end=True,
        metric_for_best_model="eval_loss",
        greater_is_better=False,
        logging_steps=1,
        seed=settings.seed,
        data_seed=settings.seed,
        use_cpu=base.device == "cpu",
        bf16=base.precision == "bf16" and mixed,
        fp16=base.precision == "fp16" and base.device == "cuda",
        gradient_checkpointing=numbers.checkpointing,
        dataloader_num_workers=0,
        dataloader_pin_memory=base.device == "cuda",
        remove_unused_columns=False,  # our collator reads token_ids
        dataset_kwargs={"skip_prepare_dataset": True},
        max_length=None,
        disable_tqdm=True,
        report_to="none",
        ddp_find_unused_parameters=False,
        log_level="error",
    )
    reporter = _Reporter(on_progress, sum(len(example.token_ids) for example in examples))
    try:
        # by the device to train on: a model that will be sharded over GPUs is still on the CPU here
        attention = packed_attention.used_by(base.model) if base.device == "cpu" else nullcontext()
        with training_faults(staging), quiet(), attention:
            replayed = None
            if numbers.replay_weight:
                at_once = max(1, replay.AT_ONCE // numbers.batch_divisor)
                replayed = replay.prepare(
                    peft_model, base.tokenizer, splits.train, at_once=at_once, seed=settings.seed
                )
            contrast = None
            if numbers.contrast_weight:
                # an answer that stands in a note is likely after it whatever is asked
                contrast = contrastive.prepare(
                    _examples(base, retrieval.without_notes(pairs), settings.max_tokens)[0],
                    pairs,
                    same_answer=settings.hygiene.same_answer,
                    most_tokens=row_tokens,
                    seed=settings.seed,
                )
            trainer = _AnswerTrainer(
                row_tokens=row_tokens,
                batch=batch,
                lengths=[len(example.token_ids) for example in examples],
                watched=watched,
                replayed=replayed,
                replay_weight=numbers.replay_weight,
                contrast=contrast,
                contrast_weight=numbers.contrast_weight,
                ranks=ranks,
                model=peft_model,
                args=on_one_device(arguments),
                processing_class=base.tokenizer,
                train_dataset=Dataset.from_list([asdict(example) for example in examples]),
                eval_dataset=Dataset.from_list([asdict(example) for example in watched]),
                data_collator=partial(packed, idle=min(examples, key=lambda one: len(one.token_ids))),
                optimizers=(_loraplus(peft_model, numbers, settings), None),
                callbacks=[EarlyStoppingCallback(early_stopping_patience=numbers.patience), reporter],
            )
            trainer.remove_callback(PrinterCallback)
            attach.in_full_precision(peft_model)
            newest = checkpoints.newest(staging / checkpoints.SFT) if resume else None
            trainer.train(resume_from_checkpoint=str(newest) if newest else None)

            folder = staging / ADAPTER
            keep(trainer, peft_model, base, folder, ranks)
    finally:
        # the base model is examined next: without the adapter, and with its own forward pass again
        if ranks == ALONE:
            attach.detach(base, peft_model)

    seconds = time.monotonic() - started
    metrics = {
        "pairs": len(examples),
        "validation_pairs": len(splits.validation),
        "left_out_too_long": too_long,
        "steps": trainer.state.global_step,
        "epochs": round(trainer.state.epoch or 0.0, 2),
        "train_loss": reporter.last("loss"),
        "validation_loss": trainer.state.best_metric,
        "trainable_parameters": trainable,
        "tokens_per_s": round(reporter.per_second),
        "seconds": round(seconds, 1),
        "curve": reporter.curve,
    }
    if ranks.leads:
        with faults_explained("Writing the card to", folder, TrainingError):
            (folder / "README.md").write_text(
                _card(base, splits, numbers, settings, metrics), encoding="utf-8"
            )
        shutil.rmtree(staging / checkpoints.SFT, ignore_errors=True)
    return Trained(folder, metrics)


def keep(trainer: Any, peft_model: Any, base: BaseModel, folder: Path, ranks: Ranks) -> None:
    """Write the adapter to `folder` with its fingerprint; the first rank does, but all ranks must call this.

    A sharded model cannot answer the probes; the fingerprint is recorded where it is loaded whole.
    """
    weights = whole_weights(trainer) if ranks.config.sharded else None
    if ranks.leads:
        attach.save(peft_model, base, folder, weights=weights)
        if not ranks.config.sharded:
            fingerprint.record(peft_model, base.tokenizer, folder)
    trainer.accelerator.wait_for_everyone()  # before any rank removes what others still read


class _AnswerTrainer(FoldersFirst, SFTTrainer):  # type: ignore[misc]
    """TRL's trainer with packed batches, and the loss on answer tokens only, in training and validation.

    TRL's own fused head is used on a GPU; on a CPU it would score every position, prompt included.
    """

    control: TrainerControl

    def __init__(
        self,
        *,
        row_tokens: int,
        batch: int,
        lengths: Sequence[int],
        watched: Sequence[Example],
        replayed: Replay | None,
        replay_weight: float,
        contrast: Contrast | None,
        contrast_weight: float,
        ranks: Ranks,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.row_tokens = row_tokens
        self.batch = batch
        self.lengths = lengths
        self.watched = watched
        self.replayed = replayed
        self.replay_weight = replay_weight
        self.contrast = contrast
        self.contrast_weight = contrast_weight
        self.beside_in: int | None = None
        self.ranks = ranks
        self.model_accepts_loss_kwargs = True  # count the labels of all micro-batches of a step

    def get_train_dataloader(self) -> Any:
        """In one process transformers' own; among several ranks, this one's share of the same batches."""
        if self.ranks == ALONE:
            return super().get_train_dataloader()
        shares = SharedBatches(
            self.lengths,
            batch=self.batch,
            rounds=self.args.gradient_accumulation_steps,
            ranks=self.ranks,
            seed=self.args.data_seed,
        )
        return SharedLoader(self.train_dataset, batch_sampler=shares, collate_fn=self.data_collator)

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor:
        """Mean over the labelled tokens of the optimiser step. Raises TrainingError when it is not finite.

        Each rank sums its own share only; multiplying by the number of ranks undoes their averaging of
        gradients.
        """
        count = (inputs["labels"] != IGNORED).sum() if num_items_in_batch is None else num_items_in_batch
        fused = inputs["labels"].is_cuda
        loss = answer_loss(model, inputs, fused=fused) * self.ranks.count / count
        step = self.state.global_step
        if self.beside_in != step:  # once a step, however many micro-batches
            self.beside_in = step
            if self.replayed is not None:
                loss = loss + self.replay_weight * self.replayed.divergence(model, step)
            if self.contrast is not None:
                loss = loss + self.contrast_weight * self.contrast.loss(model, step)
        if not torch.isfinite(loss):
            raise TrainingError(
                f"The loss became {loss.item()} at step {self.state.global_step + 1}; the run was stopped.",
                "Lower THUMBLOOP_TRAINING__LEARNING_RATE, or train in fp32 or bf16 instead of fp16.",
            )
        return loss

    def evaluate(self, *_: Any, metric_key_prefix: str = "eval", **__: Any) -> dict[str, float]:
        """The loss on the validation pairs, each token counting the same."""
        training = self.model.training
        self.model.eval()
        loss = mean_loss(self.model, self.watched, most_tokens=self.row_tokens, ranks=self.ranks)
        metrics = {f"{metric_key_prefix}_loss": loss}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        self.model.train(training)
        return metrics

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """No card for a checkpoint; the adapter gets ours."""


class _Reporter(Reporter):
    """Also measures how many tokens a second are trained on."""

    def __init__(self, on_progress: Callable[[Progress], None], tokens_per_epoch: int) -> None:
        super().__init__(on_progress)
        self.tokens_per_epoch = tokens_per_epoch
        self._began = (0.0, 0.0)

    def on_train_begin(self, _: Any, state: TrainerState, *rest: Any, **more: Any) -> None:
        """Start the clock."""
        self._began = (time.monotonic(), state.epoch or 0.0)
        super().on_train_begin(_, state, *rest, **more)

    def on_step_end(self, _: Any, state: TrainerState, control: TrainerControl, **more: Any) -> None:
        """Read the clock before the step is reported."""
        seconds = time.monotonic() - self._began[0]
        self.per_second = (state.epoch - self._began[1]) * self.tokens_per_epoch / max(seconds, 1e-9)
        super().on_step_end(_, state, control, **more)


def _examples(
    base: BaseModel, pairs: Sequence[TrainingPair], max_tokens: int
) -> tuple[list[Example], list[TrainingPair], int]:
    """The pairs as token ids and labels, those pairs, and how many were left out because they are too long.

    A pair's history is shortened from its oldest turn, as when answering.
    """

    def fits(pair: TrainingPair) -> bool:
        return len(training_example(base.tokenizer, messages(pair)).token_ids) <= max_tokens

    every = [(training_example(base.tokenizer, messages(fitted(pair, fits))), pair) for pair in pairs]
    fitting = [one for one in every if len(one[0].token_ids) <= max_tokens]
    return [example for example, _ in fitting], [pair for _, pair in fitting], len(every) - len(fitting)


def packed(features: Sequence[dict[str, list[int]]], *, idle: Example) -> dict[str, Tensor]:
    """One packed row of the examples. Without any it is that of `idle`, with every label ignored.

    A rank without an example must run the model all the same, as the others do.
    """
    if not features:
        row = pack([idle])
        return {**row, "labels": torch.full_like(row["labels"], IGNORED)}
    return pack([Example(feature["token_ids"], feature["labels"]) for feature in features])


def _loraplus(peft_model: Any, numbers: SftHyperparameters, settings: TrainingSettings) -> Any:
    """LoRA+ where it is set (Hayou et al. 2024): B learns faster than A. None: the trainer's own AdamW."""
    if not settings.lora_plus_ratio:
        return None
    return create_loraplus_optimizer(
        peft_model,
        torch.optim.AdamW,
        lr=numbers.learning_rate,
        loraplus_lr_ratio=settings.lora_plus_ratio,
    )


def _micro_batch(examples: Sequence[Example], batch_size: int, row_tokens: int) -> int:
    """How many examples go into a row at once, so that rows of typical ones stay within `row_tokens`."""
    typical = sorted(len(example.token_ids) for example in examples)[len(examples) * 3 // 4]
    fitting = max(1, min(batch_size, row_tokens // typical))
    return math.ceil(batch_size / math.ceil(batch_size / fitting))


@contextmanager
def training_faults(staging: Path) -> Iterator[None]:
    """Turn a full disk or memory inside the block into a sentence. Raises TrainingError."""
    try:
        with faults_explained("Writing the training run to", staging, TrainingError):
            yield
    except SafetensorError as error:  # it reports a full disk in its own way
        raise TrainingError(
            f"Writing the adapter to {staging} failed ({error}).", "Free some space, then try again."
        ) from error
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise TrainingError(
            "There was not enough memory to train on.",
            "Lower THUMBLOOP_TRAINING__BATCH_SIZE or THUMBLOOP_TRAINING__MAX_TOKENS, "
            "or set THUMBLOOP_TRAINING__QUANTISATION=4bit.",
        ) from error


def _card(
    base: BaseModel,
    splits: Splits,
    numbers: SftHyperparameters,
    settings: TrainingSettings,
    metrics: dict[str, Any],
) -> str:
    """What the adapter was trained on and how, in the model card's format that hubs understand."""
    languages = sorted({pair.language for pair in splits.train})
    rows = {
        "Dataset": f"{splits.dataset or 'unnamed'} (SHA-256 {splits.content_hash or 'unknown'})",
        "Pairs": f"{metrics['pairs']} to learn from, {len(splits.validation)} for validation, "
        f"{len(splits.examination)} held out; {metrics['left_out_too_long']} left out as too long",
        "Languages": ", ".join(languages),
        "Base model": f"{base.name}, revision {base.revision}, {base.precision}, "
        f"quantisation {base.quantisation}",
        "LoRA": f"{settings.lora_variant}, rank {attach.rank(settings)}, alpha {attach.alpha(settings)}, "
        f"dropout {settings.dropout}, on {settings.target_modules}",
        "Training": f"learning rate {numbers.learning_rate:g}, batches of {numbers.batch_size}, "
        f"{metrics['epochs']} epochs in {metrics['steps']} steps, seed {settings.seed}",
        "Loss, training": _figure(metrics["train_loss"]),
        "Loss, validation": _figure(metrics["validation_loss"]),
    }
    table = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
    tags = "\n".join(f"- {language}" for language in languages)
    return f"""---
base_model: {base.name}
library_name: peft
pipeline_tag: text-generation
tags:
- lora
- thumbloop
language:
{tags}
---

# A Thumbloop adapter for {base.name}

Trained on answers that moderators approved. Losses are in nats per answer token.

| | |
| --- | --- |
{table}
"""


def _figure(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.4f}"
