"""Datasets: the same record gives the same bytes, examination and training never meet, lineage is kept."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any, get_args

import pytest
from sqlmodel import select

from feedback import consent, journal, review
from feedback.database import Database
from feedback.tables import Audit, Community, Dataset, Pair
from tests.chronicle import Chronicle
from training import files
from training.data import dataset
from training.data.dataset import SPLITS, Splits
from training.data.pairs import TrainingPair
from training.errors import NotEnoughPairs, PairsError
from training.settings import HygieneRule, HygieneSettings, TrainingSettings

UNTOUCHED = HygieneSettings(off=",".join(get_args(HygieneRule)))
"""What hygiene would leave out is not these tests' subject."""
SETTINGS = TrainingSettings(min_pairs=4, validation_share=0.2, hygiene=UNTOUCHED)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


# --- what is in it ---


async def test_every_approved_turn_is_in_exactly_one_split_with_its_lineage(
    chronicle: Chronicle, data: Path
) -> None:
    turns = [
        await chronicle.approved(f"Question {n}?", f"Answer {n}.", conversation=f"{n}") for n in range(9)
    ]
    await chronicle.answered("Nobody decided on this one?")
    rejected = await chronicle.answered("A bad answer?")
    async with chronicle.database.session() as session:
        await review.decide(session, rejected, "mo", "reject")
    built = await _build(chronicle, data)
    splits = dataset.load(data, built)
    found = _all(splits)
    assert sorted(_turn(pair) for pair in found) == turns
    assert {pair.instruction: pair.output for pair in found} == {
        f"Question {n}?": f"Answer {n}." for n in range(9)
    }
    assert all(len(split) >= 1 for split in (splits.train, splits.validation, splits.examination))
    lineage = found[0].lineage or {}
    assert lineage["persona"] == "plain" and lineage["mode"] == "default"
    assert lineage["community"] == chronicle.community_id
    assert (built.name, built.version, splits.dataset) == ("community", 1, "community@1")


async def test_an_edited_answer_is_what_the_model_learns(chronicle: Chronicle, data: Path) -> None:
    await _fill(chronicle, 8)
    turn_id = await chronicle.answered("Edited?", conversation_id=await _conversation(chronicle, "edited"))
    async with chronicle.database.session() as session:
        await review.decide(session, turn_id, "mo", "edit", answer="The better answer.")
    pairs = _all(dataset.load(data, await _build(chronicle, data)))
    assert [pair.output for pair in pairs if pair.instruction == "Edited?"] == ["The better answer."]


async def test_members_who_opted_out_and_communities_that_do_not_allow_training_are_absent(
    chronicle: Chronicle, data: Path
) -> None:
    await _fill(chronicle, 8)
    for n in range(3):
        await chronicle.approved(f"By cleo {n}?", conversation=f"cleo {n}", by="cleo")
    elsewhere = await Chronicle(chronicle.database).open(training_allowed=True)
    async with chronicle.database.session() as session:
        await consent.opt_out(session, await chronicle.member("cleo"))
        other = Community(platform="telegram", external_id="chat", training_allowed=False)
        session.add(other)
        await session.flush()
        elsewhere.community_id = other.id or 0
    elsewhere.told = 100
    for n in range(3):
        await elsewhere.approved(f"Elsewhere {n}?", conversation=f"{n}")
    asked = {pair.instruction for pair in _all(dataset.load(data, await _build(chronicle, data)))}
    assert asked == {f"Question {n}?" for n in range(8)}


async def test_the_persona_of_a_community_is_the_one_its_pairs_are_trained_with(
    chronicle: Chronicle, data: Path
) -> None:
    async with chronicle.database.session() as session:
        community = (await session.exec(select(Community))).one()
        community.persona = "You are a pirate."
        session.add(community)
    await _fill(chronicle, 8)
    pair = dataset.load(data, await _build(chronicle, data)).train[0]
    assert dataset.messages(pair)[0] == {"role": "system", "content": "You are a pirate."}


