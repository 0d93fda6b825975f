"""How much GPU memory QLoRA of a model of seven billion weights takes, from loading to the last step.

Run by hand: `python -m tests.benchmarks.qlora [--json]`. The weights are random, which changes nothing about
memory, and made here: the shapes of Llama-2-7B, or of Qwen2.5-7B with its vocabulary of 152,064. What a run
chooses for so much memory is what is run: the forecast is asked for a machine with `--gib`, and no more than
that can be allocated. Every example fills `training.max_tokens`. The memory that the driver keeps for a
process (its CUDA context) is not counted.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import torch

LENGTH: Final = 512
SHAPES: Final[dict[str, dict[str, int]]] = {
    "llama": {
        "vocab_size": 32000,
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 32,
    },
    "qwen2": {
        "vocab_size": 152064,
        "hidden_size": 3584,
        "intermediate_size": 18944,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
    },
}


def write_model(folder: Path, architecture: str, layers: int | None) -> int:
    """Random weights in bf16, a file for each layer, with a byte-level tokenizer; how many weights."""
    from safetensors.torch import save_file
    from transformers import AutoConfig, AutoModelForCausalLM

    from tests.doubles.tiny_model import write_tiny_model

    write_tiny_model(folder)
    (folder / "model.safetensors").unlink()
    shape = SHAPES[architecture] | ({"num_hidden_layers": layers} if layers else {})
    config = AutoConfig.for_model(architecture, **shape, tie_word_embeddings=False, eos_token_id=2)
    config.architectures = [{"llama": "LlamaForCausalLM", "qwen2": "Qwen2ForCausalLM"}[architecture]]
    config.save_pretrained(folder)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    files: dict[str, dict[str, torch.Tensor]] = {}
    for name, weight in model.state_dict().items():
        files.setdefault(f"model-{name.rpartition('layers.')[2].split('.')[0]}.safetensors", {})[name] = (
            weight
        )
    device = "cuda" if torch.cuda.is_available() else "cpu"
    for file, weights in files.items():
        made = {
            name: torch.ones(weight.shape, dtype=torch.bfloat16)
            if name.endswith("norm.weight")
            else torch.randn(weight.shape, dtype=torch.bfloat16, device=device).mul_(0.02).cpu()
            for name, weight in weights.items()
        }
        save_file(made, folder / file, metadata={"format": "pt"})
    index = {name: file for file, weights in files.items() for name in weights}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))
    return sum(weight.numel() for weight in model.state_dict().values())


def pairs(tokenizer: Any, count: int) -> list[Any]:
    """Questions with answers of as many words as fit into `LENGTH` tokens."""
    from training.data.dataset import messages
    from training.data.pairs import TrainingPair
    from training.model.chat_format import training_example

    made = []
    for number in range(count):
        words = 1
        while True:
            longer = TrainingPair(f"What is item {number}?", "", " ".join(["lamp"] * words), language="en")
            if len(training_example(tokenizer, messages(longer)).token_ids) > LENGTH:
                break
            pair, words = longer, words + 1
        made.append(pair)
    return made


def measure(folder: Path, gib: float, steps: int) -> dict[str, Any]:
    from transformers import AutoTokenizer

    from training.data.dataset import Splits
    from training.data.preferences import Preferences
    from training.fit import hyperparameters, memory_plan, sft
    from training.fit.forecast import forecast
    from training.fit.machine import Machine
    from training.model import devices
    from training.model.base_model import ModelChoice
    from training.settings import TrainingSettings

    device = devices.usable_device("auto")
    precision = devices.usable_precision("auto", device)
    settings = TrainingSettings(max_tokens=LENGTH)
    chosen = pairs(AutoTokenizer.from_pretrained(folder), 16)
    splits = Splits(chosen, chosen[:2], [])
    shape = memory_plan.read_shape(folder, settings)
    plan = forecast(
        hyperparameters.choose_method(splits, Preferences(), settings),
        splits,
        Preferences(),
        settings,
        machine=Machine(device, precision, gib * 1024, 1e14),
        shape=shape,
        tokenizer=AutoTokenizer.from_pretrained(folder),
    )
    print("\n".join(plan.reasons), file=sys.stderr)
    if device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        torch.cuda.set_per_process_memory_fraction(gib * 2**30 / torch.cuda.mem_get_info()[1])
    began = time.monotonic()
    base = ModelChoice(str(folder), folder, device=device).load(plan.settings.quantisation)
    loaded = time.monotonic() - began
    after_loading = peaks(device)
    numbers = hyperparameters.for_sft(
        len(chosen),
        plan.settings.model_copy(update={"epochs": 8 * steps / len(chosen), "batch_size": 8}),
        width=shape.hidden,
        row_tokens=plan.row_tokens,
        checkpointing=plan.checkpointing,
    )
    with tempfile.TemporaryDirectory() as scratch:
        trained = sft.train(base, splits, numbers, plan.settings, Path(scratch))
    return {
        "weights": shape.weights,
        "quantisation": plan.settings.quantisation,
        "rank": plan.settings.rank,
        "row_tokens": plan.row_tokens,
        "checkpointing": plan.checkpointing,
        "forecast_mib": plan.peak_mib,
        "loading_s": round(loaded, 1),
        "loading_peak_mib": after_loading,
        "peak_mib": peaks(device),
        "tokens_per_s": trained.metrics["tokens_per_s"],
        "losses": [point["loss"] for point in trained.metrics["curve"] if "loss" in point],
    }


def peaks(device: str) -> dict[str, int]:
    """The most memory that tensors took, and the most that torch had taken from the device, in MiB."""
    if device != "cuda":
        return {}
    return {
        "allocated": round(torch.cuda.max_memory_allocated() / 2**20),
        "reserved": round(torch.cuda.max_memory_reserved() / 2**20),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.qlora", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--architecture", choices=SHAPES, default="llama")
    parser.add_argument("--layers", type=int, help="so many instead of the model's own, to try this out")
    parser.add_argument("--gib", type=float, default=6.0, help="the memory that there is")
    parser.add_argument("--steps", type=int, default=8, help="optimiser steps of eight examples")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as scratch:
        write_model(Path(scratch), options.architecture, options.layers)
        figures = measure(Path(scratch), options.gib, options.steps)
    print(json.dumps(figures, indent=1) if options.json else as_table(figures))


def as_table(figures: dict[str, Any]) -> str:
    return "\n".join(f"{name:18}{value}" for name, value in figures.items())


if __name__ == "__main__":
    main()
