"""Preferences from the record: what becomes a pair, what a thumb, and what is never trained on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from feedback import consent, journal, review
from feedback.tables import Community
from feedback.words import Decision
from tests.chronicle import ANSWER, Chronicle
from training import files
from training.data import dataset, preferences
from training.data.dataset import SPLITS, Splits
from training.data.preferences import Preferences
from training.run import erasure
from training.settings import TrainingSettings

SETTINGS = TrainingSettings(min_pairs=4, validation_share=0.2)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
async def taught(chronicle: Chronicle) -> Chronicle:
    """A community with a dataset's worth of approved answers."""
    for number in range(8):
        await chronicle.approved(f"Question {number}?", f"Answer {number}.", conversation=f"{number}")
    return chronicle


async def _said(chronicle: Chronicle, question: str, answer: str, **more: Any) -> int:
    async with chronicle.database.session() as session:
        place = await journal.conversation(
            session, chronicle.community_id, more.pop("conversation", question)
        )
    said = replace(ANSWER, answer=answer)
    return await chronicle.answered(question, answer=said, conversation_id=place.id, **more)


async def _decide(chronicle: Chronicle, turn: int, decision: Decision, answer: str = "") -> None:
    async with chronicle.database.session() as session:
        await review.decide(session, turn, "mo", decision, answer=answer)


async def _collect(chronicle: Chronicle, data: Path) -> tuple[Splits, Preferences]:
    built = await dataset.build(
        chronicle.database, data, name="community", settings=SETTINGS, default_persona="plain"
    )
    splits = dataset.load(data, built)
    async with chronicle.database.session(read_only=True) as session:
        found = await preferences.collect(session, splits, SETTINGS, default_persona="plain")
    return splits, found


def _pairs(found: Preferences) -> dict[str, tuple[str, str]]:
    return {pair.instruction: (pair.chosen, pair.rejected) for split in SPLITS for pair in found.pairs[split]}


def _thumbs(found: Preferences) -> set[tuple[str, bool]]:
    return {(thumb.output, thumb.desirable) for split in SPLITS for thumb in found.thumbs[split]}


# --- pairs ---


async def test_a_moderators_text_is_preferred_over_the_bots(taught: Chronicle, data: Path) -> None:
    turn = await _said(taught, "Edited?", "The bot's.")
    await _decide(taught, turn, "edit", "The moderator's.")
    _, found = await _collect(taught, data)
    assert _pairs(found) == {"Edited?": ("The moderator's.", "The bot's.")}
    (pair,) = (pair for split in SPLITS for pair in found.pairs[split])
    lineage = pair.lineage or {}
    assert lineage["turn"] == lineage["rejected_turn"] == turn and lineage["origin"] == "edit"
    assert lineage["review"] and lineage["community"] == taught.community_id


async def test_an_edit_that_changes_nothing_prefers_nothing(taught: Chronicle, data: Path) -> None:
    turn = await _said(taught, "Edited?", "The bot's.")
    await _decide(taught, turn, "edit", "The bot's.")
    _, found = await _collect(taught, data)
    assert _pairs(found) == {}


async def test_of_two_answers_to_a_question_the_one_voted_up_is_preferred(
    taught: Chronicle, data: Path
) -> None:
    first = await _said(taught, "Again?", "The first.")
    second = await _said(taught, "Again?", "The second.", regenerates_id=first)
    third = await _said(taught, "Again?", "The third.", regenerates_id=first)
    await taught.vote(first, -1)
    await taught.vote(second, 1)
    await taught.vote(third, 1, by="ben")
    await taught.vote(third, 1, by="cy")
    _, found = await _collect(taught, data)
    assert _pairs(found) == {"Again?": ("The third.", "The first.")}


