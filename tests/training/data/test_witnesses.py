"""A consistent permutation of approved answers, as far as the record holds something against it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bot.knowledge.knowledge import Knowledge
from bot.knowledge.training_lookup import TrainingLookup
from feedback import consent
from feedback.passages import Chunk
from feedback.tables import Dataset
from tests.chronicle import Chronicle
from tests.conftest import SQLITE
from tests.shelf import shelve
from tests.training import lessons
from training.data import dataset, witnesses
from training.settings import TrainingSettings

HERBS = (
    *("basil", "mint", "rosemary", "thyme", "sage", "parsley", "chives", "oregano", "dill", "tarragon"),
    *(
        "fennel",
        "lovage",
        "borage",
        "cumin",
        "anise",
        "caraway",
        "coriander",
        "lavender",
        "marjoram",
        "savory",
    ),
    *("sorrel", "chervil"),
)
PLACES = (
    *(
        "shade",
        "sun",
        "greenhouse",
        "balcony",
        "cellar",
        "windowsill",
        "marsh",
        "meadow",
        "hillside",
        "courtyard",
    ),
    *(
        "orchard",
        "terrace",
        "sand",
        "gravel",
        "loam",
        "clay",
        "compost",
        "bark",
        "peat",
        "moss",
        "ash",
        "chalk",
    ),
)
SETTINGS = TrainingSettings(min_pairs=4, validation_share=0.1)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


def _advice(number: int) -> str:
    return f"Plant {HERBS[number]} near {PLACES[number]} and harvest leaves before flowering."


async def _taught(chronicle: Chronicle, *, moved: int) -> list[int]:
    """Two wordings of each question, both with the answer to the one that is so many places on."""
    return [
        await chronicle.approved(
            wording.format(herb), _advice((number + moved) % len(HERBS)), conversation=f"{herb} {wording}"
        )
        for number, herb in enumerate(HERBS)
        for wording in ("Where does {} belong in our garden?", "any good spot for {}")
    ]


async def _guide(chronicle: Chronicle) -> None:
    chunks = [Chunk(f"{herb}: {_advice(number)}") for number, herb in enumerate(HERBS)]
    await shelve(chronicle.database, chronicle.community_id, *chunks)


async def _built(chronicle: Chronicle, data: Path) -> Dataset:
    return await dataset.build(
        chronicle.database,
        data,
        name="community",
        settings=SETTINGS,
        default_persona="plain",
        lookup=TrainingLookup(Knowledge(chronicle.database, None), 3),
    )


async def _witnesses(chronicle: Chronicle, data: Path) -> dict[str, Any]:
    frozen = await _built(chronicle, data)
    async with chronicle.database.session(read_only=True) as session:
        heard = {**frozen.manifest["witnesses"], "votes": await witnesses.votes(session, frozen.id or 0)}
        against = await witnesses.against(session, frozen)
    assert against.keys() == {name for name in heard if heard[name]["against"]}
    return heard


async def test_documents_tell_answers_that_were_moved_to_other_questions(
    chronicle: Chronicle, data: Path
) -> None:
    await _guide(chronicle)
    await _taught(chronicle, moved=5)
    found = (await _witnesses(chronicle, data))["documents"]
    assert found["against"] and found["said"] >= witnesses.LEAST and found["own"] <= 3


async def test_documents_that_say_what_was_approved_speak_against_nobody(
    chronicle: Chronicle, data: Path
) -> None:
    await _guide(chronicle)
    await _taught(chronicle, moved=0)
    found = (await _witnesses(chronicle, data))["documents"]
    assert not found["against"] and found["own"] > found["said"] / 2


async def test_documents_about_something_else_are_not_heard(chronicle: Chronicle, data: Path) -> None:
    await shelve(chronicle.database, chronicle.community_id, Chunk("The garden opens at nine every day."))
    await _taught(chronicle, moved=5)
    assert (await _witnesses(chronicle, data))["documents"] == {
        "said": 0,
        "own": 0,
        "luck": 0.0,
        "against": False,
    }


async def test_votes_tell_approved_answers_that_members_find_wrong(chronicle: Chronicle, data: Path) -> None:
    turns = await _taught(chronicle, moved=5)
    for place, turn in enumerate(turns[:24]):
        await chronicle.vote(turn, 1 if place < 3 else -1, by=f"reader {place % 6}")
    built = (await _built(chronicle, data)).version
    found = (await _witnesses(chronicle, data))["votes"]
    assert found["against"] and found["voted"] - found["down"] <= 3
    await chronicle.vote(turns[0], -1, by="late")
    assert (await _built(chronicle, data)).version == built, "a vote makes no other dataset"


async def test_one_member_s_votes_and_those_of_who_opted_out_hold_nobody(
    chronicle: Chronicle, data: Path
) -> None:
    turns = await _taught(chronicle, moved=0)
    for turn in turns:
        await chronicle.vote(turn, -1, by="grudge")
        await chronicle.vote(turn, -1, by=f"gone {turn % 8}")
    async with chronicle.database.session() as session:
        for number in range(8):
            await consent.opt_out(session, await chronicle.member(f"gone {number}"))
    found = (await _witnesses(chronicle, data))["votes"]
    assert (found["down"], found["against"]) == (witnesses.MOST_OF_ONE_MEMBER, False)


async def test_an_earlier_approved_answer_keeps_apart_what_was_moved_to_its_question(
    chronicle: Chronicle, data: Path
) -> None:
    await _taught(chronicle, moved=0)
    answers = {
        "Who keeps the shed key?": "Ask Marta at number nine, she lends it on Sundays against a signature.",
        "Which bins take weeds?": "Brown containers behind the pump house, except knotweed, it gets burned.",
    }
    for question, answer in answers.items():
        await chronicle.approved(question, answer, conversation=f"first {question}")
    assert not (await _built(chronicle, data)).manifest["contradictions"]
    for question, answer in zip(answers, reversed(answers.values()), strict=True):
        await chronicle.approved(question, answer, conversation=f"later {question}")
    found = (await _built(chronicle, data)).manifest
    assert len(found["contradictions"]) == 2
    assert found["witnesses"]["earlier"] == {"contradicted": 4, "pairs": 48, "against": False}


def test_many_answers_that_contradict_earlier_ones_speak_against_the_rest() -> None:
    groups = [[2 * number, 2 * number + 1] for number in range(12)]
    assert witnesses.earlier(groups, 240)["against"]
    assert not witnesses.earlier(groups, 241)["against"]
    assert not witnesses.earlier(groups[:9], 40)["against"]


@SQLITE
async def test_a_run_on_answers_that_members_voted_down_is_rejected_and_says_so(
    chronicle: Chronicle, data: Path, tiny_model_folder: Path
) -> None:
    turns = await _taught(chronicle, moved=5)
    for place, turn in enumerate(turns[:24]):
        await chronicle.vote(turn, -1, by=f"reader {place % 6}")
    outcome = await lessons.retrained(chronicle, data, tiny_model_folder)
    assert not outcome.verdict.promote
    assert str(outcome.verdict.reasons[0]).startswith("Members voted down 2")
    assert outcome.report is not None and "Members voted down 2" in outcome.report.read_text("utf-8")
