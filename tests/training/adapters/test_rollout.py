"""Canaries and adapters in service: judged by how answers are received, and never back by themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from feedback import journal, review, signals
from feedback.database import Database
from feedback.journal import Answered
from feedback.rating_results import LEAST_QUESTIONS
from feedback.signals import Audience
from feedback.tables import Adapter, Deployment, now
from tests.chronicle import ANSWER, Chronicle
from tests.conftest import SQLITE
from tests.rounds import open_round, rate_all
from training.adapters import deployments, registry, rollout
from training.adapters.rollout import Decision
from training.adapters.sequential import Difference
from training.settings import RolloutSettings

SETTINGS = RolloutSettings(share=0.5)
DAY = timedelta(days=1)


@pytest.fixture
async def incumbent(database: Database, tmp_path: Path) -> Adapter:
    return await _added(database, tmp_path)


@pytest.fixture
async def candidate(database: Database, incumbent: Adapter, tmp_path: Path) -> Adapter:
    """What is newer than the incumbent."""
    return await _added(database, tmp_path)


@pytest.fixture
async def canary(database: Database, incumbent: Adapter, candidate: Adapter) -> Deployment:
    """The candidate answers half of the conversations, the incumbent the others."""
    return await _canary(database, incumbent, candidate)


@pytest.mark.parametrize(
    ("lower", "upper", "days", "decided"),
    [
        (-0.30, 0.25, 1, "go on"),
        (-0.04, 0.25, 1, "promote"),
        (0.02, 0.25, 1, "promote"),
        (-0.30, -0.01, 1, "roll back"),
        (-0.04, -0.01, 1, "roll back"),
        (-0.30, 0.25, 56, "undecided"),
    ],
)
def test_the_rule_promotes_what_is_surely_no_worse_and_takes_back_what_is_surely_worse(
    lower: float, upper: float, days: int, decided: Decision
) -> None:
    assert rollout.rule(Difference(0.0, lower, upper, 100), days * DAY, SETTINGS) == decided


@SQLITE
async def test_a_canary_answers_its_share_of_conversations_and_each_always_alike(
    database: Database, chronicle: Chronicle, incumbent: Adapter, candidate: Adapter
) -> None:
    canary = await _canary(database, incumbent, candidate, share=0.2)
    answered = []
    async with database.session(read_only=True) as session:
        for conversation in [*range(300), *range(300)]:
            adapter = await deployments.answering(session, chronicle.community_id, conversation)
            assert adapter is not None
            answered.append(adapter.id == candidate.id)
        serving = await deployments.serving(session)
    assert answered[:300] == answered[300:] and 0.1 < sum(answered[:300]) / 300 < 0.3
    assert serving is not None and serving.id == incumbent.id and canary.share == 0.2


@SQLITE
async def test_a_community_with_a_deployment_of_its_own_gets_nobody_elses_canary(
    database: Database, chronicle: Chronicle, incumbent: Adapter, candidate: Adapter
) -> None:
    await _canary(database, incumbent, candidate, share=0.99)
    async with database.session() as session:
        await deployments.switch(session, None, by="mo", community_id=chronicle.community_id)
    async with database.session(read_only=True) as session:
        for conversation in range(20):
            assert await deployments.answering(session, chronicle.community_id, conversation) is None


async def test_a_canary_that_is_liked_more_takes_over_and_the_record_says_why(
    database: Database, chronicle: Chronicle, incumbent: Adapter, candidate: Adapter, canary: Deployment
) -> None:
    await _votes(chronicle, incumbent, [1, -1] * 20)
    await _votes(chronicle, candidate, [1] * 40)
    standing = await _decide(database)
    assert (standing.decision, standing.judged, standing.judged_predecessor) == ("promote", 40, 40)
    async with database.session(read_only=True) as session:
        serving = await deployments.serving(session)
        ended = await session.get(Deployment, canary.id)
    assert serving is not None and serving.id == candidate.id
    assert ended is not None and ended.outcome == "promoted" and "Promoted by votes" in ended.outcome_reason


@SQLITE
async def test_a_canary_that_is_liked_less_goes_and_only_a_person_brings_it_back(
    database: Database, chronicle: Chronicle, incumbent: Adapter, candidate: Adapter, canary: Deployment
) -> None:
    await _votes(chronicle, incumbent, [1] * 36)
    await _votes(chronicle, candidate, [-1, 1, 1] * 12)
    assert (await _decide(database)).decision == "roll back"
    async with database.session() as session:
        ended = await session.get(Deployment, canary.id)
        row = await session.get(Adapter, candidate.id)
        assert ended is not None and row is not None
        assert (ended.outcome, row.state) == ("rolled back", "rejected")
        assert "36 judged answers of trial@2 and 36 of trial@1" in ended.outcome_reason
        assert "between -67 and +0 points" in ended.outcome_reason
        assert await deployments.canary_of(session, None) is None
        await deployments.switch(session, row, by="mo", reason="I like it")
        serving = await deployments.serving(session)
    assert serving is not None and serving.id == candidate.id


@SQLITE
@pytest.mark.usefixtures("canary")
async def test_with_few_votes_it_says_so_and_after_its_days_leaves_it_to_moderators(
    database: Database, chronicle: Chronicle, incumbent: Adapter, candidate: Adapter
) -> None:
    await _votes(chronicle, candidate, [1])
    standing = await _decide(database)
    assert standing.decision == "go on" and "not decided yet" in standing.reason.en
    standing = await _decide(database, after=57 * DAY)
    assert standing.decision == "undecided" and "/adapter switch" in standing.reason.en
    async with database.session(read_only=True) as session:
        serving, row = await deployments.serving(session), await session.get(Adapter, candidate.id)
        assert await deployments.canary_of(session, None) is None
    assert serving is not None and serving.id == incumbent.id
    assert row is not None and row.state == "promoted"


@SQLITE
async def test_two_services_that_decide_at_once_decide_once(
    database: Database, chronicle: Chronicle, incumbent: Adapter, candidate: Adapter, canary: Deployment
) -> None:
    await _votes(chronicle, candidate, [1] * 40)
    await _votes(chronicle, incumbent, [-1] * 40)
    async with database.session(read_only=True) as session:
        standing = await rollout.look(session, canary, SETTINGS, now())
    done = []
    for _ in range(2):
        async with database.session() as session:
            done.append(await rollout.carry_out(session, standing))
    assert done == [True, False]


@SQLITE
@pytest.mark.usefixtures("canary")
async def test_who_rolls_back_while_a_canary_is_open_undoes_the_canary(
    database: Database, incumbent: Adapter
) -> None:
    async with database.session() as session:
        await deployments.rollback(session, by="mo")
        serving = await deployments.serving(session)
        assert await deployments.canary_of(session, None) is None
    assert serving is not None and serving.id == incumbent.id


@SQLITE
async def test_no_interval_is_told_where_opinion_changed_while_votes_came(
    database: Database, chronicle: Chronicle, incumbent: Adapter, candidate: Adapter
) -> None:
    canary = await _canary(database, incumbent, candidate)
    await _votes(chronicle, incumbent, [1, -1] * 80)
    await _votes(chronicle, candidate, [1] * 40 + [-1] * 120)
    async with database.session(read_only=True) as session:
        standing = await rollout.look(session, canary, SETTINGS, now())
    assert standing.difference.lower > standing.difference.estimate
    assert "-25 points" in standing.reason.en and "between" not in standing.reason.en


@SQLITE
async def test_an_adapter_that_serves_all_goes_when_it_is_surely_liked_less_than_its_predecessor(
    database: Database, chronicle: Chronicle, incumbent: Adapter, candidate: Adapter
) -> None:
    async with database.session() as session:
        await deployments.switch(session, incumbent, by="run 1")
    await _votes(chronicle, incumbent, [1] * 70)
    async with database.session() as session:
        row = await deployments.switch(session, candidate, by="run 2")
    async with database.session(read_only=True) as session:
        standing = await rollout.look_back(session, row, SETTINGS, now())
    assert standing is not None and standing.decision == "go on"
    await _votes(chronicle, candidate, [-1, 1, -1] * 20)
    async with database.session() as session:
        assert await rollout.look_back(session, row, SETTINGS, now() + 57 * DAY) is None
        standing = await rollout.look_back(session, row, SETTINGS, now())
        assert standing is not None and standing.decision == "roll back"
        assert (standing.judged, standing.judged_predecessor) == (60, 60)
        assert await rollout.carry_out(session, standing)
        serving = await deployments.serving(session)
        back = await deployments.standing(session, None)
        # what serves again was put there by a way back, so votes on it start nothing
        assert await rollout.look_back(session, back[-1], SETTINGS, now()) is None
    assert serving is not None and serving.id == incumbent.id


@SQLITE
async def test_what_a_person_put_into_service_is_not_taken_back_by_votes(
    database: Database, incumbent: Adapter, candidate: Adapter
) -> None:
    async with database.session() as session:
        await deployments.switch(session, incumbent, by="run 1")
        row = await deployments.switch(session, candidate, by="discord:mo")
    async with database.session(read_only=True) as session:
        assert await rollout.look_back(session, row, SETTINGS, now()) is None


async def test_answers_count_as_they_were_received(database: Database, chronicle: Chronicle) -> None:
    liked, disliked, torn, edited, again, unjudged = [await chronicle.answered() for _ in range(6)]
    await chronicle.vote(liked, 1)
    await chronicle.vote(disliked, -1)
    await chronicle.vote(torn, 1, by="ben")
    await chronicle.vote(torn, -1, by="cleo")
    await chronicle.vote(edited, 1)
    async with database.session() as session:
        await review.decide(session, edited, "mo", "edit", answer="Better.")
    await chronicle.asked(regenerates_id=again)
    async with database.session(read_only=True) as session:
        found = await signals.approval(session, None, Audience(chronicle.community_id))
        nobody = await signals.approval(session, 7, Audience(chronicle.community_id))
        everyone = await signals.approval(session, None, Audience(None))
    assert sorted(found) == [0.0, 0.0, 0.0, 0.5, 1.0] and everyone == found and nobody == []
    assert unjudged


@SQLITE
async def test_one_member_who_votes_on_everything_counts_only_so_often(
    database: Database, chronicle: Chronicle
) -> None:
    for _ in range(signals.MOST_OF_ONE_MEMBER + 5):
        await chronicle.vote(await chronicle.answered(), -1, by="troll")
    await chronicle.vote(await chronicle.answered(), 1, by="ben")
    async with database.session(read_only=True) as session:
        found = await signals.approval(session, None, Audience(None))
    assert found == [0.0] * signals.MOST_OF_ONE_MEMBER + [1.0]


@SQLITE
@pytest.mark.usefixtures("canary")
async def test_what_people_rated_blind_as_surely_worse_goes_although_voters_like_it(
    database: Database, chronicle: Chronicle, incumbent: Adapter, candidate: Adapter
) -> None:
    await _votes(chronicle, incumbent, [1, -1] * 20)
    await _votes(chronicle, candidate, [1] * 40)
    await _rated(chronicle, incumbent, candidate, ours=2, theirs=4)
    standing = await _decide(database)
    assert standing.decision == "roll back"
    assert (
        "Rolled back by blind rating. trial@2 beside trial@1: accuracy 2.00 against 4.00"
        in standing.reason.en
    )


@SQLITE
@pytest.mark.usefixtures("canary")
async def test_where_votes_decide_nothing_in_time_what_people_surely_prefer_takes_over(
    database: Database, chronicle: Chronicle, incumbent: Adapter, candidate: Adapter
) -> None:
    await _rated(chronicle, incumbent, candidate, ours=5, theirs=3)
    assert (await _decide(database)).decision == "go on"
    standing = await _decide(database, after=57 * DAY)
    assert standing.decision == "promote" and "Promoted by blind rating" in standing.reason.en


@SQLITE
@pytest.mark.usefixtures("canary")
async def test_ratings_beside_another_predecessor_say_nothing(
    database: Database, chronicle: Chronicle, candidate: Adapter, tmp_path: Path
) -> None:
    other = await _added(database, tmp_path)
    await _rated(chronicle, other, candidate, ours=1, theirs=5)
    assert (await _decide(database)).decision == "go on"


async def _rated(
    chronicle: Chronicle, incumbent: Adapter, candidate: Adapter, *, ours: int, theirs: int
) -> None:
    """Somebody rated what both answered to enough questions of a run, each always the same."""
    turns = await chronicle.approved_at_once([f"Question {one}?" for one in range(LEAST_QUESTIONS)])
    await open_round(
        chronicle.database,
        turns,
        {subject: subject for subject in ("base", "current", "candidate")},
        adapters={"current": incumbent.id, "candidate": candidate.id},
    )
    await rate_all(chronicle.database, "mo", {"base": 3, "current": theirs, "candidate": ours})


async def _added(database: Database, data: Path) -> Adapter:
    staged = data / "staged"
    staged.mkdir()
    (staged / "adapter_config.json").write_text("{}")
    (staged / "adapter_model.safetensors").write_bytes(b"weights")
    async with database.session() as session:
        adapter = await registry.add(session, data, staged, name="trial", base_model="m", base_revision="r")
        adapter.state = "promoted"
    return adapter


async def _canary(
    database: Database, incumbent: Adapter, candidate: Adapter, share: float = 0.5
) -> Deployment:
    async with database.session() as session:
        await deployments.switch(session, incumbent, by="run 1")
        return await deployments.begin_canary(session, candidate, share, by="run 2")


async def _votes(chronicle: Chronicle, adapter: Adapter, votes: Sequence[int]) -> None:
    """Answers of that adapter, each with a vote of somebody else."""
    said: Answered = replace(ANSWER, adapter_id=adapter.id)
    for number, value in enumerate(votes):
        turn_id = await chronicle.asked()
        async with chronicle.database.session() as session:
            await journal.record_answer(session, turn_id, said)
        await chronicle.vote(turn_id, value, by=f"voter {number}")


async def _decide(database: Database, after: timedelta = timedelta(0)) -> rollout.Standing:
    async with database.session() as session:
        canary = await deployments.canary_of(session, None)
        assert canary is not None
        standing = await rollout.look(session, canary, SETTINGS, now() + after)
        await rollout.carry_out(session, standing)
    return standing