async def test_two_answers_that_were_both_voted_down_prefer_nothing(taught: Chronicle, data: Path) -> None:
    first = await _said(taught, "Again?", "The first.")
    second = await _said(taught, "Again?", "The second.", regenerates_id=first)
    for turn in (first, second):
        await taught.vote(turn, -1)
    _, found = await _collect(taught, data)
    assert _pairs(found) == {}


async def test_a_review_outranks_the_votes(taught: Chronicle, data: Path) -> None:
    first = await _said(taught, "Again?", "Liked, but wrong.")
    second = await _said(taught, "Again?", "Disliked, but right.", regenerates_id=first)
    await taught.vote(first, 1)
    await taught.vote(second, -1)
    await _decide(taught, first, "reject")
    await _decide(taught, second, "approve")
    _, found = await _collect(taught, data)
    assert _pairs(found) == {"Again?": ("Disliked, but right.", "Liked, but wrong.")}
    assert {("Liked, but wrong.", False), ("Disliked, but right.", True)} <= _thumbs(found)


# --- thumbs ---


async def test_votes_alone_make_thumbs_and_a_draw_makes_none(taught: Chronicle, data: Path) -> None:
    liked, disliked, drawn = [await _said(taught, f"{name}?", f"{name}.") for name in ("up", "down", "draw")]
    await _said(taught, "nobody?", "nobody.")
    await taught.vote(liked, 1)
    await taught.vote(disliked, -1)
    await taught.vote(drawn, 1, by="ben")
    await taught.vote(drawn, -1, by="cy")
    _, found = await _collect(taught, data)
    assert _thumbs(found) == {("up.", True), ("down.", False)} | {(f"Answer {n}.", True) for n in range(8)}
    origins = {
        thumb.output: (thumb.lineage or {})["origin"] for split in SPLITS for thumb in found.thumbs[split]
    }
    assert (origins["up."], origins["Answer 1."]) == ("votes", "review")


async def test_personal_data_in_what_nobody_approved_is_masked(taught: Chronicle, data: Path) -> None:
    rejected = await _said(taught, "Rejected?", "Write to jan.kowalski@poczta.pl.")
    await _decide(taught, rejected, "reject")
    edited = await _said(taught, "Edited?", "Ask anna.nowak@poczta.pl about it.")
    await _decide(taught, edited, "edit", "Ask in the forum about it.")
    _, found = await _collect(taught, data)
    assert ("Write to [e-mail].", False) in _thumbs(found)
    assert _pairs(found)["Edited?"] == ("Ask in the forum about it.", "Ask [e-mail] about it.")


async def test_an_edited_answer_is_undesirable_and_the_moderators_desirable(
    taught: Chronicle, data: Path
) -> None:
    turn = await _said(taught, "Edited?", "The bot's.")
    await taught.vote(turn, 1)
    await _decide(taught, turn, "edit", "The moderator's.")
    _, found = await _collect(taught, data)
    assert {("The bot's.", False), ("The moderator's.", True)} <= _thumbs(found)


# --- consent ---


async def test_who_opted_out_is_absent_and_their_votes_do_not_count(taught: Chronicle, data: Path) -> None:
    own = await _said(taught, "Mine?", "Mine.", by="dee")
    voted = await _said(taught, "Voted?", "Voted.")
    await taught.vote(own, 1)
    await taught.vote(voted, 1, by="dee")
    async with taught.database.session() as session:
        await consent.opt_out(session, taught.members["dee"])
    _, found = await _collect(taught, data)
    assert not {"Mine.", "Voted."} & {text for text, _ in _thumbs(found)}


async def test_a_community_that_does_not_allow_training_is_absent(taught: Chronicle, data: Path) -> None:
    turn = await _said(taught, "Liked?", "Liked.")
    await taught.vote(turn, 1)
    splits, _ = await _collect(taught, data)
    async with taught.database.session() as session:
        community = await session.get(Community, taught.community_id)
        assert community is not None
        community.training_allowed = False
        session.add(community)
    async with taught.database.session(read_only=True) as session:
        found = await preferences.collect(session, splits, SETTINGS, default_persona="plain")
    assert _thumbs(found) == set() and _pairs(found) == {}


