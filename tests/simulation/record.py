"""A few communities decided by the real record and the real upkeep, on a clock of their own.

Each judged answer becomes a turn and a vote in a SQLite record; once a simulated day the service's `Rollout`
looks, as it does each half-minute. What it decides, and in which week, must be what `methods.by_our_rule`
says.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import numpy as np

from bot.core import Core, ModelIdentity
from bot.rollout import Rollout
from feedback import journal, votes
from feedback.database import Database
from feedback.journal import Answered
from feedback.tables import Adapter, Community, Deployment, now
from tests.simulation.communities import Judgements, drawn
from tests.simulation.methods import SETTINGS, by_our_rule
from training.adapters import deployments

WEEKS: Final = 6
_DIFFERENCES: Final = (-0.25, 0.0, 0.25)


async def agree(number: int, seed: int) -> int:
    """In how many of so many communities record and rule decide alike, in the same week."""
    agreed = 0
    with tempfile.TemporaryDirectory() as folder:
        database = Database(f"sqlite:///{folder}/record.db")
        await database.upgrade()
        for place in range(number):
            draw = np.random.default_rng((seed, place))
            (community,) = drawn(1, _DIFFERENCES[place % len(_DIFFERENCES)], draw)
            judged = community.judge(draw, SETTINGS.share, WEEKS)
            expected = by_our_rule(judged)
            found = await _decided(database, Path(folder), place, judged)
            agreed += found == (expected.outcome or "", expected.week)
        await database.close()
    return agreed


async def _decided(database: Database, data: Path, place: int, judged: Judgements) -> tuple[str, int]:
    """What became of the canary in the record, and in which week, counted from 1."""
    started, moment = now(), [now()]
    clock: Callable[[], datetime] = lambda: moment[0]  # noqa: E731
    core = Core(database, data, b"k" * 32, ModelIdentity("m", "r"), clock=clock, rollout=_PATIENT)
    rollout = Rollout(core)
    async with database.session() as session:
        community = await journal.community(session, "web", f"community {place}")
        await session.flush()
        adapters = [
            Adapter(
                name=f"of-{place}",
                version=version,
                state="promoted",
                folder="",
                content_hash="",
                base_model="m",
                base_revision="r",
            )
            for version in (1, 2)
        ]
        session.add_all(adapters)
        await session.flush()
        await deployments.switch(session, adapters[0], by="run 1", community_id=community.id)
        canary = await deployments.begin_canary(
            session, adapters[1], SETTINGS.share, by="run 2", community_id=community.id
        )
    for week in range(WEEKS):
        here = np.flatnonzero(judged.week == week)
        for day, of_day in enumerate(np.array_split(here, 7)):
            moment[0] = started + timedelta(weeks=week, days=day + 1)
            await _write(database, community, adapters, judged, of_day, moment[0])
            await rollout.tidy()
            async with database.session(read_only=True) as session:
                row = await session.get(Deployment, canary.id)
            assert row is not None
            if row.outcome:
                return row.outcome, week + 1
    return "", 0


async def _write(
    database: Database,
    community: Community,
    adapters: list[Adapter],
    judged: Judgements,
    places: object,
    asked_at: datetime,
) -> None:
    """A day's judged answers, each with one vote of a member of its own."""
    async with database.session() as session:
        conversation = await journal.conversation(session, community.id or 0, "talk")
        for index in np.atleast_1d(np.asarray(places, dtype=int)):
            asked = await journal.ask(
                session,
                community_id=community.id or 0,
                conversation_id=conversation.id or 0,
                member_id=None,
                external_id=f"{index}",
                question="?",
                mode="default",
                language="en",
                asked_at=asked_at,
            )
            turn_id = asked.turn.id or 0
            adapter = adapters[int(judged.is_canary[index])]
            await journal.record_answer(
                session, turn_id, Answered("Yes.", "default", "en", "m", adapter_id=adapter.id)
            )
            member = await journal.member(session, "web", f"{community.id}-{index}")
            await votes.vote(
                session,
                turn_id=turn_id,
                member_id=member.id or 0,
                value=1 if judged.approved[index] else -1,
            )


_PATIENT: Final = SETTINGS.model_copy(update={"canary_days": 365})
