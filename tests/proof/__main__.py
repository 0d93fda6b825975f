"""`python -m tests.proof`: poisoned and honest data through the whole loop, by hand, with the default model.

    python -m tests.proof --seeds 10 --cells random-wrong,empty,spam
    python -m tests.proof --seeds 10 --no-training     what the dataset alone refuses: a minute

A trial that trains takes as long as a run, minutes each. Trials end up in FOLDER/trials.jsonl, one a line;
started again with the same options it goes on with those that are missing, and ends with the table of all.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from bot.settings import load_settings
from tests.proof import cells, table, trial
from tests.proof.trial import Trial
from training.model import packaged
from training.settings import TrainingSettings

TRIALS = "trials.jsonl"


def main() -> int:
    """Read the options, run what is missing, print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.proof", description=__doc__.splitlines()[0])
    parser.add_argument("--cells", default=",".join(cells.CELLS), help="which, by commas; all unless said")
    parser.add_argument("--seeds", type=int, default=10, help="trials of each cell")
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=Path("build/proof"), help="where the trials are kept")
    parser.add_argument("--rows", type=Path, help="JSON array of instruction, input, output for honest-1000")
    parser.add_argument("--epochs", type=float, default=0, help="fewer for a quick look; 0 as in service")
    parser.add_argument("--questions", type=int, default=50, help="most questions of an examination")
    parser.add_argument("--no-training", action="store_true", help="stop at the dataset")
    options = parser.parse_args()
    chosen = options.cells.split(",")
    if unknown := set(chosen) - cells.CELLS.keys():
        parser.error(f"no cell is called {', '.join(sorted(unknown))}; there are {', '.join(cells.CELLS)}")
    options.folder.mkdir(parents=True, exist_ok=True)
    asyncio.run(_run(options, chosen))
    print("\n".join(table.lines(_kept(options.folder / TRIALS))))
    return 0


async def _run(options: argparse.Namespace, chosen: list[str]) -> None:
    """Every trial that is missing, seed by seed, so that whoever breaks it off has some of each cell."""
    kept = options.folder / TRIALS
    model = load_settings().model_choice
    if not options.no_training:
        model = replace(model, models_folder=packaged.converted(Path("build/models")).parent)
    settings = TrainingSettings(epochs=options.epochs, examination_questions=options.questions)
    done = {(one.cell, one.seed) for one in _kept(kept) if options.no_training or one.end != "not trained"}
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        for name in chosen:
            if (name, seed) in done:
                continue
            cell = cells.CELLS[name]
            rows = cells.rows(cell, seed, options.rows)
            with tempfile.TemporaryDirectory(prefix="thumbloop-proof-") as scratch:
                found = await trial.run(
                    name,
                    seed,
                    rows,
                    Path(scratch),
                    model,
                    settings,
                    documents=cells.documents(cell, seed, options.rows),
                    voted=cell.witness == "votes",
                    train=not options.no_training,
                )
            with kept.open("a", encoding="utf-8") as file:
                file.write(f"{found.as_json()}\n")
            print(f"{name}, seed {seed}: {found.end} ({found.seconds:.0f} s)", flush=True)


def _kept(file: Path) -> Iterator[Trial]:
    """The trials of a file, the older ones first."""
    if file.exists():
        for line in file.read_text(encoding="utf-8").splitlines():
            yield Trial(**json.loads(line))


if __name__ == "__main__":
    sys.exit(main())