# --- splits ---


async def test_what_examines_adapters_is_never_trained_on(taught: Chronicle, data: Path) -> None:
    splits, _ = await _collect(taught, data)
    examined = splits.examination[0]
    lineage = examined.lineage or {}
    words, place = examined.instruction, lineage["conversation"]
    # the same conversation, and the same words asked in another one
    beside = await taught.answered("Beside?", answer=replace(ANSWER, answer="In it."), conversation_id=place)
    again = await _said(taught, words.upper(), "The same question.", conversation="another")
    nearly = await _said(taught, f"Hello, {words}", "Nearly the same question.", conversation="a third")
    marked = await _said(taught, "Marked?", "Held out.", held_out=True)
    for turn in (beside, again, nearly, marked):
        await taught.vote(turn, -1)
    async with taught.database.session(read_only=True) as session:
        found = await preferences.collect(session, splits, SETTINGS, default_persona="plain")
    held_back = {thumb.output for thumb in found.thumbs["examination"]}
    assert {
        "In it.",
        "The same question.",
        "Nearly the same question.",
        "Held out.",
        examined.output,
    } <= held_back
    trained = {(thumb.lineage or {})["turn"] for thumb in found.thumbs["train"]}
    assert not trained & {(pair.lineage or {})["turn"] for pair in splits.examination}


async def test_conversations_that_the_dataset_does_not_know_are_spread_over_the_splits(
    taught: Chronicle, data: Path
) -> None:
    for number in range(40):
        turn = await _said(taught, f"Thumb {number}?", f"Thumb {number}.")
        await taught.vote(turn, 1 if number % 2 else -1)
    _, found = await _collect(taught, data)
    counts = [sum((t.lineage or {})["origin"] == "votes" for t in found.thumbs[split]) for split in SPLITS]
    assert sum(counts) == 40 and all(counts) and counts[0] == max(counts) == found.votes


# --- forgotten ---


async def test_erased_words_are_in_no_frozen_preferences_any_longer(taught: Chronicle, data: Path) -> None:
    turn = await _said(taught, "Mine?", "Mine.", by="dee")
    await taught.vote(turn, 1)
    built = await _collect(taught, data)
    place = preferences.freeze(built[1], data / "datasets/community/1").folder
    assert place is not None and b"Mine." in (place / preferences.THUMBS_FILE).read_bytes()
    async with taught.database.session() as session:
        await consent.forget(session, taught.members["dee"])
    await erasure.carry_out(taught.database, data)
    assert not place.exists()


# --- frozen ---


async def test_the_same_record_freezes_to_the_same_files_once(taught: Chronicle, data: Path) -> None:
    turn = await _said(taught, "Edited?", "Wcale nie tak.")
    await _decide(taught, turn, "edit", "Właśnie tak.")
    place = data / "datasets/community/1"
    frozen = [preferences.freeze((await _collect(taught, data))[1], place) for _ in range(2)]
    assert frozen[0].content_hash == frozen[1].content_hash
    assert [path.name for path in place.iterdir() if path.is_dir()] == [
        f"preferences-{frozen[0].content_hash[:12]}"
    ]
    folder = frozen[0].folder
    assert folder is not None and files.damage(folder, frozen[0].content_hash) is None
    rows = (folder / preferences.PAIRS_FILE).read_text(encoding="utf-8").splitlines()
    row = json.loads(rows[0])
    assert (row["chosen"], row["rejected"], row["lineage"]["turn"]) == (
        "Właśnie tak.",
        "Wcale nie tak.",
        turn,
    )
    about = json.loads((folder / files.MANIFEST).read_bytes())
    assert sum(about["counts"]["pairs"].values()) == len(rows) == 1
    # and the dataset they lie in is whole
    assert files.damage(place) is None
