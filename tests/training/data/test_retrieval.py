"""Pairs with the notes that retrieval gives them: which passages stand there, and which never do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlmodel import select

from bot.answering.prompt import build_prompt
from bot.knowledge.knowledge import Knowledge, note_of
from bot.knowledge.training_lookup import TrainingLookup
from feedback import consent
from feedback.passages import Chunk
from feedback.tables import Dataset, Evaluation
from tests.chronicle import Chronicle
from tests.shelf import shelve
from tests.training import finished
from training.data import dataset, retrieval
from training.data.dataset import Splits
from training.data.pairs import TrainingPair
from training.run import erasure, report
from training.settings import TrainingSettings

SETTINGS = TrainingSettings(min_pairs=4, validation_share=0.2, noted_share=1, missing_note_share=0)
TOPICS = ("basil", "mint", "rosemary", "thyme", "sage", "parsley", "chives", "oregano", "dill", "tarragon")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


async def test_another_wording_brings_the_answer_and_other_answers_distract(
    chronicle: Chronicle, data: Path
) -> None:
    await _garden(chronicle)
    splits = await _load(chronicle, data)
    for pair in splits.train:
        told = retrieval.notes(pair)
        assert pair.output in [note.text for note in told], pair.instruction
        assert len({note.text for note in told}) > 1, pair.instruction


async def test_a_pair_never_stands_in_its_own_notes_where_another_wording_has_its_answer(
    chronicle: Chronicle, data: Path
) -> None:
    await _garden(chronicle)
    splits = await _load(chronicle, data)
    learnt = splits.train + splits.validation
    answers = [pair.output for pair in learnt]
    worded_twice = [pair for pair in learnt if answers.count(pair.output) > 1]
    assert len(worded_twice) > 10
    assert all(_turn(pair) not in _turns(pair) for pair in worded_twice)


async def test_an_answer_with_one_wording_stands_beside_its_question_so_that_notes_are_of_use(
    chronicle: Chronicle, data: Path
) -> None:
    for topic in TOPICS:
        await chronicle.approved(f"How often do I water {topic}?", _advice(topic), conversation=topic)
    splits = await _load(chronicle, data)
    assert all(pair.output in [note.text for note in retrieval.notes(pair)] for pair in splits.train)


async def test_a_share_of_the_pairs_has_notes_of_which_none_is_right(
    chronicle: Chronicle, data: Path
) -> None:
    await _garden(chronicle)
    splits = await _load(chronicle, data, settings=SETTINGS.model_copy(update={"missing_note_share": 1.0}))
    for pair in splits.train:
        told = retrieval.notes(pair)
        assert told and pair.output not in [note.text for note in told], pair.instruction


async def test_a_share_of_the_pairs_is_trained_without_notes_and_all_are_examined_with_them(
    chronicle: Chronicle, data: Path
) -> None:
    await _garden(chronicle)
    splits = await _load(chronicle, data, settings=SETTINGS.model_copy(update={"noted_share": 0.5}))
    noted = [bool(retrieval.notes(pair)) for pair in splits.train]
    assert 0.2 * len(noted) < sum(noted) < 0.8 * len(noted)
    assert splits.examination and all(retrieval.notes(pair) for pair in splits.examination)


async def test_training_sees_no_words_of_the_examination(chronicle: Chronicle, data: Path) -> None:
    await _garden(chronicle)
    splits = await _load(chronicle, data)
    assert splits.examination
    examined = {_turn(pair) for pair in splits.examination}
    assert all(_turns(pair).isdisjoint(examined) for pair in splits.train + splits.validation)


async def test_a_question_is_examined_with_the_very_prompt_that_a_member_gets(
    chronicle: Chronicle, data: Path
) -> None:
    await _garden(chronicle)
    await chronicle.approved("When shall mint get water?", _advice("mint"), held_out=True, conversation="h")
    await shelve(chronicle.database, chronicle.community_id, Chunk("Mint grows best in half shade."))
    pair = _asked(await _load(chronicle, data), "When shall mint get water?")
    knowledge = Knowledge(chronicle.database, None)
    found = await knowledge.retrieve(chronicle.community_id, pair.instruction, "en")
    served = build_prompt(
        persona="plain",
        mode="default",
        language="en",
        history=[],
        question=pair.instruction,
        count_tokens=lambda messages: 0,
        budget=10_000,
        notes=[note_of(source) for source in found],
    )
    assert dataset.messages(pair)[:-1] == served.messages
    assert [note.passage for note in retrieval.notes(pair)] == [source.passage_id for source in found]


async def test_notes_give_way_from_the_last_one_when_a_pair_is_too_long(
    chronicle: Chronicle, data: Path
) -> None:
    await _garden(chronicle)
    pair = (await _load(chronicle, data)).train[0]
    first = retrieval.notes(pair)[:1]
    room = sum(len(message["content"]) for message in dataset.messages(retrieval.with_notes(pair, first)))

    def fits(one: TrainingPair) -> bool:
        return sum(len(message["content"]) for message in dataset.messages(one)) <= room

    assert retrieval.notes(dataset.fitted(pair, fits)) == first


async def test_the_same_record_gives_the_same_dataset(chronicle: Chronicle, data: Path) -> None:
    await _garden(chronicle)
    first, again = await _build(chronicle, data), await _build(chronicle, data)
    assert (first.version, again.version) == (1, 1)
    assert first.manifest["notes"]["right"] > 0


async def test_without_the_setting_pairs_have_no_notes(chronicle: Chronicle, data: Path) -> None:
    await _garden(chronicle)
    splits = await _load(chronicle, data, settings=SETTINGS.model_copy(update={"notes": False}))
    assert not any(retrieval.notes(pair) for pair in _all(splits))


async def test_packaged_unanswerable_questions_get_notes_that_do_not_answer_them(
    chronicle: Chronicle, data: Path
) -> None:
    await _garden(chronicle)
    closed = Chunk("Tomorrow the garden is closed; nobody knows what will be next year.")
    await shelve(chronicle.database, chronicle.community_id, closed)
    settings = SETTINGS.model_copy(update={"not_knowing_share": 0.3})
    splits = await _load(chronicle, data, settings=settings)
    packaged = [pair for pair in splits.train if "packaged" in (pair.lineage or {})]
    assert any(retrieval.notes(pair) for pair in packaged)


async def test_forget_me_takes_a_member_s_words_out_of_the_notes_of_others(
    chronicle: Chronicle, data: Path
) -> None:
    await _garden(chronicle)
    secret = await chronicle.approved("How often does MARMALADE need basil?", _advice("basil"), by="cleo")
    built = await _build(chronicle, data)
    assert any(secret in _turns(pair) for pair in _all(dataset.load(data, built)))
    member = await chronicle.member("cleo")
    async with chronicle.database.session() as session:
        await consent.forget(session, member)
    assert await erasure.carry_out(chronicle.database, data) == ["community@1"]
    assert not any("MARMALADE" in path.read_text() for path in (data / built.folder).glob("*.jsonl"))


async def test_answers_and_reports_that_may_repeat_a_forgotten_note_go_too(
    chronicle: Chronicle, data: Path
) -> None:
    await _garden(chronicle)
    secret = await chronicle.approved("How often does MARMALADE need basil?", _advice("basil"), by="cleo")
    asked = "How much MARMALADE does basil need?"
    await chronicle.approved(asked, "None.", held_out=True, conversation="h")
    built = await _build(chronicle, data)
    assert secret in _turns(_asked(dataset.load(data, built), asked))
    run = await finished.run(chronicle.database, dataset_id=built.id, questions=[asked], first_turn=9000)
    page = await report.write(chronicle.database, data, run)
    member = await chronicle.member("cleo")
    async with chronicle.database.session() as session:
        await consent.forget(session, member)
    await erasure.carry_out(chronicle.database, data)
    assert not page.exists()
    async with chronicle.database.session(read_only=True) as session:
        kept = (await session.exec(select(Evaluation))).all()
    assert kept and all(answer["answer"] == "" for one in kept for answer in one.answers[:1])


async def _garden(chronicle: Chronicle) -> None:
    """Ten answers, each approved in three wordings, each wording in a conversation of its own."""
    for topic in TOPICS:
        for wording in ("How often do I water {}?", "does {} need much water", "watering {}, any advice"):
            question = wording.format(topic)
            await chronicle.approved(question, _advice(topic), conversation=question)


def _advice(topic: str) -> str:
    return f"Every {len(topic)} days, in the morning, as {topic} rots when it stands in water."


async def _build(chronicle: Chronicle, data: Path, **how: Any) -> Dataset:
    values: dict[str, Any] = {
        "name": "community",
        "settings": SETTINGS,
        "default_persona": "plain",
        "lookup": TrainingLookup(Knowledge(chronicle.database, None), 3),
    }
    return await dataset.build(chronicle.database, data, **(values | how))


async def _load(chronicle: Chronicle, data: Path, **how: Any) -> Splits:
    return dataset.load(data, await _build(chronicle, data, **how))


def _all(splits: Splits) -> list[TrainingPair]:
    return splits.train + splits.validation + splits.examination


def _asked(splits: Splits, question: str) -> TrainingPair:
    (pair,) = (pair for pair in _all(splits) if pair.instruction == question)
    return pair


def _turn(pair: TrainingPair) -> int:
    return int((pair.lineage or {})["turn"])


def _turns(pair: TrainingPair) -> set[int]:
    return {note.turn for note in retrieval.notes(pair) if note.turn is not None}
