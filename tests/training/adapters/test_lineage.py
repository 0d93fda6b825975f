"""Lineage both ways: from an adapter to the words behind it, from words to every adapter."""

from __future__ import annotations

from typing import Any

import pytest
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from feedback import consent
from feedback.errors import NotFound, UsageError
from feedback.tables import Adapter, Dataset, Member, Pair, Review, Run
from tests.chronicle import Chronicle
from training.adapters import lineage


@pytest.fixture
async def shelf(chronicle: Chronicle) -> Shelf:
    """Three approved turns of two members."""
    shelf = Shelf(chronicle)
    for name, by in (("first", "ada"), ("second", "ada"), ("third", "ben")):
        shelf.turns[name] = await chronicle.approved(f"The {name}?", conversation=name, by=by)
    return shelf


class Shelf:
    """Writes datasets and adapters down as a run does, without training any."""

    def __init__(self, chronicle: Chronicle) -> None:
        self.chronicle, self.database = chronicle, chronicle.database
        self.turns: dict[str, int] = {}

    async def dataset(self, name: str, **splits: str) -> int:
        """The id of a dataset's next version that has each named turn in that split."""
        async with self.database.session() as session:
            known = (await session.exec(select(Dataset).where(Dataset.name == name))).all()
            dataset = Dataset(name=name, version=len(known) + 1, folder="", content_hash=f"hash of {name}")
            session.add(dataset)
            await session.flush()
            for turn, split in splits.items():
                turn_id = self.turns[turn]
                review = (await session.exec(select(Review).where(Review.turn_id == turn_id))).one()
                pair = Pair(
                    dataset_id=dataset.id or 0,
                    turn_id=turn_id,
                    review_id=review.id or 0,
                    split=split,
                    content_hash="",
                )
                session.add(pair)
            return dataset.id or 0

    async def adapter(self, name: str, dataset: int | None, **more: Any) -> int:
        """The id of an adapter's next version, trained on that dataset."""
        async with self.database.session() as session:
            known = (await session.exec(select(Adapter).where(Adapter.name == name))).all()
            values = {"folder": "", "content_hash": "h", "base_model": "tiny", "base_revision": "r"}
            adapter = Adapter(name=name, version=len(known) + 1, dataset_id=dataset, **(values | more))
            session.add(adapter)
            await session.flush()
            return adapter.id or 0

    async def find(self, session: AsyncSession, adapter_id: int) -> Adapter:
        return (await session.exec(select(Adapter).where(Adapter.id == adapter_id))).one()

    async def trained_on(self, *turns: str) -> list[str]:
        async with self.database.session(read_only=True) as session:
            found = await lineage.adapters_trained_on(session, [self.turns[turn] for turn in turns])
        return [f"{adapter.name}@{adapter.version}" for adapter in found]


async def test_the_adapters_that_learnt_from_a_turn_are_those_trained_or_watched_by_it(shelf: Shelf) -> None:
    await shelf.adapter("support", await shelf.dataset("support", first="train", second="validation"))
    await shelf.adapter("docs", await shelf.dataset("docs", first="examination", third="train"))
    await shelf.adapter("blog", None)
    assert await shelf.trained_on("first") == ["support@1"]
    assert await shelf.trained_on("second") == ["support@1"]
    assert await shelf.trained_on("second", "third") == ["support@1", "docs@1"]
    assert await shelf.trained_on() == []


async def test_an_adapter_that_goes_on_from_another_has_learnt_what_that_one_had(shelf: Shelf) -> None:
    first = await shelf.adapter("support", await shelf.dataset("support", first="train"))
    second = await shelf.adapter("support", await shelf.dataset("support", third="train"), continues_id=first)
    await shelf.adapter("support", await shelf.dataset("support", third="train"), continues_id=second)
    assert await shelf.trained_on("first") == ["support@1", "support@2", "support@3"]
    assert await shelf.trained_on("third") == ["support@2", "support@3"]
    async with shelf.database.session(read_only=True) as session:
        found = await lineage.of_adapter(session, await shelf.find(session, second))
    assert found.continues == ("support@1",)
    assert [(one.adapter, one.dataset) for one in found.datasets] == [
        ("support@2", "support@2"),
        ("support@1", "support@1"),
    ]
    assert found.members == {"discord:ada": 1, "discord:ben": 1}


