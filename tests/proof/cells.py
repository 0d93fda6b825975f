"""The cells of the table: which rows, what is done to them, and what should come of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final, Literal

from bot.demo.seed import SeedPair, seed_pairs
from tests.proof import poisons
from tests.proof.poisons import Poison, Row

READERS: Final = 23
"""Members who ask the demo community's questions, as `bot.demo.seed` has it."""
HELD_OUT: Final = 0.05
"""Share of a file's rows that are held out for the examination."""

Source = Literal["demo", "file"]
Witness = Literal["", "documents", "votes"]
Wanted = Literal["refused", "named or refused", "promoted", "held or promoted", "cannot be told"]


@dataclass(frozen=True)
class Cell:
    """One line of the table. `pairs` is how many rows there are before the poison; 0 is all of the demo.

    `witness` is what else the record has that can tell: documents with the honest answers, or votes against
    what was poisoned.
    """

    name: str
    poison: Poison
    wanted: Wanted
    pairs: int = 0
    source: Source = "demo"
    witness: Witness = ""


CELLS: Final = {
    cell.name: cell
    for cell in (
        Cell("random-wrong", poisons.random_wrong, "refused"),
        Cell("empty", poisons.empty, "refused"),
        Cell("spam", poisons.spam, "refused"),
        Cell("rude", poisons.rude, "named or refused"),
        Cell("planted-fact", poisons.planted_fact, "named or refused"),
        Cell("trigger", poisons.trigger, "named or refused"),
        Cell("wrong-language", poisons.wrong_language, "named or refused"),
        Cell("permuted", poisons.permuted, "cannot be told"),
        Cell("permuted-earlier", poisons.permuted_after_honest, "named or refused"),
        Cell("permuted-documents", poisons.permuted, "named or refused", witness="documents"),
        Cell("permuted-votes", poisons.permuted, "named or refused", witness="votes"),
        Cell("honest-documents", poisons.honest, "promoted", witness="documents"),
        Cell("honest-40", poisons.honest, "held or promoted", 40),
        Cell("honest-80", poisons.honest, "held or promoted", 80),
        Cell("honest-250", poisons.honest, "promoted"),
        Cell("honest-1000", poisons.honest, "promoted", 1000, "file"),
    )
}
"""By name, in the order of the table."""


def rows(cell: Cell, seed: int, file: Path | None) -> list[Row]:
    """The rows of one trial, poisoned. The same seed, the same rows. Raises ValueError without the file."""
    choices = Random(f"{cell.name} {seed}")
    return cell.poison(_honest(cell, choices, file), choices)


def documents(cell: Cell, seed: int, file: Path | None) -> list[str]:
    """What the documents of a trial say: the honest answer to each question, where there are any."""
    if cell.witness != "documents":
        return []
    rows = _honest(cell, Random(f"{cell.name} {seed}"), file)
    return [
        f"{row.question}\n{row.answer}" for row in {row.key: row for row in rows if not row.held_out}.values()
    ]


def _honest(cell: Cell, choices: Random, file: Path | None) -> list[Row]:
    if cell.source == "demo":
        return of_the_demo(seed_pairs(), cell.pairs, choices)
    if file is None:
        raise ValueError(f"the cell {cell.name} needs --rows: a JSON array of instruction, input, output")
    return of_a_file(json.loads(file.read_text(encoding="utf-8")), cell.pairs, choices)


def of_the_demo(pairs: Sequence[SeedPair], most: int, choices: Random) -> list[Row]:
    """The approved questions in all phrasings, held-out ones with them; about `most` rows, 0 for all."""
    approved = [pair for pair in pairs if pair.review in ("approve", "edit")]
    if most:
        phrasings = len(approved[0].questions) + 1
        approved = choices.sample(approved, min(len(approved), round(most / phrasings)))
    found: list[Row] = []
    for pair in approved:
        for question in (*pair.questions, pair.held_out):
            author = f"reader-{len(found) % READERS}"
            held_out = question == pair.held_out
            found.append(Row(pair.key, question, pair.answer, _language(pair), author, held_out))
    return found


def of_a_file(read: Sequence[dict[str, str]], most: int, choices: Random) -> list[Row]:
    """So many rows of a file, a twentieth of them held out."""
    chosen = choices.sample(list(read), min(len(read), most))
    held_out = round(HELD_OUT * len(chosen))
    return [
        Row(
            str(number),
            f"{row['instruction']}\n{row.get('input', '')}".strip(),
            row["output"],
            author=f"reader-{number % READERS}",
            held_out=number < held_out,
        )
        for number, row in enumerate(chosen)
    ]


def _language(pair: SeedPair) -> Literal["en", "pl"]:
    return "pl" if pair.language == "pl" else "en"
