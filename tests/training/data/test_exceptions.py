"""What a person keeps in datasets against a hygiene rule."""

from __future__ import annotations

from pathlib import Path

import pytest

from feedback.errors import NotFound, UsageError
from tests.chronicle import Chronicle
from training.data import dataset, exceptions
from training.settings import TrainingSettings

UNFINISHED = "TODO: look up what the release notes say about this."
SETTINGS = TrainingSettings(min_pairs=4, validation_share=0.2)


async def _build(chronicle: Chronicle, tmp_path: Path) -> tuple[set[int], dict[str, int]]:
    built = await dataset.build(
        chronicle.database, tmp_path, name="community", settings=SETTINGS, default_persona="Be brief."
    )
    splits = dataset.load(tmp_path, built)
    turns = {
        (pair.lineage or {})["turn"] for pair in [*splits.train, *splits.validation, *splits.examination]
    }
    return turns, {rule: found["dropped"] for rule, found in built.manifest["hygiene"]["rules"].items()}


async def _some(chronicle: Chronicle) -> int:
    """Approved turns, of which the one returned falls to the rule about placeholders."""
    await chronicle.approved_at_once(
        ["What is a turn?", "Where do votes go?", "Who trains it?", "When does it run?", "How big is it?"]
    )
    return await chronicle.approved("What is new in the release?", UNFINISHED, conversation="new")


async def test_a_pair_that_a_rule_left_out_is_kept_once_a_person_says_so(
    chronicle: Chronicle, tmp_path: Path
) -> None:
    turn = await _some(chronicle)
    turns, dropped = await _build(chronicle, tmp_path)
    assert turn not in turns and dropped["placeholders"] == 1
    async with chronicle.database.session() as session:
        await exceptions.allow(session, turn, "placeholders", by="ada")
        await exceptions.allow(session, turn, "placeholders", by="ben")  # twice is once
    turns, dropped = await _build(chronicle, tmp_path)
    assert turn in turns and dropped["placeholders"] == 0
    async with chronicle.database.session() as session:
        await exceptions.withdraw(session, turn, "placeholders", by="ada")
    assert turn not in (await _build(chronicle, tmp_path))[0]


async def test_a_duplicate_that_a_person_keeps_stays_beside_the_other(
    chronicle: Chronicle, tmp_path: Path
) -> None:
    await _some(chronicle)
    twice = [
        await chronicle.approved("What is LoRA?", "Low-rank adaptation of a model.", conversation=f"{place}")
        for place in range(2)
    ]
    turns, _ = await _build(chronicle, tmp_path)
    (gone,) = set(twice) - turns
    async with chronicle.database.session() as session:
        for rule in ("exact-duplicates", "near-duplicates"):
            await exceptions.allow(session, gone, rule, by="ada")
    assert set(twice) <= (await _build(chronicle, tmp_path))[0]


async def test_personal_data_and_contradictions_are_never_overruled(chronicle: Chronicle) -> None:
    turn = await _some(chronicle)
    async with chronicle.database.session() as session:
        for rule in ("personal-data", "contradictions", "made-up"):
            with pytest.raises(UsageError, match=rule):
                await exceptions.allow(session, turn, rule, by="ada")
        with pytest.raises(NotFound):
            await exceptions.allow(session, turn + 1000, "length", by="ada")
