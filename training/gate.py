"""The verdict on a candidate: may it serve, and why.

Knows figures only. What is missing or no number is a reason to hold, never a pass.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

LOSS: Final = "loss"
"""The metric that decides: mean loss on held-out reference answers, in nats per token."""


@dataclass(frozen=True)
class Verdict:
    """Whether the candidate may serve, with reasons that a person understands, the deciding one first."""

    promote: bool
    reasons: list[str]

    def __str__(self) -> str:
        return ("Promoted: " if self.promote else "Held: ") + " ".join(self.reasons)


def verdict(
    base: Mapping[str, float], current: Mapping[str, float] | None, candidate: Mapping[str, float]
) -> Verdict:
    """Promote when the candidate's held-out loss is below the base's and the adapter's in service.

    `current` None: the base model itself serves.
    """
    rivals = {"the base model": base} | ({} if current is None else {"the adapter in service": current})
    against: list[str] = []
    favour: list[str] = []
    loss = candidate.get(LOSS, math.nan)
    if not math.isfinite(loss):
        against.append(_no_figure("the candidate", candidate))
    for rival, metrics in rivals.items():
        theirs = metrics.get(LOSS, math.nan)
        if not math.isfinite(theirs):
            against.append(_no_figure(rival, metrics))
        elif math.isfinite(loss):
            figures = f"{loss:.3f} against {theirs:.3f} nats per token"
            if loss < theirs:
                favour.append(f"On held-out questions its loss is below that of {rival} ({figures}).")
            else:
                against.append(f"On held-out questions its loss is not below that of {rival} ({figures}).")
    return Verdict(not against, against or favour)


def _no_figure(subject: str, metrics: Mapping[str, float]) -> str:
    found = f"is {metrics[LOSS]}" if LOSS in metrics else "is missing"
    return f"The held-out loss of {subject} {found}, so the two cannot be compared."
