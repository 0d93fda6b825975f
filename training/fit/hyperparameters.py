"""A run's method and its numbers, where the settings leave them open.

`choose_method` goes by what there is to learn from, `for_sft` and `for_preferences` by how many examples
there are. Leaves to others: what fits into memory (`memory_plan`), and how long it takes (`forecast`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from feedback.text import Text
from training.data.dataset import Splits
from training.data.preferences import Preferences
from training.errors import TrainingError
from training.settings import TrainingSettings

PreferenceMethod = Literal["dpo", "kto"]
Stage = Literal["sft", "dpo", "kto"]

ROW_TOKENS: Final = {"cpu": 1024, "mps": 2048, "cuda": 4096}
"""Tokens of a packed row by device: enough to fill the device, few enough that attention stays cheap."""
FEWEST_PREFERENCES: Final = 50
"""Preference pairs from which on `auto` lets DPO follow."""
FEWEST_VOTES: Final = 100
"""Thumbs without a review from which on `auto` may choose KTO; a tenth of them must be of either kind."""
VOTES_PER_PAIR: Final = 5
"""How many times more thumbs than approved pairs make them the better teacher."""
WIDTH: Final = 576
"""The hidden size of the default model, on which the learning rates below were tried."""


@dataclass(frozen=True)
class SftHyperparameters:
    """The numbers of a supervised training.

    `learning_rate` is the peak, `batch_size` the pairs of an optimiser step, `warmup` the share of steps that
    rise to the peak, `patience` the validations without improvement after which the run ends, `row_tokens`
    the most tokens that go through the model at once, `checkpointing` whether activations are computed again
    in the backward pass instead of being kept. `batch_divisor` divides how many pairs go through the model at
    once: above 1 where memory has run out before.
    """

    learning_rate: float
    epochs: float
    batch_size: int
    warmup: float
    patience: int
    row_tokens: int = ROW_TOKENS["cpu"]
    checkpointing: bool = False
    batch_divisor: int = 1
    replay_weight: float = 0.0
    contrast_weight: float = 0.0


_BY_PAIRS: Final = (
    # fewer pairs than, learning rate at WIDTH, epochs, batch size
    (40, 2e-3, 8, 4),
    (120, 1e-3, 4, 4),
    (400, 2e-3, 2, 4),
    (1500, 2e-3, 2, 8),
    (math.inf, 1e-3, 3, 32),
)


def for_sft(
    pairs: int,
    settings: TrainingSettings,
    *,
    width: int = WIDTH,
    row_tokens: int = ROW_TOKENS["cpu"],
    checkpointing: bool = False,
) -> SftHyperparameters:
    """What the settings leave open, chosen by the number of pairs that are trained on.

    | pairs     | learning rate | epochs | batch |
    | --------- | ------------- | ------ | ----- |
    | below 40  | 2e-3          | 8      | 4     |
    | below 120 | 1e-3          | 4      | 4     |
    | below 400 | 2e-3          | 2      | 4     |
    | below 1500| 2e-3          | 2      | 8     |
    | more      | 1e-3          | 3      | 32    |

    Few pairs make few steps, so each step must go further; early stopping ends the run when it goes too far.
    The rows from 40 to 1500 pairs were measured with the default model, replay and contrast: no further than
    the base model's general loss plus a tenth, and the right answer told from others as often as that allows.
    What is known by heart is told apart worse, whatever the loss says. docs/training.md has the table.
    `width` is the model's hidden size: the best rate falls with it, about as its power of -0.78 (Schulman et
    al. 2025), so a model of width 4096 learns at a rate of 2e-4 from many pairs.
    """
    _, learning_rate, epochs, batch_size = next(row for row in _BY_PAIRS if pairs < row[0])
    return SftHyperparameters(
        learning_rate=settings.learning_rate or _for_width(learning_rate, width),
        epochs=settings.epochs or epochs,
        batch_size=min(settings.batch_size or batch_size, max(pairs, 1)),
        warmup=0.1,
        patience=settings.patience,
        row_tokens=row_tokens,
        checkpointing=checkpointing,
        replay_weight=settings.replay_weight,
        contrast_weight=settings.contrast_weight,
    )


_BY_EXAMPLES: Final = (
    # fewer examples than, learning rate at WIDTH, epochs, batch size, beta
    (40, 5e-4, 3, 4, 0.3),
    (400, 3e-4, 3, 8, 0.2),
    (2000, 2e-4, 2, 16, 0.1),
    (math.inf, 1e-4, 1, 32, 0.1),
)


@dataclass(frozen=True)
class PreferenceHyperparameters:
    """The numbers of a preference training; `batch_size` counts examples of an optimiser step."""

    method: PreferenceMethod
    beta: float
    learning_rate: float
    epochs: float
    batch_size: int
    patience: int
    batch_divisor: int = 1


def for_preferences(
    method: PreferenceMethod, examples: int, settings: TrainingSettings, *, width: int = WIDTH
) -> PreferenceHyperparameters:
    """What the settings leave open, chosen by the number of examples that are trained on.

    | examples   | learning rate | epochs | batch | beta |
    | ---------- | ------------- | ------ | ----- | ---- |
    | below 40   | 5e-4          | 3      | 4     | 0.3  |
    | below 400  | 3e-4          | 3      | 8     | 0.2  |
    | below 2000 | 2e-4          | 2      | 16    | 0.1  |
    | more       | 1e-4          | 1      | 32    | 0.1  |

    `width` is the model's hidden size: the rate falls with it as it does in `for_sft`.
    """
    _, learning_rate, epochs, batch_size, beta = next(row for row in _BY_EXAMPLES if examples < row[0])
    return PreferenceHyperparameters(
        method=method,
        beta=settings.preference_beta or beta,
        learning_rate=settings.preference_learning_rate or _for_width(learning_rate, width),
        epochs=settings.preference_epochs or epochs,
        batch_size=min(settings.batch_size or batch_size, max(examples, 1)),
        patience=settings.patience,
    )


def _for_width(learning_rate: float, width: int) -> float:
    slower: float = min(1.0, (WIDTH / width) ** 0.78)
    return learning_rate * slower


_DPO_IS_SET: Final = Text(
    "DPO on {pairs:pair|pairs}, because it is set.", "DPO na {pairs:parze|parach|parach}, bo tak ustawiono."
)
_KTO_IS_SET: Final = Text(
    "KTO on {thumbs:thumb|thumbs}, because it is set.",
    "KTO na {thumbs:głosie|głosach|głosach}, bo tak ustawiono.",
)
_SFT_IS_SET: Final = Text(
    "SFT on {approved:approved pair|approved pairs}, because it is set.",
    "SFT na {approved:zatwierdzonej parze|zatwierdzonych parach|zatwierdzonych parach}, bo tak ustawiono.",
)
_KTO: Final = Text(
    "KTO on {thumbs:thumb|thumbs} ({up} up, {down} down): there are {votes} votes without a review and only "
    "{approved:approved pair|approved pairs}.",
    "KTO na {thumbs:głosie|głosach|głosach} ({up} za, {down} przeciw): bez oceny moderatora jest "
    "{votes:głos|głosy|głosów}, a zatwierdzonych par tylko {approved}.",
)
_SFT_AND_DPO: Final = Text(
    "SFT on {approved:approved pair|approved pairs}, then DPO on {pairs:answer that was|answers that were} "
    "preferred over others.",
    "SFT na {approved:zatwierdzonej parze|zatwierdzonych parach|zatwierdzonych parach}, potem DPO na "
    "{pairs:odpowiedzi wybranej|odpowiedziach wybranych|odpowiedziach wybranych} spośród innych.",
)
_SFT: Final = Text(
    "SFT on {approved:approved pair|approved pairs}; DPO follows from {fewest} preferred answers on, and "
    "there are {pairs}.",
    "SFT na {approved:zatwierdzonej parze|zatwierdzonych parach|zatwierdzonych parach}; DPO dojdzie, gdy "
    "odpowiedzi wybranych spośród innych będzie {fewest}, a jest ich {pairs}.",
)


class ChosenMethod(NamedTuple):
    """The trainings of a run in their order, and the sentence that says why."""

    stages: tuple[Stage, ...]
    why: Text


def choose_method(splits: Splits, preferences: Preferences, settings: TrainingSettings) -> ChosenMethod:
    """What the settings say, or (auto) what there is the most to learn from. Raises TrainingError.

    DPO needs a model that answers acceptably already, so it follows SFT, unless it continues an adapter.
    """
    approved = len(splits.train)
    pairs = len(preferences.pairs["train"])
    kinds = [sum(thumb.desirable is kind for thumb in preferences.thumbs["train"]) for kind in (True, False)]
    thumbs = sum(kinds)
    continues = settings.start_from == "current"
    if settings.method == "dpo":
        if not pairs:
            raise TrainingError(
                "There is no answer preferred over another to train on by dpo.",
                "Edit answers in the review, or regenerate some and vote on both; "
                "or set THUMBLOOP_TRAINING__METHOD=auto.",
            )
        return ChosenMethod(("dpo",) if continues else ("sft", "dpo"), _DPO_IS_SET.filled(pairs=pairs))
    if settings.method == "kto":
        if min(kinds) == 0:
            raise TrainingError(
                f"KTO learns from good and bad answers; there are {kinds[0]} good and {kinds[1]} bad ones.",
                "Wait for votes of either kind, or set THUMBLOOP_TRAINING__METHOD=auto.",
            )
        return ChosenMethod(("kto",), _KTO_IS_SET.filled(thumbs=thumbs))
    if settings.method == "sft":
        return ChosenMethod(("sft",), _SFT_IS_SET.filled(approved=approved))
    votes = preferences.votes
    if votes >= max(FEWEST_VOTES, VOTES_PER_PAIR * approved) and min(kinds) >= thumbs / 10:
        return ChosenMethod(
            ("kto",),
            _KTO.filled(thumbs=thumbs, up=kinds[0], down=kinds[1], votes=votes, approved=approved),
        )
    if pairs >= FEWEST_PREFERENCES:
        return ChosenMethod(("sft", "dpo"), _SFT_AND_DPO.filled(approved=approved, pairs=pairs))
    return ChosenMethod(("sft",), _SFT.filled(approved=approved, fewest=FEWEST_PREFERENCES, pairs=pairs))
