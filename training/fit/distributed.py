"""Which of several training processes this one is, and its share of every batch.

Training runs in one process, or in several ranks of one group, each on a device of its own, started by
`launch.py`. Every rank knows the whole order of an epoch and takes its share of it, so only gradients are
sent, and a step of N ranks learns from exactly the examples that a step of one process does.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from accelerate.data_loader import SeedableRandomSampler
from accelerate.utils import gather
from torch import tensor
from torch.distributed.tensor import DTensor
from torch.utils.data import DataLoader, Sampler

from training.fit.accelerate_config import DDP, AccelerateConfig


@dataclass(frozen=True)
class Ranks:
    """This process is number `own` of `count`; `config` says how the model is spread over them."""

    own: int = 0
    count: int = 1
    config: AccelerateConfig = DDP

    @property
    def leads(self) -> bool:
        """Whether this process is the one that writes files and reports."""
        return self.own == 0

    def total(self, figure: float, device: Any) -> float:
        """The sum of `figure` over all ranks, the same on each. A collective: all ranks must call it."""
        return figure if self.count == 1 else gather(tensor([figure], device=device)).sum().item()


ALONE: Final = Ranks()


def of_environment(config: AccelerateConfig) -> Ranks:
    """The ranks as `accelerate launch` (torchrun) has put them into this process's environment."""
    return Ranks(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]), config)


def on_one_device(arguments: Any) -> Any:
    """The arguments of a transformers Trainer that does not spread one process over every GPU it sees.

    Its DataParallel would tear our rows apart; several GPUs get a process each.
    """
    if arguments.n_gpu > 1:
        arguments._n_gpu = 1
    return arguments


class FoldersFirst:
    """A transformers Trainer whose ranks agree on which checkpoint is the best one.

    With a sharded model each rank looks for the checkpoint's folder, possibly before any rank has made it,
    and they wait for one another forever when they disagree.
    """

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """As the Trainer does, after making the folder."""
        if output_dir is not None:
            Path(output_dir).mkdir(parents=True, exist_ok=True)
        super().save_model(output_dir, _internal_call)  # type: ignore[misc]


def whole_weights(trainer: Any) -> dict[str, Any]:
    """The trained weights of a sharded model, by name. A collective: all ranks must call it."""
    model = trainer.model_wrapped
    if trainer.is_deepspeed_enabled:
        weights: dict[str, Any] = model._zero3_consolidated_16bit_state_dict(exclude_frozen_parameters=True)
        return weights
    trained = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    if all(isinstance(weight, DTensor) for weight in trained.values()):  # FSDP 2
        return {name: weight.full_tensor().cpu() for name, weight in trained.items()}
    weights = trainer.accelerator.get_state_dict(model)
    return weights


class SharedBatches(Sampler[list[int]]):
    """The examples of one rank, by their numbers: `rounds` groups for every optimiser step.

    A step takes the next `batch` examples of the epoch's order, which is the one of a process that trains
    alone, and deals them out to `ranks.count` x `rounds` groups of about as many tokens. At the end of an
    epoch groups may be empty, so that no example counts twice.
    """

    def __init__(self, lengths: Sequence[int], *, batch: int, rounds: int, ranks: Ranks, seed: int) -> None:
        self._lengths = lengths
        self._batch = batch
        self._rounds = rounds
        self._ranks = ranks
        self._order = SeedableRandomSampler(lengths, data_seed=seed)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order comes next."""
        self._order.set_epoch(epoch)

    def __len__(self) -> int:
        return math.ceil(len(self._lengths) / self._batch) * self._rounds

    def __iter__(self) -> Iterator[list[int]]:
        order = list(self._order)
        first = self._ranks.own * self._rounds
        for start in range(0, len(order), self._batch):
            groups = self._dealt(order[start : start + self._batch])
            yield from groups[first : first + self._rounds]

    def _dealt(self, examples: Sequence[int]) -> list[list[int]]:
        """From the longest to the shortest, dealt out in alternating directions."""
        groups: list[list[int]] = [[] for _ in range(self._ranks.count * self._rounds)]
        sorted_by_length = sorted(examples, key=lambda example: -self._lengths[example])
        for place, example in enumerate(sorted_by_length):
            turn, index = divmod(place, len(groups))
            groups[index if turn % 2 == 0 else -1 - index].append(example)
        return groups


class SharedLoader(DataLoader[Any]):
    """Loads `SharedBatches` and passes the epoch on to them; accelerate does not shard it again."""

    batch_sampler: SharedBatches

    def set_epoch(self, epoch: int) -> None:
        """Called by transformers' Trainer before every epoch."""
        self.batch_sampler.set_epoch(epoch)
