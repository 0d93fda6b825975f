"""What a group of two processes trains for `test_distributed.py`, each given its rank as torchrun gives it.

DPO and KTO with the whole model in each process, then SFT with the model spread over them (FSDP). accelerate
spreads models over GPUs only, so for that part it is told that gloo on CPUs is what it calls MULTI_GPU.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import torch
from accelerate import state
from accelerate.utils import DistributedType

from tests.training import lessons
from training.data.pairs import PreferencePair, Thumb
from training.data.preferences import Preferences
from training.fit import hyperparameters, preference_training, sft
from training.fit.accelerate_config import DDP, AccelerateConfig
from training.fit.distributed import ALONE, Ranks, of_environment
from training.fit.hyperparameters import PreferenceMethod
from training.fit.sft import Trained

FSDP: Final = {
    "ACCELERATE_USE_FSDP": "true",
    "FSDP_VERSION": "2",
    "FSDP_RESHARD_AFTER_FORWARD": "true",
    "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
    "FSDP_STATE_DICT_TYPE": "SHARDED_STATE_DICT",
}


def supervised(model: Path, place: Path, ranks: Ranks = ALONE) -> Trained:
    """Nine pairs in batches of four, replay and contrast beside; the last batch is not for everybody."""
    splits = lessons.splits(train=9, validation=3)
    settings = lessons.settings(batch_size=4, replay_weight=1, contrast_weight=1)
    plan = hyperparameters.for_sft(len(splits.train), settings)
    return sft.train(lessons.load(model), splits, plan, settings, place, ranks=ranks)


def preferred(method: PreferenceMethod, model: Path, place: Path, ranks: Ranks = ALONE) -> Trained:
    """Two epochs of eight preferences in batches of four."""
    found = Preferences()
    for number in range(12):
        pair = PreferencePair(
            f"Who has {number}?", chosen=f"Ada has {number}.", rejected=f"Ben, not {number}."
        )
        split = "train" if number < 8 else "validation"
        found.pairs[split].append(pair)
        answer = pair.chosen if number % 2 else pair.rejected
        found.thumbs[split].append(Thumb(pair.instruction, output=answer, desirable=bool(number % 2)))
    settings = lessons.settings(batch_size=4, preference_learning_rate=0.01, preference_epochs=2)
    plan = hyperparameters.for_preferences(method, 8, settings)
    return preference_training.train(lessons.load(model), found, plan, settings, place, ranks=ranks)


def main(own: int, port: int, model: Path, place: Path) -> None:
    """Train everything, each into a folder of its own, as process `own` of the two that meet at `port`."""
    os.environ |= {
        "RANK": str(own),
        "LOCAL_RANK": str(own),
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",  # who started them listens there
        "ACCELERATE_USE_CPU": "true",
    }
    torch.set_num_threads(1)
    ranks = of_environment(DDP)
    preferred("dpo", model, place / "dpo", ranks)
    preferred("kto", model, place / "kto", ranks)

    state.AcceleratorState._reset_state(reset_partial_state=True)
    state.PartialState._prepare_backend = lambda *_, **__: ("gloo", DistributedType.MULTI_GPU)
    state.PartialState.set_device = lambda self: setattr(self, "device", torch.device("cpu"))
    os.environ |= FSDP
    supervised(model, place / "fsdp", of_environment(AccelerateConfig("FSDP", sharded=True)))
    os._exit(0)  # at once: what ends a group waits for its other processes