async def test_too_few_pairs_say_what_was_left_out_how_many_and_why(chronicle: Chronicle, data: Path) -> None:
    await _fill(chronicle, 3)
    answer = "Basil is watered in the morning, and the leaves of it should never be wet."
    for n in range(2):
        await chronicle.approved(f"Jak podlewać {n}?", answer, conversation=f"pl {n}", language="pl")
    with pytest.raises(NotEnoughPairs) as caught:
        await _build(chronicle, data, settings=TrainingSettings(min_pairs=4, validation_share=0.2))
    assert caught.value.left_out == {
        "wrong-language (labelled pl, written in en)": 2,
        "kept for the examination": 1,
    }
    assert "Left out were 3: 2 wrong-language (labelled pl, written in en), 1 kept for the ex" in str(
        caught.value
    )


async def test_texts_of_every_kind_survive_the_way_into_the_files(chronicle: Chronicle, data: Path) -> None:
    await _fill(chronicle, 8)
    said = "Zażółć\r\n🦙 \"'\u2028 half \ud83e NUL \0"
    await chronicle.approved(said, said, conversation="odd", language="pl", task_type="code", mode="tldr")
    (pair,) = [p for p in _all(dataset.load(data, await _build(chronicle, data))) if p.language == "pl"]
    assert pair.instruction == pair.output == "Zażółć\r\n🦙 \"'\u2028 half ? NUL \ufffd"
    assert dataset.messages(pair)[0]["content"].endswith(
        "Answer in one or two sentences. Odpowiadaj po polsku."
    )


async def test_what_a_model_thought_before_it_answered_is_not_trained_on(
    chronicle: Chronicle, data: Path
) -> None:
    await _fill(chronicle, 8)
    for question, thought in (
        ("How much?", "<think>\nA product.\n</think>\n\n"),
        ("Why?", "A reason.\n</think>\n"),
    ):
        await chronicle.approved(question, f"{thought}It is so.", conversation="reasoned")
    why = next(p for p in _all(dataset.load(data, await _build(chronicle, data))) if p.instruction == "Why?")
    assert why.output == "It is so."
    assert [said["answer"] for said in dataset.history(why)] == ["It is so."]


async def test_too_few_pairs_are_told_and_leave_nothing(chronicle: Chronicle, data: Path) -> None:
    await _fill(chronicle, 3)
    with pytest.raises(NotEnoughPairs, match=r"^2 approved pairs are ready, and .* needs at least 4\."):
        await _build(chronicle, data)
    assert not data.exists()
    async with chronicle.database.session(read_only=True) as session:
        assert (await session.exec(select(Dataset))).all() == []


# --- versions ---


async def test_the_same_record_gives_the_same_version(chronicle: Chronicle, data: Path) -> None:
    await _fill(chronicle, 8)
    first = await _build(chronicle, data)
    before = _bytes(data / first.folder)
    await chronicle.answered("A question that nobody approved?")
    again = await _build(chronicle, data)
    assert (again.id, again.version) == (first.id, 1)
    assert _bytes(data / first.folder) == before
    async with chronicle.database.session(read_only=True) as session:
        built = (await session.exec(select(Audit).where(Audit.action == "dataset.add"))).all()
    assert [entry.subject for entry in built] == ["community@1"]


async def test_the_same_record_gives_the_same_bytes_in_another_place(
    chronicle: Chronicle, data: Path
) -> None:
    await _fill(chronicle, 12)
    first = await _build(chronicle, data)
    # as on another machine: neither the files nor the rows of the first build are there
    async with chronicle.database.session() as session:
        for pair in (await session.exec(select(Pair))).all():
            await session.delete(pair)
        await session.flush()
        await session.delete((await session.exec(select(Dataset))).one())
    second = await _build(chronicle, data.with_name("other"))
    assert second.content_hash == first.content_hash
    assert _bytes(data.with_name("other") / second.folder) == _bytes(data / first.folder)


