"""How fast and how large a training run is beside TRL's `SFTTrainer` used as its documentation does.

Run by hand: `python -m tests.benchmarks.training [--json] [--steps N]`. The demo community's pairs for all,
batches of 8, LoRA of rank 16 on all linear layers, the default model. Each contender runs in a process of
its own, so that its peak memory is its own; round after round, so that noise from elsewhere hits all alike.
A token counts once, shared or not, padding never; the clock runs from the first step's beginning to the
last one's end, loading and saving left out.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final

BATCH: Final = 8
PAIRS: Final = 160


def pairs() -> list[Any]:
    """The demo community's questions in all their phrasings, with their answers."""
    from bot.demo.seed import seed_pairs
    from training.pairs import TrainingPair

    found = [
        TrainingPair(question, "", pair.answer, language=pair.language)
        for pair in seed_pairs()
        for question in pair.questions
    ]
    return found[:: max(1, len(found) // PAIRS)][:PAIRS]


def ours(models: Path, steps: int) -> float:
    from training import base_model, lora, planning
    from training.dataset import Splits
    from training.settings import TrainingSettings

    base = base_model.load(base_model.DEFAULT_MODEL, models)
    chosen = pairs()
    plan = planning.Plan(1e-3, steps * BATCH / len(chosen), BATCH, 0.1, 99)
    with tempfile.TemporaryDirectory() as scratch:
        trained = lora.train(base, Splits(chosen, chosen[:1], []), plan, TrainingSettings(), Path(scratch))
    return float(trained.metrics["tokens_per_s"])


def trl(models: Path, steps: int, **options: Any) -> float:
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import TrainerCallback
    from trl import SFTConfig, SFTTrainer

    from training import base_model
    from training.chat_format import training_example
    from training.dataset import messages

    base = base_model.load(base_model.DEFAULT_MODEL, models)
    chosen = pairs()
    lengths = [len(training_example(base.tokenizer, messages(pair)).token_ids) for pair in chosen]
    tokens = sum(lengths) / len(lengths) * BATCH * steps
    clock: list[float] = []

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_train_begin(self, *_: Any, **__: Any) -> None:
            clock.append(time.monotonic())

        def on_step_end(self, *_: Any, **__: Any) -> None:
            clock.append(time.monotonic())

    with tempfile.TemporaryDirectory() as scratch:
        trainer = SFTTrainer(
            model=str(models / base_model.DEFAULT_MODEL),
            args=SFTConfig(
                output_dir=scratch,
                max_steps=steps,
                per_device_train_batch_size=BATCH,
                learning_rate=1e-3,
                save_strategy="no",
                report_to="none",
                use_cpu=not torch.cuda.is_available(),  # TRL asks for it where there is no GPU
                disable_tqdm=True,
                **options,
            ),
            train_dataset=Dataset.from_list([{"messages": messages(pair)} for pair in chosen]),
            peft_config=LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM"),
            callbacks=[Clock()],
        )
        trainer.train()
    return tokens / (clock[-1] - clock[0])


def trl_default(models: Path, steps: int) -> float:
    return trl(models, steps)


def trl_bf16(models: Path, steps: int) -> float:
    return trl(models, steps, bf16=True)


CONTENDERS: Final = {"ours": ours, "trl_default": trl_default, "trl_bf16": trl_bf16}


def alone(name: str, models: Path, steps: int, told: Any) -> None:
    """In the contender's own process: its tokens per second, and the most memory it ever had, in MiB."""
    speed = CONTENDERS[name](models, steps)
    told.send((speed, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))


def measured(name: str, models: Path, steps: int) -> tuple[float, float]:
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=alone, args=(name, models, steps, there))
    process.start()
    there.close()
    try:
        result: tuple[float, float] = here.recv()
    except EOFError:
        raise SystemExit(f"{name} broke; its own message is above") from None
    finally:
        process.join()
    return result


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.training", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--steps", type=int, default=10, help="optimiser steps of each contender a round")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument(
        "--models", type=Path, default=Path("build/models"), help="folder of the default model"
    )
    options = parser.parse_args(arguments)
    from training import base_model

    base_model.prepare(base_model.DEFAULT_MODEL, options.models)
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in CONTENDERS}
    for number in range(options.rounds):
        for name in CONTENDERS:
            found[name].append(measured(name, options.models, options.steps))
            print(f"round {number + 1}, {name}: {found[name][-1][0]:.0f} tokens/s", file=sys.stderr)

    def ratio(name: str) -> float:
        both = zip(found["ours"], found[name], strict=True)
        return round(median(mine[0] / theirs[0] for mine, theirs in both), 2)

    figures = {
        "tokens_per_s": {name: round(median(speed for speed, _ in runs), 1) for name, runs in found.items()},
        "peak_mib": {name: round(max(peak for _, peak in runs)) for name, runs in found.items()},
        "ratios": {f"vs_{name}": ratio(name) for name in ("trl_default", "trl_bf16")},
    }
    print(json.dumps(figures, indent=1) if options.json else as_table(figures))


def as_table(figures: dict[str, Any]) -> str:
    lines = [f"{'':14}{'tokens/s':>10}{'peak MiB':>10}"]
    lines += [
        f"{name:14}{speed:10.1f}{figures['peak_mib'][name]:10}"
        for name, speed in figures["tokens_per_s"].items()
    ]
    lines += [f"{name:16}{value:6.2f} ×" for name, value in figures["ratios"].items()]
    lines.append("to reach on a CPU with bf16: 3 × trl_default, never more memory")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
