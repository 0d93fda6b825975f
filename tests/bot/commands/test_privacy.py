"""What members decide about their words."""

from __future__ import annotations

from bot.access.actor import Actor
from bot.commands import privacy
from feedback.database import Database
from tests.chronicle import Chronicle


async def test_who_never_asked_can_stay_out_from_the_start(database: Database) -> None:
    assert not await privacy.is_opted_out(database, Actor("discord", "new"))
    await privacy.set_opted_out(database, Actor("discord", "new"), True)
    assert await privacy.is_opted_out(database, Actor("discord", "new"))
    await privacy.set_opted_out(database, Actor("discord", "new"), False)
    assert not await privacy.is_opted_out(database, Actor("discord", "new"))


async def test_my_data_are_mine_and_nobody_elses(database: Database, chronicle: Chronicle) -> None:
    await chronicle.answered("What is mine?", by="ada")
    await chronicle.answered("What is his?", by="ben")
    exported = await privacy.export(database, Actor("discord", "ada"))
    assert exported is not None
    assert [turn["question"] for turn in exported["turns"]] == ["What is mine?"]
    assert await privacy.export(database, Actor("telegram", "ada")) is None


async def test_forgotten_is_forgotten_and_a_second_time_there_is_nothing(
    database: Database, chronicle: Chronicle
) -> None:
    turn_id = await chronicle.answered("My secret?", by="ada")
    forgotten = await privacy.forget(database, Actor("discord", "ada"))
    assert forgotten is not None and forgotten.turns == 1
    assert (await chronicle.turn(turn_id)).question == ""
    assert await privacy.forget(database, Actor("discord", "ada")) is None
    assert await privacy.export(database, Actor("discord", "ada")) is None
