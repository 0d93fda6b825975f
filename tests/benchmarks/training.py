"""How fast and how large a training run is beside TRL's `SFTTrainer` used as its documentation does.

Run by hand: `python -m tests.benchmarks.training [--json] [--steps N] [--model NAME]`. The demo community's
pairs for all, batches of 8, LoRA of rank 16 on all linear layers, the default model unless another is named.
Each contender runs in a process of its own, so that its peak memory is its own: of the process on a CPU, what
torch allocated on a GPU. Round after round, so that noise from elsewhere hits all alike. A token counts once,
shared or not, padding never; the clock runs from the first step's beginning to the last one's end, loading
and saving left out, and on a GPU the first `WARM_UP` steps, for which kernels are compiled and planned. There
ours computes activations twice instead of keeping them, which TRL does by default; `ours_keeping` is what a
run does where the memory is there. On a CPU without bf16 TRL's defaults emulate it: name fp32, and
`--only ours,trl_fp32`.
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
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from training.settings import Precision

BATCH: Final = 8
PAIRS: Final = 160
WARM_UP: Final = 5


def pairs() -> list[Any]:
    """The demo community's questions in all their phrasings, with their answers."""
    from bot.demo.seed import seed_pairs
    from training.data.pairs import TrainingPair

    found = [
        TrainingPair(question, "", pair.answer, language=pair.language)
        for pair in seed_pairs()
        for question in pair.questions
    ]
    return found[:: max(1, len(found) // PAIRS)][:PAIRS]


class Clock:
    """When each step ended; 0 is the beginning."""

    def __init__(self) -> None:
        self._ended: dict[int, float] = {}

    def stop(self, step: int) -> None:
        self._ended.setdefault(step, time.monotonic())

    def tokens_per_s(self, tokenizer: Any, chosen: Sequence[Any], steps: int) -> float:
        import torch

        from training.data.dataset import messages
        from training.model.chat_format import training_example

        lengths = [len(training_example(tokenizer, messages(pair)).token_ids) for pair in chosen]
        first = WARM_UP if torch.cuda.is_available() else 0
        tokens = sum(lengths) / len(lengths) * BATCH * (steps - first)
        return tokens / (self._ended[steps] - self._ended[first])


def ours(
    model: str, models: Path, steps: int, precision: Precision = "auto", *, keeping: bool = False
) -> float:
    from training.data.dataset import Splits
    from training.fit import hyperparameters, sft
    from training.model.base_model import ModelChoice
    from training.settings import TrainingSettings

    base = ModelChoice(model, models, precision=precision).load()
    chosen, clock = pairs(), Clock()
    plan = hyperparameters.SftHyperparameters(
        1e-3,
        steps * BATCH / len(chosen),
        BATCH,
        0.1,
        99,
        row_tokens=hyperparameters.ROW_TOKENS[base.device],
        checkpointing=base.device == "cuda" and not keeping,
    )
    with tempfile.TemporaryDirectory() as scratch:
        trained = sft.train(
            base,
            Splits(chosen, chosen[:1], []),
            plan,
            TrainingSettings(),
            Path(scratch),
            on_progress=lambda progress: clock.stop(progress.done),
        )
    if base.device == "cuda":
        return clock.tokens_per_s(base.tokenizer, chosen, steps)
    return float(trained.metrics["tokens_per_s"])  # from the beginning on


def ours_keeping(model: str, models: Path, steps: int, precision: Precision = "auto") -> float:
    return ours(model, models, steps, precision, keeping=True)


def trl(model: str, models: Path, steps: int, **options: Any) -> float:
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoTokenizer, TrainerCallback
    from transformers.trainer_callback import PrinterCallback
    from trl import SFTConfig, SFTTrainer

    from training.data.dataset import messages
    from training.model.base_model import ModelChoice

    folder = ModelChoice(model, models).prepare()
    chosen, clock = pairs(), Clock()

    class Watch(TrainerCallback):  # type: ignore[misc]
        def on_train_begin(self, _: Any, state: Any, *rest: Any, **more: Any) -> None:
            clock.stop(state.global_step)

        def on_step_end(self, _: Any, state: Any, *rest: Any, **more: Any) -> None:
            clock.stop(state.global_step)

    with tempfile.TemporaryDirectory() as scratch:
        trainer = SFTTrainer(
            model=str(folder),
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
            callbacks=[Watch()],
        )
        trainer.remove_callback(PrinterCallback)  # it would print between our figures
        trainer.train()
    return clock.tokens_per_s(AutoTokenizer.from_pretrained(folder), chosen, steps)


def trl_default(model: str, models: Path, steps: int, _: Precision = "auto") -> float:
    return trl(model, models, steps)


def trl_bf16(model: str, models: Path, steps: int, _: Precision = "auto") -> float:
    return trl(model, models, steps, bf16=True)


def trl_fp32(model: str, models: Path, steps: int, _: Precision = "auto") -> float:
    return trl(model, models, steps, bf16=False, model_init_kwargs={"dtype": "float32"})


CONTENDERS: Final = {"ours": ours, "trl_default": trl_default, "trl_bf16": trl_bf16, "trl_fp32": trl_fp32}
ON_A_GPU: Final = {"ours_keeping": ours_keeping}


def alone(name: str, model: str, models: Path, steps: int, precision: Precision, told: Any) -> None:
    """In the contender's own process: its tokens per second, and the most memory it ever had, in MiB."""
    import torch

    speed = (CONTENDERS | ON_A_GPU)[name](model, models, steps, precision)
    if torch.cuda.is_available():
        peak = torch.cuda.max_memory_allocated() / 2**20
    else:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    told.send((speed, peak))


def measured(name: str, model: str, models: Path, steps: int, precision: Precision) -> tuple[float, float]:
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=alone, args=(name, model, models, steps, precision, there))
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
    parser.add_argument("--model", help="folder or name of another model")
    parser.add_argument("--precision", default="auto", help="what ours trains in: auto, bf16 or fp32")
    parser.add_argument("--only", default=",".join(CONTENDERS), help="contenders, with commas between")
    options = parser.parse_args(arguments)
    from training.model.base_model import ModelChoice
    from training.model.devices import usable_device
    from training.model.names import DEFAULT_MODEL

    model = options.model or DEFAULT_MODEL
    ModelChoice(model, options.models).prepare()
    contenders = [*options.only.split(","), *(ON_A_GPU if usable_device("auto") == "cuda" else ())]
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
    for number in range(options.rounds):
        for name in contenders:
            found[name].append(measured(name, model, options.models, options.steps, options.precision))
            print(f"round {number + 1}, {name}: {found[name][-1][0]:.0f} tokens/s", file=sys.stderr)

    def ratio(name: str) -> float:
        both = zip(found.get("ours", ()), found[name], strict=True)
        return round(median(mine[0] / theirs[0] for mine, theirs in both), 2)

    figures = {
        "tokens_per_s": {name: round(median(speed for speed, _ in runs), 1) for name, runs in found.items()},
        "peak_mib": {name: round(max(peak for _, peak in runs)) for name, runs in found.items()},
        "ratios": {f"vs_{name}": ratio(name) for name in found if name.startswith("trl")},
    }
    print(json.dumps(figures, indent=1) if options.json else as_table(figures))


def as_table(figures: dict[str, Any]) -> str:
    lines = [f"{'':14}{'tokens/s':>10}{'peak MiB':>10}"]
    lines += [
        f"{name:14}{speed:10.1f}{figures['peak_mib'][name]:10}"
        for name, speed in figures["tokens_per_s"].items()
    ]
    lines += [f"{name:16}{value:6.2f} ×" for name, value in figures["ratios"].items()]
    lines.append("to reach: 3 × trl_default on a CPU with bf16, 1.2 × on a GPU, never more memory")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