async def test_something_new_makes_a_new_version_and_leaves_the_old_one(
    chronicle: Chronicle, data: Path
) -> None:
    await _fill(chronicle, 8)
    first = await _build(chronicle, data)
    before = _bytes(data / first.folder)
    new = await chronicle.approved("A new one?", conversation="new")
    second = await _build(chronicle, data)
    assert (second.version, second.name) == (2, "community")
    assert new in {_turn(pair) for pair in _all(dataset.load(data, second))}
    assert _bytes(data / first.folder) == before
    assert len(_all(dataset.load(data, first))) == 8
    async with chronicle.database.session() as session:
        await review.undo(session, new, "mo")
    assert (await _build(chronicle, data)).version == 1


async def test_each_name_has_versions_of_its_own(chronicle: Chronicle, data: Path) -> None:
    await _fill(chronicle, 8)
    await _build(chronicle, data)
    other = await _build(chronicle, data, name="other")
    assert dataset.label(other) == "other@1" and other.folder == "datasets/other/1"


async def test_the_record_knows_every_pair_of_a_dataset(chronicle: Chronicle, data: Path) -> None:
    await _fill(chronicle, 8)
    built = await _build(chronicle, data)
    splits = dataset.load(data, built)
    async with chronicle.database.session(read_only=True) as session:
        rows = (await session.exec(select(Pair).where(Pair.dataset_id == built.id))).all()
    in_files = {
        (_turn(pair), (pair.lineage or {})["review"], s) for s in SPLITS for pair in getattr(splits, s)
    }
    assert {(row.turn_id, row.review_id, row.split) for row in rows} == in_files
    assert built.manifest["pairs"] == Counter(row.split for row in rows)
    assert built.manifest == json.loads((data / built.folder / files.MANIFEST).read_bytes())


async def test_two_builds_at_once_make_one_version(
    chronicle: Chronicle, data: Path, database_url: str
) -> None:
    await _fill(chronicle, 8)
    second = Database(database_url)
    try:
        both = await asyncio.gather(_build(chronicle, data), _build(Chronicle(second), data))
    finally:
        await second.close()
    assert [built.version for built in both] == [1, 1]
    assert [path.name for path in (data / "datasets" / "community").iterdir()] == ["1"]


# --- examination and training never meet ---


async def test_no_conversation_is_in_examination_and_training(chronicle: Chronicle, data: Path) -> None:
    for n in range(40):
        await chronicle.approved(f"Question {n}?", conversation=f"{n % 13}")
    splits = dataset.load(data, await _build(chronicle, data))
    assert _conversations(splits.examination)
    assert not _conversations(splits.examination) & _conversations(splits.train + splits.validation)
    assert not _conversations(splits.train) & _conversations(splits.validation)


async def test_no_question_is_in_examination_and_training(chronicle: Chronicle, data: Path) -> None:
    for n in range(60):
        spoken = "  what IS lora? " if n % 2 else "What is LoRA?"
        await chronicle.approved(f"{spoken} ({n % 20})", conversation=f"{n}")
    splits = dataset.load(data, await _build(chronicle, data))
    asked = Counter(_question(pair) for pair in splits.examination)
    assert asked and set(asked.values()) == {3}, "who asks the same examines together"
    assert not set(asked) & {_question(pair) for pair in splits.train + splits.validation}


async def test_the_same_question_about_another_text_may_be_trained_on(
    chronicle: Chronicle, data: Path
) -> None:
    for n in range(12):
        await chronicle.approved("Summarise:", conversation=f"{n}", input=f"Text {n}.")
    splits = dataset.load(data, await _build(chronicle, data))
    assert splits.examination and len(_all(splits)) == 12


