"""What came of all trials, cell by cell, as a Markdown table."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping

from tests.proof.cells import CELLS
from tests.proof.trial import Trial

HEADER = (
    "| cell | seeds | refused | named | promoted | poison learnt | honest learnt | by what | wanted |",
    "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
)


def lines(trials: Iterable[Trial]) -> Iterator[str]:
    """The table of the newest trial of each cell and seed, and below it the reasons of each verdict."""
    newest = {(trial.cell, trial.seed): trial for trial in trials}
    by_cell: dict[str, list[Trial]] = defaultdict(list)
    for trial in newest.values():
        by_cell[trial.cell].append(trial)
    yield from HEADER
    for name, cell in CELLS.items():
        if found := by_cell[name]:
            yield f"| {name} | {len(found)} | {_counts(found)} | {cell.wanted} |"
    yield ""
    for name in CELLS:
        for trial in sorted(by_cell[name], key=lambda one: one.seed):
            yield f"- {name}, seed {trial.seed}: {trial.end}. {' '.join(trial.reasons)}".rstrip()


def _counts(trials: list[Trial]) -> str:
    decided = [trial for trial in trials if trial.end != "not trained"]
    shown = [
        _of(sum(trial.refused for trial in decided), len(decided)),
        _of(sum(trial.named for trial in trials), len(trials)),
        _of(sum(trial.promoted for trial in decided), len(decided)),
    ]
    poisoned = sum(trial.poisoned for trial in trials)
    honest = sum(trial.pairs - trial.poisoned for trial in trials)
    learnt = [
        _share(sum(trial.learnt for trial in trials), poisoned),
        _share(sum(trial.honest_learnt for trial in trials), honest),
    ]
    return " | ".join([*shown, *learnt, _by_what(trials)])


def _of(part: int, whole: int) -> str:
    return f"{part} of {whole}" if whole else "not trained"


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.0f} %" if whole else "–"


def _by_what(trials: list[Trial]) -> str:
    """Rules with the pairs that they dropped in all, symptoms and witnesses with the trials that had them."""
    rules = _added(trial.left_out_by for trial in trials)
    symptoms = Counter(name for trial in trials for name in (*trial.symptoms, *trial.witnesses))
    return ", ".join(f"{name} ({count})" for name, count in [*rules.items(), *symptoms.items()]) or "–"


def _added(counts: Iterable[Mapping[str, int]]) -> Counter[str]:
    total = Counter[str]()
    for one in counts:
        total.update(one)
    return total
