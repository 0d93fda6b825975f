"""A member who asked to be forgotten leaves the datasets on disk, and the adapters concerned are named."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from sqlmodel import select

from feedback import consent, journal, review
from feedback.tables import Adapter, Dataset, Deployment, Evaluation, ForgetRequest, Pair, Run
from tests.chronicle import ANSWER, Chronicle
from training import files
from training.data import dataset
from training.data.pairs import TrainingPair
from training.run import erasure
from training.settings import TrainingSettings

SETTINGS = TrainingSettings(min_pairs=4, validation_share=0.2)
SECRET = "MARMALADE"
"""A word that stands in everything the forgotten member said."""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
async def built(chronicle: Chronicle, data: Path) -> Dataset:
    """A dataset with pairs of ada and cleo, and cleo's words in the history of a pair of ada's."""
    await chronicle.approved_at_once([f"Question {n}?" for n in range(12)])
    await chronicle.approved_at_once([f"{SECRET} {n}?" for n in range(6)], by="cleo")
    await _approved(chronicle, f"{SECRET} before?", "shared", by="cleo")
    await _approved(chronicle, "And then?", "shared")
    return await _build(chronicle, data)


async def test_erased_words_leave_files_rows_and_histories_and_the_rest_stays(
    chronicle: Chronicle, data: Path, built: Dataset
) -> None:
    before = _pairs(data, built)
    assert any(SECRET in path.read_text() for path in _files(data))
    await _forget(chronicle, "cleo")
    assert await erasure.carry_out(chronicle.database, data) == ["community@1"]
    assert not any(SECRET in path.read_text() for path in _files(data))
    now = await _row(chronicle, built)
    after = _pairs(data, now)
    kept = [pair for pair in before if SECRET not in pair.instruction]
    assert [pair.instruction for pair in after] == [pair.instruction for pair in kept]
    assert [dataset.history(pair) for pair in after if pair.instruction == "And then?"] == [[]]
    assert now.content_hash != built.content_hash and now.version == built.version
    assert now.manifest == json.loads((data / now.folder / files.MANIFEST).read_bytes())
    assert sum(now.manifest["pairs"].values()) == len(after)
    assert now.manifest["erased_turns"] == 7
    async with chronicle.database.session(read_only=True) as session:
        rows = (await session.exec(select(Pair).where(Pair.content_hash == ""))).all()
    assert len(rows) == 7, "that the pairs were there stays known, their hashes do not"


async def test_the_next_dataset_is_without_the_erased_words(
    chronicle: Chronicle, data: Path, built: Dataset
) -> None:
    await _forget(chronicle, "cleo")
    await erasure.carry_out(chronicle.database, data)
    after = await _build(chronicle, data)
    assert after.version == 2
    pairs = _pairs(data, after)
    assert len(pairs) == 13 and not any(SECRET in str(pair) for pair in pairs)


async def test_a_request_is_ticked_off_when_it_is_carried_out_and_only_once(
    chronicle: Chronicle, data: Path, built: Dataset
) -> None:
    assert not await erasure.is_due(chronicle.database)
    await _forget(chronicle, "cleo")
    assert await erasure.is_due(chronicle.database)
    await erasure.carry_out(chronicle.database, data)
    assert not await erasure.is_due(chronicle.database)
    async with chronicle.database.session(read_only=True) as session:
        (request,) = (await session.exec(select(ForgetRequest))).all()
    assert request.carried_at is not None and request.pseudonym == ""
    hashed = (await _row(chronicle, built)).content_hash
    assert await erasure.carry_out(chronicle.database, data) == []
    assert (await _row(chronicle, built)).content_hash == hashed


async def test_a_question_deleted_where_it_was_asked_leaves_the_datasets_too(
    chronicle: Chronicle, data: Path, built: Dataset
) -> None:
    async with chronicle.database.session(read_only=True) as session:
        turn = (await session.exec(select(Pair.turn_id).limit(1))).one()
    async with chronicle.database.session() as session:
        await consent.erase_turn(session, turn, actor="discord")
    assert await erasure.carry_out(chronicle.database, data) == ["community@1"]
    left = {(pair.lineage or {})["turn"] for pair in _pairs(data, await _row(chronicle, built))}
    assert turn not in left and len(left) == 19
    assert await erasure.carry_out(chronicle.database, data) == []


async def test_the_adapters_that_learnt_from_the_words_are_listed_and_those_in_service_named(
    chronicle: Chronicle, data: Path, built: Dataset
) -> None:
    untouched = Dataset(name="other", version=1, folder="datasets/other/1", content_hash="x", manifest={})
    async with chronicle.database.session() as session:
        session.add(untouched)
        await session.flush()
        serving = _adapter("community", 1, built.id)
        session.add_all([serving, _adapter("other", 1, untouched.id)])
        await session.flush()
        session.add_all(
            [
                _adapter("community", 2, None, continues_id=serving.id),
                Deployment(adapter_id=serving.id, decided_by="test"),
            ]
        )
    await _forget(chronicle, "cleo")
    for _ in range(2):  # before and after it is carried out
        async with chronicle.database.session(read_only=True) as session:
            (told,) = await erasure.erasures(session)
        assert told.datasets == ("community@1",) and len(told.turns) == 7
        assert told.adapters == ("community@1", "community@2") and told.serving == ("community@1",)
        await erasure.carry_out(chronicle.database, data)
    assert told.carried_at is not None


async def test_adapters_that_only_met_the_words_as_history_are_listed_too(
    chronicle: Chronicle, data: Path
) -> None:
    await chronicle.approved_at_once([f"Question {n}?" for n in range(12)])
    await _answered(chronicle, f"{SECRET}?", "shared", by="cleo")
    later = await _approved(chronicle, "And then?", "shared")
    built = await _build(chronicle, data)
    async with chronicle.database.session() as session:
        (pair,) = (await session.exec(select(Pair).where(Pair.turn_id == later))).all()
        session.add(_adapter("community", 1, built.id))
    assert pair.split == "train", "the test needs the pair on this side"
    await _forget(chronicle, "cleo")
    assert await erasure.carry_out(chronicle.database, data) == ["community@1"]
    async with chronicle.database.session(read_only=True) as session:
        (told,) = await erasure.erasures(session)
    assert (told.datasets, told.adapters) == (("community@1",), ("community@1",))


async def test_words_that_the_manifest_shows_as_an_example_of_hygiene_leave_it(
    chronicle: Chronicle, data: Path
) -> None:
    await chronicle.approved_at_once([f"Question {n}?" for n in range(12)])
    turn = await _answered(chronicle, f"{SECRET}?", "asks back", by="cleo")
    async with chronicle.database.session() as session:
        await review.decide(session, turn, "mo", "edit", answer="Which one do you mean?")
    built = await _build(chronicle, data)
    place = data / built.folder / files.MANIFEST
    assert SECRET in place.read_text(), "the test needs an example of what was left out"
    await _forget(chronicle, "cleo")
    assert await erasure.carry_out(chronicle.database, data) == ["community@1"]
    assert SECRET not in place.read_text()
    assert SECRET not in str((await _row(chronicle, built)).manifest)


async def test_answers_that_an_examination_kept_lose_their_texts_and_keep_their_figures(
    chronicle: Chronicle, data: Path, built: Dataset
) -> None:
    asked = [{"question": f"{SECRET} 0?", "reference": SECRET, "answer": SECRET, "loss": 1.5}]
    other = [{"question": "Question 0?", "reference": "A.", "answer": "B.", "loss": 0.5}]
    async with chronicle.database.session() as session:
        run = Run(adapter_name="community", started_by="test", dataset_id=built.id, state="rejected")
        session.add(run)
        await session.flush()
        session.add(Evaluation(run_id=run.id or 0, subject="base", answers=asked + other))
    await _forget(chronicle, "cleo")
    await erasure.carry_out(chronicle.database, data)
    async with chronicle.database.session(read_only=True) as session:
        (evaluation,) = (await session.exec(select(Evaluation))).all()
    assert evaluation.answers == [{"question": "", "reference": "", "answer": "", "loss": 1.5}, *other]


async def test_a_machine_without_the_datasets_leaves_the_request_to_the_one_that_has_them(
    chronicle: Chronicle, data: Path, built: Dataset
) -> None:
    await _forget(chronicle, "cleo")
    assert await erasure.carry_out(chronicle.database, data.with_name("elsewhere")) == []
    assert await erasure.is_due(chronicle.database)


async def test_someone_who_never_trained_anything_is_forgotten_without_touching_a_file(
    chronicle: Chronicle, data: Path, built: Dataset
) -> None:
    await chronicle.answered("Only asked?", by="dora")
    await _forget(chronicle, "dora")
    assert await erasure.carry_out(chronicle.database, data) == []
    assert (await _row(chronicle, built)).content_hash == built.content_hash
    assert not await erasure.is_due(chronicle.database)


def _adapter(name: str, version: int, dataset_id: int | None, continues_id: int | None = None) -> Adapter:
    return Adapter(
        name=name,
        version=version,
        folder="",
        content_hash="h",
        base_model="tiny",
        base_revision="r",
        dataset_id=dataset_id,
        continues_id=continues_id,
        state="promoted",
    )


async def _answered(chronicle: Chronicle, question: str, conversation: str, *, by: str = "ada") -> int:
    async with chronicle.database.session() as session:
        place = await journal.conversation(session, chronicle.community_id, conversation)
    said = replace(ANSWER, answer=f"This is about {question[:-1]} and its place in the house.")
    return await chronicle.answered(question, answer=said, conversation_id=place.id, by=by)


async def _approved(chronicle: Chronicle, question: str, conversation: str, *, by: str = "ada") -> int:
    turn = await _answered(chronicle, question, conversation, by=by)
    async with chronicle.database.session() as session:
        await review.decide(session, turn, "mo", "approve")
    return turn


async def _forget(chronicle: Chronicle, name: str) -> None:
    async with chronicle.database.session() as session:
        await consent.forget(session, await chronicle.member(name))


async def _build(chronicle: Chronicle, data: Path) -> Dataset:
    return await dataset.build(
        chronicle.database, data, name="community", settings=SETTINGS, default_persona="plain"
    )


async def _row(chronicle: Chronicle, built: Dataset) -> Dataset:
    async with chronicle.database.session(read_only=True) as session:
        return await session.get_one(Dataset, built.id)


def _pairs(data: Path, built: Dataset) -> Sequence[TrainingPair]:
    splits = dataset.load(data, built)
    return sorted(
        splits.train + splits.validation + splits.examination, key=lambda pair: (pair.lineage or {})["turn"]
    )


def _files(data: Path) -> list[Path]:
    return [path for path in (data / "datasets").rglob("*") if path.is_file() and path.suffix != ".lock"]
