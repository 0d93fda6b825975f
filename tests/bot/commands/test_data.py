"""Pairs come in once, whole and approved, and go out as they came."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import col, select

from bot.access.actor import Actor
from bot.commands import data
from bot.commands.data import AT_ONCE
from feedback import consent, conversations, journal, review
from feedback.database import Database
from feedback.errors import UsageError
from feedback.tables import Audit, Community, Conversation, Review, Turn
from tests.chronicle import Chronicle
from training.data.dataset import history
from training.data.pair_files.reading import read_pairs
from training.errors import PairsError


def write(file: Path, rows: list[dict[str, Any]]) -> Path:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def numbered(count: int) -> list[dict[str, Any]]:
    return [{"instruction": f"Question {n}?", "output": f"Answer {n}."} for n in range(count)]


async def turns(database: Database) -> list[Turn]:
    async with database.session(read_only=True) as session:
        return list(await session.exec(select(Turn).order_by(col(Turn.id))))


async def rows(database: Database, kind: Any) -> list[Any]:
    async with database.session(read_only=True) as session:
        return list(await session.exec(select(kind)))


async def bring_in(database: Database, file: Path, **more: Any) -> data.Imported:
    return await data.import_pairs(database, file, imported_by=Actor("terminal", "ada", "operator"), **more)


# in


async def test_an_imported_pair_is_a_turn_approved_by_whoever_imported_it(
    database: Database, tmp_path: Path
) -> None:
    file = write(
        tmp_path / "faq.jsonl",
        [{"instruction": "Czym jest LoRA?", "input": "kontekst", "output": "Sposobem.", "language": "pl"}],
    )
    done = await bring_in(database, file)
    assert (done.pairs, done.new, done.known, done.community) == (1, 1, 0, "faq")
    (turn,) = await turns(database)
    assert (turn.question, turn.input, turn.answer, turn.language) == (
        "Czym jest LoRA?",
        "kontekst",
        "Sposobem.",
        "pl",
    )
    assert (turn.state, turn.review_state, turn.approved_answer) == ("answered", "approved", "Sposobem.")
    (decision,) = await rows(database, Review)
    assert (decision.turn_id, decision.reviewer, decision.decision) == (turn.id, "terminal:ada", "approve")
    (noted,) = await rows(database, Audit)
    assert (noted.actor, noted.action, noted.detail) == (
        "terminal:ada",
        "data.import",
        {"pairs": 1, "new": 1},
    )


async def test_what_is_imported_may_train(database: Database, tmp_path: Path) -> None:
    await bring_in(database, write(tmp_path / "faq.jsonl", numbered(3)))
    async with database.session(read_only=True) as session:
        found = [one async for one in conversations.with_something_approved(session)]
        assert [turn.approved for turns in found for turn in turns] == [True] * 3
        assert await review.count_new_approved(session) == 3


async def test_the_same_file_twice_changes_nothing(database: Database, tmp_path: Path) -> None:
    file = write(tmp_path / "faq.jsonl", numbered(3))
    await bring_in(database, file)
    before = [turn.model_dump() for turn in await turns(database)]
    again = await bring_in(database, file)
    assert (again.new, again.known) == (0, 3)
    assert [turn.model_dump() for turn in await turns(database)] == before
    assert len(await rows(database, Review)) == 3
    assert len(await rows(database, Audit)) == 1


async def test_a_pair_that_stands_twice_in_a_file_is_one(database: Database, tmp_path: Path) -> None:
    done = await bring_in(database, write(tmp_path / "faq.jsonl", numbered(2) + numbered(3)))
    assert (done.pairs, done.new, done.known) == (5, 3, 2)


async def test_several_answers_to_one_question_stay_in_one_conversation(
    database: Database, tmp_path: Path
) -> None:
    file = write(
        tmp_path / "faq.jsonl",
        [{"instruction": "Why?", "output": answer} for answer in ("Because.", "Therefore.")]
        + [{"instruction": "How?", "output": "So."}],
    )
    await bring_in(database, file)
    because, therefore, so = [turn.conversation_id for turn in await turns(database)]
    assert because == therefore != so
    assert len(await rows(database, Conversation)) == 2


async def test_two_imports_of_one_file_at_once_bring_each_pair_in_once(
    database: Database, tmp_path: Path
) -> None:
    file = write(tmp_path / "faq.jsonl", numbered(AT_ONCE + 20))
    both = await asyncio.gather(bring_in(database, file), bring_in(database, file))
    assert sum(done.new for done in both) == AT_ONCE + 20
    assert len(await turns(database)) == len(await rows(database, Review)) == AT_ONCE + 20


async def test_a_bad_line_keeps_the_whole_file_out_and_is_named(database: Database, tmp_path: Path) -> None:
    pairs = numbered(AT_ONCE + 10)
    file = write(tmp_path / "faq.jsonl", [*pairs, {"instruction": "No answer?"}])
    with pytest.raises(PairsError, match=rf"faq\.jsonl, line {AT_ONCE + 11}: the key 'output' is missing"):
        await bring_in(database, file)
    assert await turns(database) == []
    assert await rows(database, Community) == []


async def test_an_import_cut_short_is_finished_by_running_it_again(
    database: Database, tmp_path: Path
) -> None:
    file = write(tmp_path / "faq.jsonl", numbered(2 * AT_ONCE))

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await bring_in(database, file, on_progress=stop)
    again = await bring_in(database, file)
    assert (again.new, again.known) == (AT_ONCE, AT_ONCE)
    assert len(await turns(database)) == len(await rows(database, Review)) == 2 * AT_ONCE


@pytest.mark.parametrize("text", ["", "\n\n"])
async def test_a_file_without_pairs_is_refused(database: Database, tmp_path: Path, text: str) -> None:
    file = tmp_path / "faq.jsonl"
    file.write_text(text)
    with pytest.raises(UsageError, match=r"faq\.jsonl holds no pairs"):
        await bring_in(database, file)
    assert await rows(database, Community) == []


async def test_pairs_may_go_to_a_community_of_another_name_and_be_held_out(
    database: Database, tmp_path: Path
) -> None:
    file = write(tmp_path / "faq.jsonl", numbered(2))
    await bring_in(database, file, community="examination", held_out=True)
    assert [turn.held_out for turn in await turns(database)] == [True, True]
    (home,) = await rows(database, Community)
    assert (home.platform, home.external_id, home.training_allowed) == ("import", "examination", True)


@pytest.mark.parametrize(
    ("lineage", "mode", "held_out"),
    [
        ({"mode": "tldr", "held_out": True}, "tldr", True),
        ({"mode": ["odd"], "held_out": "yes"}, "default", False),
        ({}, "default", False),
        (None, "default", False),
    ],
)
async def test_mode_and_held_out_mark_of_an_exported_pair_come_back_and_odd_lineage_does_no_harm(
    database: Database, tmp_path: Path, lineage: Any, mode: str, held_out: bool
) -> None:
    pair = {"instruction": "Why?", "output": "Because.", "lineage": lineage}
    await bring_in(database, write(tmp_path / "faq.jsonl", [pair]))
    (turn,) = await turns(database)
    assert (turn.mode, turn.held_out) == (mode, held_out)


async def test_thousands_of_pairs_come_in_a_few_transactions_and_go_out_again(
    database: Database, tmp_path: Path
) -> None:
    file = write(tmp_path / "faq.jsonl", numbered(3_000))
    steps: list[tuple[int, int]] = []
    done = await bring_in(database, file, on_progress=lambda now, total: steps.append((now, total)))
    assert done.new == 3_000
    assert steps == [(number, 3_000) for number in range(AT_ONCE, 3_001, AT_ONCE)]
    out = tmp_path / "out.jsonl"
    assert (await data.export_pairs(database, out)).pairs == 3_000
    assert [pair.instruction for pair in read_pairs(out)] == [row["instruction"] for row in numbered(3_000)]


# out


@pytest.mark.parametrize("ending", ["jsonl", "csv", "parquet"])
async def test_what_goes_out_comes_in_again_as_it_was(
    database: Database, tmp_path: Path, ending: str
) -> None:
    given: list[dict[str, Any]] = [
        {
            "instruction": 'Zażółć "gęślą",\njaźń? 😀',
            "input": "a,b",
            "output": "Tak;\r\nnie",
            "language": "pl",
        },
        {
            "instruction": "Code?",
            "output": "```\nx = 1\n```",
            "task_type": "code",
            "lineage": {"mode": "code"},
        },
    ]
    await bring_in(database, write(tmp_path / "given.jsonl", given))
    out = tmp_path / f"out.{ending}"
    exported = await data.export_pairs(database, out)
    assert (exported.pairs, exported.what) == (2, "approved")
    again = await bring_in(database, out, community="given")
    assert (again.new, again.known) == (0, 2)
    elsewhere = await bring_in(database, out, community="elsewhere")
    assert elsewhere.new == 2
    said = [
        (turn.question, turn.input, turn.answer, turn.language, turn.task_type, turn.mode)
        for turn in await turns(database)
    ]
    assert said[:2] == said[2:]


async def test_the_approved_answer_goes_out_with_its_lineage(chronicle: Chronicle, tmp_path: Path) -> None:
    turn_id = await chronicle.answered("Why?")
    async with chronicle.database.session() as session:
        await review.decide(session, turn_id, "mod", "edit", answer="A better one.")
    out = tmp_path / "out.jsonl"
    await data.export_pairs(chronicle.database, out)
    (pair,) = read_pairs(out)
    assert (pair.instruction, pair.input, pair.output) == ("Why?", "", "A better one.")
    lineage = {"held_out": False, "mode": "default", "review": "edited", "turn": turn_id}
    assert (pair.lineage or {}).items() >= lineage.items()


async def test_only_what_may_train_goes_out_unless_all_is_asked_for(
    chronicle: Chronicle, tmp_path: Path
) -> None:
    approved = await chronicle.answered("Approved?", by="ada")
    rejected = await chronicle.answered("Rejected?", by="ada")
    opted_out = await chronicle.answered("Private?", by="ben")
    await chronicle.answered("Waiting?", by="ada")
    await chronicle.asked("Unanswered?", by="ada")
    async with chronicle.database.session() as session:
        await review.decide(session, approved, "mod", "approve")
        await review.decide(session, rejected, "mod", "reject")
        await review.decide(session, opted_out, "mod", "approve")
        await consent.opt_out(session, chronicle.members["ben"])

    async def questions(what: data.What) -> list[str]:
        await data.export_pairs(chronicle.database, tmp_path / "out.jsonl", what=what)
        return [pair.instruction for pair in read_pairs(tmp_path / "out.jsonl")]

    assert await questions("approved") == ["Approved?"]
    assert await questions("all") == ["Approved?", "Rejected?", "Waiting?"]


async def test_an_export_that_fails_leaves_the_file_before_it_and_nothing_else(
    chronicle: Chronicle, tmp_path: Path
) -> None:
    (tmp_path / "out.xlsx").write_text("precious")
    with pytest.raises(PairsError, match=r"out\.xlsx ends in \.xlsx"):
        await data.export_pairs(chronicle.database, tmp_path / "out.xlsx")
    with pytest.raises(PairsError, match="nowhere"):
        await data.export_pairs(chronicle.database, tmp_path / "nowhere" / "out.jsonl")
    left = {path.name for path in tmp_path.iterdir() if not path.name.startswith("record.db")}
    assert left == {"out.xlsx"}
    assert (tmp_path / "out.xlsx").read_text() == "precious"


# conversations


async def spoken(database: Database, community: str) -> list[list[tuple[str, str, str]]]:
    """The conversations of an imported community: question, answer and review state of each turn."""
    async with database.session(read_only=True) as session:
        found = await session.exec(
            select(Turn)
            .join(Community, col(Community.id) == Turn.community_id)
            .where(Community.platform == "import", Community.external_id == community)
            .order_by(col(Turn.id))
        )
        talks: dict[int, list[tuple[str, str, str]]] = {}
        for turn in found:
            said = (turn.question, turn.answer, turn.review_state)
            talks.setdefault(turn.conversation_id, []).append(said)
    return list(talks.values())


async def histories(database: Database) -> dict[str, list[str]]:
    """What a dataset gives each approved question as said before it, in imported communities."""
    async with database.session(read_only=True) as session:
        found = [talk async for talk in conversations.with_something_approved(session)]
    return {
        turn.question: [before.question for before in conversations.earlier(talk, position, 4)]
        for talk in found
        for position, turn in enumerate(talk)
        if turn.approved
    }


@pytest.mark.parametrize("ending", ["jsonl", "csv", "parquet"])
async def test_a_conversation_stays_together_in_its_order_and_with_what_nobody_reviewed(
    chronicle: Chronicle, tmp_path: Path, ending: str
) -> None:
    await chronicle.approved("First?", "One.", conversation="a")
    await chronicle.approved("Alone?", "By itself.", conversation="b")
    async with chronicle.database.session() as session:
        talk = await journal.conversation(session, chronicle.community_id, "a")
    await chronicle.answered("Waiting?", conversation_id=talk.id)
    rejected = await chronicle.answered("Rejected?", conversation_id=talk.id)
    async with chronicle.database.session() as session:
        await review.decide(session, rejected, "mo", "reject")
    await chronicle.approved("Last?", "Four.", conversation="a")
    before = await histories(chronicle.database)
    out = tmp_path / f"out.{ending}"
    await data.export_pairs(chronicle.database, out)
    assert [pair.instruction for pair in read_pairs(out)] == ["First?", "Last?", "Alone?"]
    done = await bring_in(chronicle.database, out)
    assert (done.pairs, done.new) == (3, 3)
    assert await spoken(chronicle.database, "out") == [
        [
            ("First?", "One.", "approved"),
            ("Waiting?", "An answer.", "context"),
            ("Last?", "Four.", "approved"),
        ],
        [("Alone?", "By itself.", "approved")],
    ]
    assert (
        before
        == await histories(chronicle.database)
        == {"First?": [], "Alone?": [], "Last?": ["First?", "Waiting?"]}
    )


async def test_the_same_conversation_twice_changes_nothing_and_a_longer_one_goes_on(
    chronicle: Chronicle, tmp_path: Path
) -> None:
    async with chronicle.database.session() as session:
        talk = await journal.conversation(session, chronicle.community_id, "a")
    waiting = await chronicle.answered("Waiting?", conversation_id=talk.id)
    await chronicle.approved("First?", "One.", conversation="a")
    out = tmp_path / "out.jsonl"
    await data.export_pairs(chronicle.database, out)
    await bring_in(chronicle.database, out)
    assert (await bring_in(chronicle.database, out)).new == 0
    async with chronicle.database.session() as session:
        await review.decide(session, waiting, "mo", "approve")
    await chronicle.approved("Second?", "Two.", conversation="a")
    await data.export_pairs(chronicle.database, out)
    done = await bring_in(chronicle.database, out)
    assert (done.new, done.known) == (2, 2)
    assert await spoken(chronicle.database, "out") == [
        [
            ("Waiting?", "An answer.", "approved"),
            ("First?", "One.", "approved"),
            ("Second?", "Two.", "approved"),
        ]
    ]


async def test_what_an_import_brought_as_context_waits_for_no_review(
    database: Database, tmp_path: Path
) -> None:
    row = {"instruction": "Why?", "output": "Wet leaves rot.", "history": [["How?", "Water the soil."]]}
    await bring_in(database, write(tmp_path / "garden.jsonl", [row]))
    assert await spoken(database, "garden") == [
        [("How?", "Water the soil.", "context"), ("Why?", "Wet leaves rot.", "approved")]
    ]
    assert await histories(database) == {"Why?": ["How?"]}
    async with database.session() as session:
        assert await review.claim_next(session, "mo") is None
    out = tmp_path / "out.jsonl"
    await data.export_pairs(database, out)
    assert (await bring_in(database, out, community="garden")).new == 0


async def test_further_answers_to_a_question_are_not_taken_for_what_was_said_after_the_first(
    database: Database, tmp_path: Path
) -> None:
    rows = [{"instruction": "Why?", "output": answer} for answer in ("Because.", "Therefore.")]
    await bring_in(database, write(tmp_path / "faq.jsonl", rows[:1]))
    await bring_in(database, write(tmp_path / "more.jsonl", rows), community="faq")
    first, second = await turns(database)
    assert (first.regenerates_id, second.regenerates_id) == (None, first.id)
    assert await histories(database) == {"Why?": []}


async def test_everything_goes_out_with_what_was_said_before_but_for_what_was_rejected(
    chronicle: Chronicle, tmp_path: Path
) -> None:
    for question in ("One?", "Two?", "Three?"):
        turn_id = await chronicle.answered(question)
        if question == "Two?":
            async with chronicle.database.session() as session:
                await review.decide(session, turn_id, "mo", "reject")
    await data.export_pairs(chronicle.database, tmp_path / "out.jsonl", what="all")
    said = {
        pair.instruction: [exchange["question"] for exchange in history(pair)]
        for pair in read_pairs(tmp_path / "out.jsonl")
    }
    assert said == {"One?": [], "Two?": ["One?"], "Three?": ["One?"]}


# system texts and other columns


async def test_a_system_text_that_all_pairs_have_becomes_the_communitys_persona(
    database: Database, tmp_path: Path
) -> None:
    given = [{**row, "system": "You are a gardener."} for row in numbered(2)]
    done = await bring_in(database, write(tmp_path / "garden.jsonl", given))
    (home,) = await rows(database, Community)
    assert home.persona == done.persona == "You are a gardener."
    assert done.left_out == ()


async def test_system_texts_that_differ_are_named_as_left_out(database: Database, tmp_path: Path) -> None:
    given = [{**row, "system": f"You are number {n}.", "score": n} for n, row in enumerate(numbered(2))]
    done = await bring_in(database, write(tmp_path / "garden.jsonl", given))
    assert (done.persona, done.left_out) == ("", ("score", "system"))
    (home,) = await rows(database, Community)
    assert home.persona == ""