async def test_held_out_turns_are_the_examination_and_their_conversations_are_not_trained_on(
    chronicle: Chronicle, data: Path
) -> None:
    await _fill(chronicle, 10)
    for n in range(2):
        await chronicle.approved(f"Held out {n}?", conversation=f"held {n}", held_out=True)
    beside = await chronicle.approved("Said in passing?", conversation="held 0")
    built = await _build(chronicle, data)
    splits = dataset.load(data, built)
    assert {pair.instruction for pair in splits.examination} == {"Held out 0?", "Held out 1?"}
    assert beside not in {_turn(pair) for pair in _all(splits)}
    assert built.manifest["left_out"]["same conversation as examination"] == 1


async def test_what_is_held_out_stays_so_and_what_is_trained_on_stays_so_while_the_record_grows(
    chronicle: Chronicle, data: Path
) -> None:
    examined: set[int] = set()
    trained: set[int] = set()
    await _fill(chronicle, 7)
    for n in range(7, 40):
        await chronicle.approved(f"Question {n}?", conversation=f"{n}")
        if n % 3 == 0:
            splits = dataset.load(data, await _build(chronicle, data))
            now_examined = {_turn(pair) for pair in splits.examination}
            now_trained = {_turn(pair) for pair in splits.train + splits.validation}
            assert examined <= now_examined and trained <= now_trained, f"{n} conversations"
            examined, trained = now_examined, now_trained
    assert 3 <= len(examined) <= 16


async def test_a_conversation_that_goes_on_stays_on_its_side(chronicle: Chronicle, data: Path) -> None:
    await _fill(chronicle, 10)
    first = dataset.load(data, await _build(chronicle, data))
    side = {pair.instruction.split()[1][:-1]: "examination" for pair in first.examination}
    for n in range(10):
        await chronicle.approved(f"More on {n}?", conversation=f"{n}")
    second = dataset.load(data, await _build(chronicle, data))
    examined = {pair.instruction for pair in second.examination}
    assert {f"More on {n}?" for n in side} == {question for question in examined if "More" in question}


async def test_another_seed_holds_others_back(chronicle: Chronicle, data: Path) -> None:
    await _fill(chronicle, 30)
    sides = set()
    for seed in range(4):
        built = await _build(chronicle, data, settings=SETTINGS.model_copy(update={"seed": seed}))
        sides.add(tuple(sorted(_turn(pair) for pair in dataset.load(data, built).examination)))
    assert len(sides) > 1


async def test_one_conversation_is_split_by_its_questions(chronicle: Chronicle, data: Path) -> None:
    for n in range(20):
        await chronicle.approved(f"Question {n % 10}?", conversation="all of it")
    built = await _build(chronicle, data)
    splits = dataset.load(data, built)
    assert built.manifest["grouped_by"] == "question"
    assert splits.examination and len(splits.train) >= 10
    asked = {_question(pair) for pair in splits.examination}
    assert not asked & {_question(pair) for pair in splits.train + splits.validation}


@pytest.mark.parametrize("seed", range(5))
async def test_one_long_conversation_among_short_ones_is_trained_on(
    seed: int, chronicle: Chronicle, data: Path
) -> None:
    for n in range(20):
        await chronicle.approved(f"Question {n}?", conversation="long")
    for n in range(3):
        await chronicle.approved(f"Short {n}?", conversation=f"short {n}")
    built = await _build(chronicle, data, settings=SETTINGS.model_copy(update={"seed": seed}))
    splits = dataset.load(data, built)
    assert 1 <= len(splits.examination) <= 3 and len(splits.train) >= 20


# --- damage, and crashes in between ---


