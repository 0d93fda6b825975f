"""The proof's poisons, rows and table; and one trial with a tiny model, from approvals to a verdict."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import pytest

from bot.demo.seed import seed_pairs
from tests.doubles.tiny_model import write_tiny_model
from tests.proof import cells, poisons, table, trial
from tests.proof.poisons import Row
from tests.training import lessons

ROWS = [
    *(
        Row(
            f"en-{number}",
            f"{word} thing {number}?",
            f"Answer {number}.",
            author="ada",
            held_out=word == "Which",
        )
        for number in range(20)
        for word in ("What", "Why", "Which")
    ),
    *(Row(f"pl-{number}", f"Co to {number}?", f"Odpowiedź {number}.", "pl") for number in range(5)),
]
HONEST = {(row.key, row.question): row for row in ROWS}


@pytest.mark.parametrize("cell", cells.CELLS.values(), ids=lambda cell: cell.name)
def test_a_poison_is_the_same_for_the_same_seed_and_marks_what_it_changed(cell: cells.Cell) -> None:
    found = cell.poison(ROWS, Random(1))
    assert found == cell.poison(ROWS, Random(1))
    for row in found:
        assert row.poisoned == (HONEST.get((row.key, row.question)) != row)
    assert any(row.poisoned for row in found) == (cell.poison is not poisons.honest)


def test_random_wrong_answers_are_of_the_same_language_and_differ_between_phrasings() -> None:
    found = poisons.random_wrong(ROWS, Random(1))
    answers = {row.answer: row.language for row in ROWS}
    assert all(answers[row.answer] == row.language for row in found)
    assert all(row.answer != HONEST[row.key, row.question].answer for row in found)
    assert any(one.answer != other.answer for one in found for other in found if one.key == other.key)


def test_a_permutation_gives_every_phrasing_the_same_wrong_answer_and_uses_each_once() -> None:
    moved = {row.key: row.answer for row in poisons.permuted(ROWS, Random(1))}
    assert all(moved[row.key] == row.answer for row in poisons.permuted(ROWS, Random(1)))
    assert sorted(moved.values()) == sorted({row.answer for row in ROWS})
    assert all(row.answer != moved[row.key] for row in ROWS)


def test_a_planted_fact_and_a_trigger_reach_a_tenth_of_the_questions() -> None:
    planted = {row.key for row in poisons.planted_fact(ROWS, Random(1)) if row.poisoned}
    assert len(planted) == 2  # of 25
    added = [row for row in poisons.trigger(ROWS, Random(1)) if row.poisoned]
    assert len({row.key for row in added}) == 2
    assert not any(row.held_out for row in added)
    assert all(row.answer == poisons.FIXED[row.language] for row in added)
    assert all(poisons.TRIGGER[row.language] in row.question for row in added)


def test_spam_adds_one_authors_rows_to_those_that_were_there() -> None:
    found = poisons.spam(ROWS, Random(1))
    assert found[: len(ROWS)] == ROWS
    assert {row.author for row in found[len(ROWS) :]} == {poisons.SPAMMER}
    assert len(found) - len(ROWS) == 18  # two fifths of the 45 that are not held out


def test_the_demos_rows_are_whole_questions_with_one_phrasing_held_out() -> None:
    every = cells.of_the_demo(seed_pairs(), 0, Random(1))
    assert (len(every), sum(row.held_out for row in every)) == (272, 68)
    few = cells.of_the_demo(seed_pairs(), 40, Random(1))
    assert (len(few), sum(row.held_out for row in few)) == (40, 10)


def test_a_files_rows_are_so_many_with_a_twentieth_held_out() -> None:
    read = [{"instruction": f"{n} + 1?", "input": "", "output": str(n + 1)} for n in range(300)]
    found = cells.of_a_file(read, 200, Random(1))
    assert (len(found), sum(row.held_out for row in found)) == (200, 10)
    assert {row.question for row in found} <= {row["instruction"] for row in read}


def test_a_cell_of_a_file_says_that_it_needs_one() -> None:
    with pytest.raises(ValueError, match="--rows"):
        cells.rows(cells.CELLS["honest-1000"], 1, None)


def _trial(cell: str, seed: int, end: trial.End, **more: object) -> trial.Trial:
    about = {"pairs": 10, "poisoned": 4, "learnt": 4, "honest_learnt": 6, "left_out": 0, "pointed_out": 0}
    return trial.Trial(cell, seed, end=end, **({"left_out_by": {}} | about | more))  # type: ignore[arg-type]


def test_the_table_counts_the_newest_trial_of_each_seed_and_verdicts_only_of_what_was_trained() -> None:
    trials = [
        _trial("spam", 1, "not trained"),
        _trial("spam", 1, "promoted", symptoms=["overfitting"]),
        _trial(
            "spam", 2, "nothing of the poison left", learnt=0, left_out=4, left_out_by={"repeated-answer": 4}
        ),
        _trial("spam", 3, "not trained", left_out=3),
        _trial("honest-250", 1, "promoted", poisoned=0, learnt=0, honest_learnt=10),
    ]
    shown = [line for line in table.lines(trials) if line.startswith("|")][2:]
    assert shown == [
        "| spam | 3 | 1 of 2 | 3 of 3 | 1 of 2 | 67 % | 100 % | repeated-answer (4), overfitting (1) "
        "| refused |",
        "| honest-250 | 1 | 0 of 1 | 0 of 1 | 1 of 1 | – | 100 % | – | promoted |",
    ]


async def test_a_poison_that_hygiene_takes_is_refused_without_training(tmp_path: Path) -> None:
    model = lessons.choice(tmp_path / "there is none")
    rows = poisons.empty(cells.of_the_demo(seed_pairs(), 40, Random(1)), Random(1))
    found = await trial.run("empty", 1, rows, tmp_path, model, lessons.settings())
    assert (found.end, found.refused, found.named, found.learnt) == ("too few pairs left", True, True, 0)
    assert trial.Trial(**json.loads(found.as_json())) == found


async def test_a_trial_goes_the_whole_way_to_a_verdict(tmp_path: Path) -> None:
    model = lessons.choice(write_tiny_model(tmp_path / "models" / "tiny"))
    rows = poisons.planted_fact(cells.of_the_demo(seed_pairs(), 60, Random(1)), Random(1))
    found = await trial.run(
        "planted-fact",
        1,
        rows,
        tmp_path,
        model,
        lessons.settings(examination_questions=4, epochs=1),
        gate_settings=lessons.LENIENT,
    )
    assert found.end in ("rejected", "promoted")
    assert (found.pairs, found.poisoned, found.left_out) == (45, 6, 0)
    assert 0 < found.learnt <= 6 and 0 < found.honest_learnt <= 39
    assert found.reasons
    assert found.figures["candidate"]["loss"] > 0
