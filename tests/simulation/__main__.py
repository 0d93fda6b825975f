"""How often the rollout errs, and how long it takes, over communities whose true opinion is known.

`python -m tests.simulation --communities 1000` prints the table; `--plot FILE` draws it, `--record N` lets
the real record and the real upkeep decide on N of them, too, with a clock of their own.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from tests.simulation import record
from tests.simulation.communities import WEEKS, drawn
from tests.simulation.methods import METHODS, Decided

DIFFERENCES: Final = (-0.10, -0.05, 0.0, 0.05, 0.10)


def main(argv: Sequence[str] | None = None) -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--communities", type=int, default=1000, help="for each true difference")
    parser.add_argument("--seed", type=int, default=19)
    parser.add_argument("--plot", type=Path, help="a picture of when canaries are promoted")
    parser.add_argument("--record", type=int, default=0, help="communities for the real record")
    asked = parser.parse_args(argv)
    results = {
        (name, difference): _decide(name, difference, asked.communities, asked.seed)
        for name in METHODS
        for difference in DIFFERENCES
    }
    print(_table(results, asked.communities))
    if asked.plot:
        _draw(results, asked.plot)
    if asked.record:
        agreed = asyncio.run(record.agree(asked.record, asked.seed))
        print(f"\nReal record and upkeep: the same decision in the same week in {agreed} of {asked.record}.")
        return 0 if agreed == asked.record else 1
    return 0


def _decide(name: str, difference: float, number: int, seed: int) -> list[Decided]:
    # every method meets the same communities, and the same judgements where it asks for the same share
    communities = drawn(number, difference, np.random.default_rng(seed))
    return [
        METHODS[name](community, np.random.default_rng((seed, place)))
        for place, community in enumerate(communities)
    ]


def _table(results: dict[tuple[str, float], list[Decided]], number: int) -> str:
    lines = [
        f"{number} communities for each true difference, {WEEKS} weeks, half of the conversations each",
        "",
        "| method | true difference | promoted | rolled back | median weeks to promote | judged answers |",
        "|---|---|---|---|---|---|",
    ]
    for (name, difference), decided in results.items():
        promoted = [one for one in decided if one.outcome == "promoted"]
        back = sum(one.outcome == "rolled back" for one in decided)
        # over all communities: those that never come so far count as longer than there are weeks
        weeks = sorted(one.week if one.outcome == "promoted" else 10**6 for one in decided)
        median = weeks[(len(weeks) - 1) // 2]
        votes = f"{np.median([one.judged for one in promoted]):.0f}" if promoted else ""
        lines.append(
            f"| {name} | {100 * difference:+.0f} | {len(promoted) / number:.1%} | {back / number:.1%} | "
            f"{median if median <= WEEKS else f'more than {WEEKS}'} | {votes} |"
        )
    return "\n".join(lines)


def _draw(results: dict[tuple[str, float], list[Decided]], file: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(DIFFERENCES), figsize=(15, 3.2), sharey=True)
    weeks = np.arange(1, WEEKS + 1)
    for axis, difference in zip(axes, DIFFERENCES, strict=True):
        for name in METHODS:
            decided = results[name, difference]
            for outcome, style in (("promoted", "-"), ("rolled back", ":")):
                when = np.array([one.week if one.outcome == outcome else 10**6 for one in decided])
                label = name if outcome == "promoted" else None
                colour = f"C{list(METHODS).index(name)}"
                axis.plot(weeks, [(when <= week).mean() for week in weeks], style, color=colour, label=label)
        axis.set_title(f"truly {100 * difference:+.0f} points", fontsize=10)
        axis.set_xlabel("weeks")
        axis.axhline(0.05, color="grey", linewidth=0.5)
    axes[0].set_ylabel("share of communities\npromoted (—), rolled back (···)")
    axes[-1].legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(file, dpi=110)
    pyplot.close(figure)


if __name__ == "__main__":
    sys.exit(main())