async def test_an_adapter_names_its_run_dataset_turns_reviews_and_members(shelf: Shelf) -> None:
    async with shelf.database.session() as session:
        run = Run(adapter_name="support", started_by="schedule", state="promoted", verdict="Promoted.")
        session.add(run)
    dataset = await shelf.dataset("support", first="train", second="train", third="examination")
    adapter = await shelf.adapter("support", dataset, run_id=run.id, state="promoted")
    async with shelf.database.session(read_only=True) as session:
        found = await lineage.of_adapter(session, await shelf.find(session, adapter))
        fewer = await lineage.of_adapter(session, await shelf.find(session, adapter), most=1)
    assert found.run is not None
    assert (found.run.run, found.run.started_by, found.run.verdict) == (
        run.id,
        "schedule",
        "Promoted.",
    )
    (learnt,) = found.datasets
    assert (learnt.dataset, learnt.pairs) == ("support@1", {"examination": 1, "train": 2})
    assert found.pairs == 2 and found.members == {"discord:ada": 2}
    origin = found.origins[0]
    assert (origin.turn, origin.question, origin.member) == (
        shelf.turns["first"],
        "The first?",
        "discord:ada",
    )
    assert (origin.reviewer, origin.decision) == ("mo", "approve")
    assert len(found.origins) == 2 and len(fewer.origins) == 1


async def test_a_turn_names_what_answered_it_and_what_learnt_from_it(shelf: Shelf) -> None:
    before = await shelf.adapter("support", await shelf.dataset("support", third="train"))
    await shelf.adapter("support", await shelf.dataset("support", first="train", third="train"))
    await shelf.dataset("docs", first="examination")
    async with shelf.database.session() as session:
        turn = await shelf.chronicle.turn(shelf.turns["first"])
        turn.adapter_id = before
        session.add(turn)
    async with shelf.database.session(read_only=True) as session:
        found = await lineage.of_turn(session, shelf.turns["first"])
    assert (found.adapter, [one.dataset for one in found.behind]) == ("support@1", ["support@1"])
    assert [(one.dataset, one.split, one.adapters) for one in found.datasets] == [
        ("support@2", "train", ("support@2",)),
        ("docs@1", "examination", ()),
    ]
    assert (found.member, found.adapters) == ("discord:ada", ("support@2",))


async def test_a_turn_that_the_base_model_answered_has_no_pairs_behind_it(shelf: Shelf) -> None:
    async with shelf.database.session(read_only=True) as session:
        found = await lineage.of_turn(session, shelf.turns["first"])
    assert (found.adapter, found.behind, found.datasets, found.adapters) == ("", (), (), ())


@pytest.mark.parametrize("named", ["ada", "discord:ada"])
async def test_a_member_names_every_adapter_that_learnt_from_them(shelf: Shelf, named: str) -> None:
    await shelf.adapter("support", await shelf.dataset("support", first="train", second="train"))
    await shelf.adapter("docs", await shelf.dataset("docs", third="train"))
    async with shelf.database.session(read_only=True) as session:
        found = await lineage.of_member(session, named)
    assert (found.member, found.turns) == ("discord:ada", 2)
    assert (found.pairs, found.adapters) == ({"support@1": 2}, ("support@1",))


async def test_unknown_turns_and_members_are_told_so(shelf: Shelf) -> None:
    async with shelf.database.session() as session:
        session.add(Member(platform="telegram", pseudonym="ada"))
    async with shelf.database.session(read_only=True) as session:
        with pytest.raises(NotFound, match="no turn 999"):
            await lineage.of_turn(session, 999)
        with pytest.raises(NotFound, match="no member eve"):
            await lineage.of_member(session, "eve")
        with pytest.raises(UsageError, match="discord:ada or telegram:ada"):
            await lineage.of_member(session, "ada")


async def test_who_was_forgotten_is_named_no_more_but_the_adapters_are_still_found(shelf: Shelf) -> None:
    adapter = await shelf.adapter("support", await shelf.dataset("support", first="train"))
    async with shelf.database.session() as session:
        ada = (await session.exec(select(Member).where(col(Member.pseudonym) == "ada"))).one()
        request = await consent.forget(session, ada.id or 0)
    async with shelf.database.session(read_only=True) as session:
        concerned = await lineage.adapters_trained_on(session, request.turns)
        found = await lineage.of_adapter(session, await shelf.find(session, adapter))
    assert [one.id for one in concerned] == [adapter]
    assert found.members == {} and found.origins[0].member == "" and found.origins[0].question == ""
