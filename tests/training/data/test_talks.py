"""Pairs of longer talks, trained as they are served; labels, filters, and approvals that are quarantined."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import select

from bot.answering.prompt import Exchange, build_prompt
from feedback import consent, journal, review, trust
from feedback.errors import Conflict, UsageError
from feedback.tables import Audit, Community, Dataset, Pair
from tests.chronicle import ANSWER, Chronicle
from training.data import dataset
from training.data.dataset import DatasetFilter, Splits
from training.data.pairs import TrainingPair
from training.errors import ReviewsQuarantined
from training.settings import TrainingSettings

SETTINGS = TrainingSettings(min_pairs=4, validation_share=0.2)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


# --- history ---


async def test_a_pair_is_trained_with_what_was_said_before(chronicle: Chronicle, data: Path) -> None:
    await _fill(chronicle, 8)
    await _answered(chronicle, "talk", "What is LoRA?", "A cheap way to fine-tune.")
    await chronicle.approved("And what is the rank?", "Its capacity.", conversation="talk")
    pair = _asked(await _load(chronicle, data), "And what is the rank?")
    assert [(m["role"], m["content"]) for m in dataset.messages(pair)[1:]] == [
        ("user", "What is LoRA?"),
        ("assistant", "A cheap way to fine-tune."),
        ("user", "And what is the rank?"),
        ("assistant", "Its capacity."),
    ]


async def test_a_pair_is_trained_with_the_very_prompt_that_it_is_served_with(
    chronicle: Chronicle, data: Path
) -> None:
    await _fill(chronicle, 8)
    await _answered(chronicle, "talk", "Why does it forget?", "It overfits.")
    await chronicle.approved("Show me code for that.", "```python\nfit()\n```", conversation="talk")
    pair = _asked(await _load(chronicle, data), "Show me code for that.")
    served = build_prompt(
        persona="plain",
        mode="default",
        language="en",
        history=[Exchange("Why does it forget?", "It overfits.")],
        question="Show me code for that.",
        count_tokens=lambda messages: len(messages),
        budget=100,
    )
    assert dataset.messages(pair)[:-1] == served.messages
    assert "fenced block" in served.messages[0]["content"]


async def test_history_is_limited_by_the_setting_and_can_be_left_out(
    chronicle: Chronicle, data: Path
) -> None:
    await _fill(chronicle, 8)
    for n in range(4):
        await _answered(chronicle, "talk", f"Before {n}?", f"Then {n}.")
    await chronicle.approved("Now?", conversation="talk")
    said = {}
    for limit in (0, 2):
        settings = SETTINGS.model_copy(update={"history_turns": limit})
        pair = _asked(await _load(chronicle, data, settings=settings), "Now?")
        said[limit] = [exchange["question"] for exchange in dataset.history(pair)]
    assert said == {0: [], 2: ["Before 2?", "Before 3?"]}


async def test_rejected_answers_are_in_no_history_and_edited_ones_as_the_moderator_wrote_them(
    chronicle: Chronicle, data: Path
) -> None:
    await _fill(chronicle, 8)
    rejected = await _answered(chronicle, "talk", "Rejected?", "Nonsense.")
    edited = await _answered(chronicle, "talk", "Edited?", "Half right.")
    await chronicle.approved("Now?", conversation="talk")
    async with chronicle.database.session() as session:
        await review.decide(session, rejected, "mo", "reject")
        await review.decide(session, edited, "mo", "edit", answer="Right.")
    pair = _asked(await _load(chronicle, data), "Now?")
    assert [(e["question"], e["answer"]) for e in dataset.history(pair)] == [("Edited?", "Right.")]


async def test_what_members_said_who_opted_out_or_were_forgotten_is_in_no_history(
    chronicle: Chronicle, data: Path
) -> None:
    await _fill(chronicle, 8)
    await _answered(chronicle, "talk", "Said by cleo?", "Yes.", by="cleo")
    await _answered(chronicle, "talk", "Said by dora?", "Yes.", by="dora")
    await _answered(chronicle, "talk", "Said by ada?", "Yes.")
    await chronicle.approved("Now?", conversation="talk")
    async with chronicle.database.session() as session:
        await consent.opt_out(session, await chronicle.member("cleo"))
        await consent.forget(session, await chronicle.member("dora"))
    pair = _asked(await _load(chronicle, data), "Now?")
    assert [exchange["question"] for exchange in dataset.history(pair)] == ["Said by ada?"]


async def test_of_an_answer_given_twice_the_newer_one_stands_in_the_history_as_when_answering(
    chronicle: Chronicle, data: Path
) -> None:
    await _fill(chronicle, 8)
    first = await _answered(chronicle, "talk", "What is it?", "The first answer.")
    await _answered(chronicle, "talk", "What is it?", "The second answer.", regenerates_id=first)
    last = await chronicle.approved("Now?", conversation="talk")
    pair = _asked(await _load(chronicle, data), "Now?")
    async with chronicle.database.session(read_only=True) as session:
        turn = await journal.find_turn(session, last)
        served = await journal.history(session, turn.conversation_id, last, 4)
    assert [e["answer"] for e in dataset.history(pair)] == [turn.answer for turn in served]
    assert [e["answer"] for e in dataset.history(pair)] == ["The second answer."]


async def test_a_regenerated_answer_is_trained_with_what_stood_before_its_question(
    chronicle: Chronicle, data: Path
) -> None:
    await _fill(chronicle, 8)
    await _answered(chronicle, "talk", "Before?", "Yes.")
    first = await _answered(chronicle, "talk", "What is it?", "The first answer.")
    await _answered(chronicle, "talk", "Between?", "Yes.")
    await chronicle.approved("What is it?", "The second one.", conversation="talk", regenerates_id=first)
    pair = _asked(await _load(chronicle, data), "What is it?")
    assert [exchange["question"] for exchange in dataset.history(pair)] == ["Before?"]


async def test_the_oldest_history_goes_first_where_a_pair_is_too_long(
    chronicle: Chronicle, data: Path
) -> None:
    await _fill(chronicle, 8)
    for n in range(3):
        await _answered(chronicle, "talk", f"Before {n}?", "x" * 50)
    await chronicle.approved("Now?", conversation="talk")
    pair = _asked(await _load(chronicle, data), "Now?")

    def fits(one: TrainingPair) -> bool:
        return sum(len(message["content"]) for message in dataset.messages(one)) < 250

    shorter = dataset.fitted(pair, fits)
    assert fits(shorter) and not fits(pair)
    assert [exchange["question"] for exchange in dataset.history(shorter)] == ["Before 1?", "Before 2?"]
    assert dataset.fitted(replace(pair, output="y" * 300), fits).instruction == "Now?"


async def test_no_question_of_the_examination_is_shown_to_training_as_history(
    chronicle: Chronicle, data: Path
) -> None:
    for n in range(20):
        await chronicle.approved(f"Question {n}?", conversation="all of it")
    built = await _build(chronicle, data)
    splits = dataset.load(data, built)
    assert built.manifest["grouped_by"] == "question" and splits.examination
    asked = {pair.instruction for pair in splits.examination}
    said = Counter(e["question"] for pair in splits.train + splits.validation for e in dataset.history(pair))
    assert said and not asked & set(said)


async def test_the_files_load_with_the_datasets_library(chronicle: Chronicle, data: Path) -> None:
    import datasets

    await _fill(chronicle, 20)
    for n in range(20):
        await _answered(chronicle, f"talk {n}", f"Before {n}?")
        await chronicle.approved(f"Now {n}?", conversation=f"talk {n}")
    settings = SETTINGS.model_copy(update={"not_knowing_share": 0.2})
    built = await _build(chronicle, data, settings=settings)
    place = data / built.folder
    loaded = await asyncio.to_thread(
        datasets.load_dataset,
        "json",
        data_files={split: str(place / f"{split}.jsonl") for split in dataset.SPLITS},
        cache_dir=str(data / "cache"),
    )
    assert {split: len(rows) for split, rows in loaded.items()} == built.manifest["pairs"]


# --- task types ---


async def test_a_task_type_that_nobody_named_is_guessed_and_a_moderators_word_stands(
    chronicle: Chronicle, data: Path
) -> None:
    await _fill(chronicle, 8)
    await chronicle.approved("How do I load it?", "```python\nload()\n```", conversation="a")
    told = await chronicle.approved("How do I save it?", "```python\nsave()\n```", conversation="b")
    named = await chronicle.approved("What is it?", "A lamp.", conversation="c", task_type="explanation")
    async with chronicle.database.session() as session:
        await review.label_task_type(session, told, "qa", "mo")
    built = await _build(chronicle, data)
    found = {_turn(p): p.task_type for p in _all(dataset.load(data, built))}
    assert found[told] == "qa" and found[named] == "explanation"
    assert built.manifest["task_types"] == {"code": 1, "explanation": 1, "qa": 9}
    async with chronicle.database.session(read_only=True) as session:
        (entry,) = (await session.exec(select(Audit).where(Audit.action == "review.task-type"))).all()
    assert (entry.actor, entry.subject, entry.detail["task_type"]) == ("mo", f"turn {told}", "qa")


async def test_an_erased_turn_cannot_be_labelled(chronicle: Chronicle) -> None:
    turn = await chronicle.answered()
    async with chronicle.database.session() as session:
        await consent.erase_turn(session, turn, actor="discord")
        with pytest.raises(Conflict, match="was erased"):
            await review.label_task_type(session, turn, "code", "mo")


# --- abstention ---


async def test_packaged_examples_fill_up_the_share_of_abstaining_answers(
    chronicle: Chronicle, data: Path
) -> None:
    await _fill(chronicle, 30)
    for n in range(10):
        said = f"To jest liczba {n}."
        await chronicle.approved(f"Pytanie {n}?", said, conversation=f"pl {n}", language="pl")
    built = await _build(chronicle, data, settings=SETTINGS.model_copy(update={"not_knowing_share": 0.2}))
    splits = dataset.load(data, built)
    packaged = [pair for pair in splits.train if "packaged" in (pair.lineage or {})]
    assert len(packaged) == built.manifest["packaged"]["train"]
    assert 0.2 <= len(packaged) / len(splits.train) < 0.25
    assert {pair.task_type for pair in packaged} == {"not-knowing"}
    assert {pair.language for pair in packaged} == {"en", "pl"}
    assert sum(pair.language == "en" for pair in packaged) > sum(pair.language == "pl" for pair in packaged)
    assert len({pair.instruction for pair in packaged}) == len(packaged)
    async with chronicle.database.session(read_only=True) as session:
        rows = (await session.exec(select(Pair).where(Pair.dataset_id == built.id))).all()
    assert len(rows) == len(_all(splits)) - len(packaged)


async def test_approved_abstentions_count_and_need_no_filling_up(chronicle: Chronicle, data: Path) -> None:
    await _fill(chronicle, 10)
    for n in range(10):
        await chronicle.approved(f"What is {n} in the other book?", "I do not know.", conversation=f"nk {n}")
    built = await _build(chronicle, data, settings=SETTINGS.model_copy(update={"not_knowing_share": 0.2}))
    assert built.manifest["packaged"]["train"] == 0


async def test_nothing_is_filled_up_unless_somebody_asks_for_it(chronicle: Chronicle, data: Path) -> None:
    await _fill(chronicle, 10)
    built = await _build(chronicle, data)
    assert built.manifest["packaged"]["train"] == 0
    assert len(_all(dataset.load(data, built))) == 10


# --- filters ---


async def test_a_filter_lets_through_only_what_it_names(chronicle: Chronicle, data: Path) -> None:
    for n in range(8):
        await chronicle.approved(f"Question {n}?", conversation=f"en {n}")
        await chronicle.approved(f"Pytanie {n}?", conversation=f"pl {n}", language="pl")
        await chronicle.approved(f"In code {n}?", "`x`", conversation=f"code {n}", mode="code")
    polish = await _build(chronicle, data, name="polish", only=DatasetFilter(languages=("pl",)))
    code = await _build(chronicle, data, name="code", only=DatasetFilter(task_types=("code",)))
    assert {p.language for p in _all(dataset.load(data, polish))} == {"pl"}
    assert {p.instruction for p in _all(dataset.load(data, code))} == {f"In code {n}?" for n in range(8)}
    assert polish.manifest["filter"] == {"languages": ["pl"]}


async def test_a_filter_by_community_and_persona(chronicle: Chronicle, data: Path) -> None:
    await _fill(chronicle, 6)
    async with chronicle.database.session() as session:
        other = Community(
            platform="telegram", external_id="chat", training_allowed=True, persona="You are a pirate."
        )
        session.add(other)
        await session.flush()
        number = other.id or 0
    elsewhere = Chronicle(chronicle.database, community_id=number, told=100)
    for n in range(6):
        await elsewhere.approved(f"Elsewhere {n}?", conversation=f"{n}")
    asked = {}
    for name, only in {
        "by-place": DatasetFilter(communities=("telegram:chat",)),
        "by-number": DatasetFilter(communities=(str(number),)),
        "by-persona": DatasetFilter(personas=("You are a pirate.",)),
    }.items():
        built = await _build(chronicle, data, name=name, only=only)
        asked[name] = {pair.instruction for pair in _all(dataset.load(data, built))}
    assert all(found == {f"Elsewhere {n}?" for n in range(6)} for found in asked.values())


async def test_a_filter_that_names_what_there_is_not_is_refused(chronicle: Chronicle, data: Path) -> None:
    await _fill(chronicle, 6)
    with pytest.raises(UsageError, match=r"'discord:nowhere', which has not been seen"):
        await _build(chronicle, data, only=DatasetFilter(communities=("discord:nowhere",)))
    with pytest.raises(UsageError, match=r"languages name 'de'"):
        DatasetFilter(languages=("de",))


# --- quarantined approvals ---


async def test_a_newcomers_burst_is_held_out_until_the_operator_trusts_them(
    chronicle: Chronicle, data: Path
) -> None:
    settings = SETTINGS.model_copy(update={"held_burst": 5})
    await _fill(chronicle, 8, by_reviewer="terminal:root")
    await _fill(chronicle, 6, by_reviewer="discord:mallory", named="Poison")
    built = await _build(chronicle, data, settings=settings)
    assert {p.instruction.split()[0] for p in _all(dataset.load(data, built))} == {"Question"}
    assert dataset.quarantined_approvals(built) == {"discord:mallory": 6}
    async with chronicle.database.session() as session:
        await trust.trust(session, "discord:mallory", by="terminal:root")
    released = await _build(chronicle, data, settings=settings)
    assert dataset.quarantined_approvals(released) == {}
    assert Counter(p.instruction.split()[0] for p in _all(dataset.load(data, released))) == {
        "Question": 8,
        "Poison": 6,
    }


async def test_when_nothing_else_is_there_the_build_says_what_is_quarantined_and_how_to_release_it(
    chronicle: Chronicle, data: Path
) -> None:
    await _fill(chronicle, 6, by_reviewer="discord:mallory")
    with pytest.raises(
        ReviewsQuarantined, match=r"6 by discord:mallory.*`thumbloop review trust discord:mallory`"
    ):
        await _build(chronicle, data, settings=SETTINGS.model_copy(update={"held_burst": 5}))


async def _fill(
    chronicle: Chronicle, count: int, *, by_reviewer: str = "terminal:root", named: str = "Question"
) -> None:
    """Approved turns, each in a conversation of its own."""
    await chronicle.approved_at_once([f"{named} {n}?" for n in range(count)], reviewer=by_reviewer)


async def _answered(
    chronicle: Chronicle, conversation: str, question: str, answer: str = "An answer.", **more: Any
) -> int:
    async with chronicle.database.session() as session:
        place = await journal.conversation(session, chronicle.community_id, conversation)
    return await chronicle.answered(
        question, answer=replace(ANSWER, answer=answer), conversation_id=place.id, **more
    )


async def _build(chronicle: Chronicle, data: Path, **how: Any) -> Dataset:
    values: dict[str, Any] = {"name": "community", "settings": SETTINGS, "default_persona": "plain"}
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
