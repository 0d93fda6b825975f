"""How far people who judged the same things agree: Krippendorff's alpha for ordinal values.

Knows numbers only. Krippendorff (2011), "Computing Krippendorff's Alpha-Reliability": the coincidence matrix,
and the ordinal difference, which counts how many values lie between two.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import permutations


def ordinal_alpha(units: Sequence[Sequence[int]]) -> float | None:
    """Alpha in (-1, 1]: 1 is perfect agreement, 0 is what chance would bring.

    `units` are [things judged][values given], in any order and of any length: who did not judge is left out.
    None where no thing was judged twice, or where every value is the same, so that nobody could disagree.
    """
    coincidences: Counter[tuple[int, int]] = Counter()
    for values in units:
        for pair in permutations(values, 2):
            coincidences[pair] += 1 / (len(values) - 1)  # type: ignore[assignment]
    totals: Counter[int] = Counter()
    for (value, _), weight in coincidences.items():
        totals[value] += weight
    order = sorted(totals)
    pairable = sum(totals.values())

    def difference(low: int, high: int) -> float:
        between = sum(totals[value] for value in order if low <= value <= high)
        return (between - (totals[low] + totals[high]) / 2) ** 2

    expected = observed = 0.0
    for index, low in enumerate(order):
        for high in order[index + 1 :]:
            apart = difference(low, high)
            observed += coincidences[low, high] * apart
            expected += totals[low] * totals[high] * apart
    return 1 - (pairable - 1) * observed / expected if expected else None
