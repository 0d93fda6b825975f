"""A run that a person asks the service for: of which adapter, and what is said at once against it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from sqlmodel import select

from bot.access.actor import Actor
from bot.commands.training import newest as newest_run
from bot.retrainer import Retrainer
from bot.settings import load_settings
from feedback.errors import UsageError
from feedback.tables import Run
from tests.bot.assembly import core_of
from tests.chronicle import Chronicle
from tests.conftest import SQLITE
from training.errors import NotEnoughPairs, NotTrainedHere, RunUnderWay

pytestmark = SQLITE

ADA, BEN = Actor("ada", role="operator"), Actor("ben", role="operator")
ADAPTERS = {
    "docs": {"communities": ["discord:guild"], "min_pairs": 4},
    "polish": {"languages": ["pl"]},
    "nowhere": {"communities": ["discord:nobody"]},
}


@pytest.fixture
def retrainer(
    chronicle: Chronicle, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Retrainer:
    """The service's own, over a model that there is not, so that its runs end before they train."""
    for name, value in {
        "DATA": str(tmp_path / "data"),
        "MODEL": str(tmp_path / "no-such-model"),
        "RECORD__DATABASE_URL": database_url,
        "TRAINING__ADAPTERS": json.dumps(ADAPTERS),
        "TRAINING__NICENESS": "0",
    }.items():
        monkeypatch.setenv(f"THUMBLOOP_{name}", value)
    return Retrainer(core_of(chronicle.database, load_settings().data), load_settings())


async def teach(chronicle: Chronicle, count: int) -> None:
    for number in range(count):
        await chronicle.approved(f"What is {number}?", f"It is {number}.", conversation=f"talk {number}")


async def runs(chronicle: Chronicle) -> list[tuple[str, str]]:
    async with chronicle.database.session(read_only=True) as session:
        return [(run.adapter_name, run.started_by) for run in (await session.exec(select(Run))).all()]


async def test_the_named_adapter_is_what_the_run_is_of(chronicle: Chronicle, retrainer: Retrainer) -> None:
    await teach(chronicle, 6)
    assert not await retrainer.is_starting()
    await retrainer.start(ADA, "docs")
    assert await retrainer.is_starting()
    assert retrainer._under_way is not None
    await retrainer._under_way
    assert not await retrainer.is_starting()
    assert await runs(chronicle) == [("docs", "ada")]


async def test_of_two_who_ask_at_once_one_gets_a_run(chronicle: Chronicle, retrainer: Retrainer) -> None:
    await teach(chronicle, 6)
    asked = await asyncio.gather(
        *(retrainer.start(who, "docs") for who in (ADA, BEN)), return_exceptions=True
    )
    assert retrainer._under_way is not None
    await retrainer._under_way
    assert {type(answer) for answer in asked} == {type(None), RunUnderWay}
    assert len(await runs(chronicle)) == 1


async def test_a_run_may_follow_one_whose_process_is_still_leaving(
    chronicle: Chronicle, retrainer: Retrainer
) -> None:
    await teach(chronicle, 6)
    await retrainer.start(ADA, "docs")
    while (newest := await newest_run(chronicle.database)) is None or newest.state == "running":
        await asyncio.sleep(0)
    await retrainer.start(BEN, "docs")
    assert retrainer._under_way is not None
    await retrainer._under_way
    assert await runs(chronicle) == [("docs", "ada"), ("docs", "ben")]


async def test_what_counts_is_what_that_adapter_would_learn(
    chronicle: Chronicle, retrainer: Retrainer
) -> None:
    await teach(chronicle, 10)
    with pytest.raises(NotEnoughPairs, match="0 approved pairs are ready for polish"):
        await retrainer.start(ADA, "polish")
    assert await runs(chronicle) == []


async def test_a_community_that_was_never_seen_is_told_at_once(
    chronicle: Chronicle, retrainer: Retrainer
) -> None:
    with pytest.raises(UsageError, match="discord:nobody"):
        await retrainer.start(ADA, "nowhere")
    assert await runs(chronicle) == []


async def test_an_unknown_name_is_told_with_those_that_there_are(retrainer: Retrainer) -> None:
    with pytest.raises(NotTrainedHere, match="There are community, docs, polish, nowhere;"):
        await retrainer.start(ADA, "dosc")