async def test_a_corrupted_line_is_named(chronicle: Chronicle, data: Path) -> None:
    await _fill(chronicle, 12)
    built = await _build(chronicle, data)
    train = data / built.folder / "train.jsonl"
    lines = train.read_bytes().splitlines(keepends=True)
    train.write_bytes(b"".join([*lines[:2], lines[2][:20] + b"\n", *lines[3:]]))
    with pytest.raises(PairsError, match=r"train\.jsonl, line 3: this is not JSON"):
        dataset.load(data, built)


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (lambda place: (place / "train.jsonl").unlink(), r"the file train\.jsonl is missing"),
        (lambda place: (place / "validation.jsonl").write_text(""), r"the file validation\.jsonl is corrupt"),
        (lambda place: (place / "manifest.json").write_text("{}"), r"manifest\.json is not the one"),
        (shutil.rmtree, r"the folder is missing"),
    ],
)
async def test_a_damaged_dataset_is_refused_and_made_anew_by_the_next_build(
    harm: Any, told: str, chronicle: Chronicle, data: Path
) -> None:
    await _fill(chronicle, 12)
    built = await _build(chronicle, data)
    before = _bytes(data / built.folder)
    harm(data / built.folder)
    with pytest.raises(PairsError, match=rf"The dataset community@1 in .* cannot be used: {told}"):
        dataset.load(data, built)
    assert (await _build(chronicle, data)).id == built.id
    assert _bytes(data / built.folder) == before


async def test_a_pair_that_was_changed_but_can_be_read_is_noticed(chronicle: Chronicle, data: Path) -> None:
    await _fill(chronicle, 12)
    built = await _build(chronicle, data)
    train = data / built.folder / "train.jsonl"
    train.write_bytes(train.read_bytes().replace(b"An answer.", b"An insult.", 1))
    with pytest.raises(PairsError, match=r"the file train\.jsonl is corrupt"):
        dataset.load(data, built)


async def test_a_crash_between_files_and_row_is_made_good_by_the_next_build(
    chronicle: Chronicle, data: Path
) -> None:
    await _fill(chronicle, 12)
    shelf = data / "datasets" / "community"
    (shelf / "1").mkdir(parents=True)
    (shelf / "1" / "train.jsonl").write_text("renamed into place, but its row was never committed")
    built = await _build(chronicle, data)
    assert built.version == 1
    assert len(_all(dataset.load(data, built))) == 12


async def test_a_folder_that_cannot_be_made_is_told_and_leaves_no_row(
    chronicle: Chronicle, data: Path
) -> None:
    await _fill(chronicle, 12)
    shelf = data / "datasets"
    shelf.mkdir(parents=True)
    (shelf / "community").write_text("a file where the folder should be")
    with pytest.raises(PairsError, match=r"Writing the dataset to .*community failed"):
        await _build(chronicle, data)
    async with chronicle.database.session(read_only=True) as session:
        assert (await session.exec(select(Dataset))).all() == []
        assert (await session.exec(select(Pair))).all() == []
    (shelf / "community").unlink()
    assert (await _build(chronicle, data)).version == 1


async def _fill(chronicle: Chronicle, count: int) -> None:
    """Approved turns, each in a conversation of its own."""
    for n in range(count):
        await chronicle.approved(f"Question {n}?", conversation=f"{n}")


async def _conversation(chronicle: Chronicle, name: str) -> int:
    async with chronicle.database.session() as session:
        return (await journal.conversation(session, chronicle.community_id, name)).id or 0


async def _build(
    chronicle: Chronicle, data: Path, *, name: str = "community", settings: TrainingSettings = SETTINGS
) -> Dataset:
    return await dataset.build(
        chronicle.database, data, name=name, settings=settings, default_persona="plain"
    )


def _all(splits: Splits) -> list[TrainingPair]:
    return splits.train + splits.validation + splits.examination


def _turn(pair: TrainingPair) -> int:
    return int((pair.lineage or {})["turn"])


def _conversations(pairs: list[TrainingPair]) -> set[int]:
    return {(pair.lineage or {})["conversation"] for pair in pairs}


def _question(pair: TrainingPair) -> str:
    return " ".join(pair.instruction.casefold().split())


def _bytes(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}
