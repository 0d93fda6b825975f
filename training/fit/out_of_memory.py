"""Where memory runs out, a training begins again with half as many examples at once, then a quarter."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from training.errors import TrainingError

if TYPE_CHECKING:
    from training.fit.sft import Trained

ATTEMPTS: Final = 3
"""How often a stage is tried when memory runs out, each time with half as many examples at once."""


def retried_with_less(attempt: Callable[[int], Trained]) -> Trained:
    """What `attempt` returns; where memory runs out it is called again, with 2 and then 4 as divisor.

    Raises TrainingError as it does.
    """
    from training.model.libraries import is_out_of_memory

    for number in range(ATTEMPTS):
        try:
            return attempt(2**number)
        except TrainingError as error:
            cause = error.__cause__
            last = number == ATTEMPTS - 1
            if last or not (isinstance(cause, Exception) and is_out_of_memory(cause)):
                raise
        _free_memory()
    raise AssertionError("the last attempt returns or raises")


def _free_memory() -> None:
    import gc

    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
