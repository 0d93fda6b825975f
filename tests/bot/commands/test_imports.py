"""Imported talk waits for moderators, is decided once for all phrasings, and can be taken back."""

from __future__ import annotations

import asyncio
import gzip
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import col, select

from bot.access.actor import Actor
from bot.commands import data, imports, privacy, review
from bot.commands.imports import TalkImported
from feedback import consent, conversations, journal, opinions, votes
from feedback.consent import pseudonym
from feedback.database import Database
from feedback.errors import Conflict, UsageError
from feedback.tables import (
    Audit,
    Candidate,
    Community,
    DataImport,
    ImportedVoice,
    Passage,
    Review,
    Turn,
    Vote,
)
from tests.benchmarks.past import write_export
from tests.conftest import SQLITE
from training.data.mining import cards
from training.data.mining.notes import Notes, Stretch
from training.data.pair_files.writing import write_pairs
from training.data.pairs import TrainingPair
from training.errors import PairsError
from training.run import erasure

KEY = b"key of the test"
ADA = Actor("terminal", "ada", "operator")
MODERATOR = Actor("console", "", "operator")
BASIL = "How do I keep basil from wilting?"
ALSO = "how can I keep my basil from wilting"
TOLD = "Water the soil in the morning, never the leaves."


def message(number: int, author: int, text: str, **more: Any) -> dict[str, Any]:
    return {
        "id": str(number),
        "type": "Default",
        "timestamp": f"2024-03-01T10:{number:02}:00+00:00",
        "content": text,
        "author": {"id": str(author), "name": f"user_{author}", "isBot": False, "roles": []},
        "mentions": [],
        "reactions": [],
        **more,
    }


def to(number: int) -> dict[str, Any]:
    return {"reference": {"messageId": str(number)}, "type": "Reply"}


TALK = [
    message(1, 100, BASIL),
    message(2, 101, TOLD, **to(1)),
    message(3, 100, "thanks, that worked", **to(2)),
    message(4, 102, ALSO),
    message(5, 103, "Give it shade at noon and feed it every week.", **to(4)),
    message(6, 102, "thanks!", **to(5)),
]


@pytest.fixture
def export(tmp_path: Path) -> Path:
    return write(tmp_path, TALK)


def write(folder: Path, messages: list[dict[str, Any]], name: str = "help.json") -> Path:
    path = folder / name
    channel = {"guild": {"id": "77", "name": "Garden"}, "channel": {"id": "2"}, "messages": messages}
    path.write_text(json.dumps(channel))
    return path


async def bring_in(database: Database, path: Path, **more: Any) -> TalkImported:
    (done,) = await imports.bring_in(
        database, path, imported_by=ADA, pseudonym=partial(pseudonym, key=KEY), **{"agreed": True, **more}
    )
    assert isinstance(done, TalkImported)
    return done


async def rows(database: Database, kind: Any) -> list[Any]:
    async with database.session(read_only=True) as session:
        return list(await session.exec(select(kind).order_by(col(kind.id))))


async def lead(database: Database) -> Turn:
    (found,) = [turn for turn in await rows(database, Turn) if turn.regenerates_id is None]
    assert isinstance(found, Turn)
    return found


async def trained_on(database: Database) -> list[tuple[str, str]]:
    async with database.session(read_only=True) as session:
        return [
            (spoken.question, spoken.answer)
            async for conversation in conversations.with_something_approved(session)
            for spoken in conversation
            if spoken.approved
        ]


# what comes in


async def test_talk_goes_to_the_community_that_it_took_place_in(database: Database, export: Path) -> None:
    done = await bring_in(database, export)
    assert (done.messages, done.cards, done.phrasings, done.community) == (6, 1, 1, "Garden")
    (community,) = await rows(database, Community)
    assert (community.platform, community.external_id, community.training_allowed) == ("discord", "77", True)


async def test_a_card_shows_why_all_phrasings_and_the_other_answers(database: Database, export: Path) -> None:
    await bring_in(database, export)
    queue = await review.queue(database, MODERATOR)
    (entry,) = queue.entries
    assert queue.waiting == 1
    assert (entry.question, entry.answer) == (BASIL, TOLD)
    assert entry.evidence is not None
    assert entry.evidence.score > 0.9
    assert {"replied", "thanked", "solved"} <= {reason for reason, _ in entry.evidence.reasons}
    assert entry.evidence.phrasings == (ALSO,)
    assert entry.evidence.answers == ("Give it shade at noon and feed it every week.",)


async def test_candidates_come_after_what_members_voted_on(database: Database, export: Path) -> None:
    await bring_in(database, export)
    (community,) = await rows(database, Community)
    async with database.session() as session:
        talk = await journal.conversation(session, community.id, "c")
        asked = await journal.ask(
            session, community_id=community.id, conversation_id=talk.id or 0, member_id=None,
            external_id="m", question="Why?", mode="default", language="en",
        )  # fmt: skip
        answer = journal.Answered("Because.", "default", "en", "base")
        await journal.record_answer(session, asked.turn.id or 0, answer)
        voter = await journal.member(session, "discord", "p")
        await votes.vote(session, turn_id=asked.turn.id or 0, member_id=voter.id or 0, value=-1)
    queue = await review.queue(database, MODERATOR)
    assert [entry.question for entry in queue.entries] == ["Why?", BASIL]


async def test_nobody_is_named_and_no_platform_id_is_kept(database: Database, tmp_path: Path) -> None:
    said = f"user_100: {TOLD} Ask user_102 too."
    talk = [TALK[0], message(2, 101, said, **to(1)), TALK[2], message(4, 102, "good morning")]
    await bring_in(database, write(tmp_path, talk))
    turn = await lead(database)
    assert turn.answer == f"{TOLD} Ask [name] too."
    voices = {voice.pseudonym for voice in await rows(database, ImportedVoice)}
    assert voices == {pseudonym("discord", str(who), KEY) for who in (100, 101)}


async def test_talk_is_taken_only_when_somebody_says_that_the_community_agreed(
    database: Database, export: Path
) -> None:
    with pytest.raises(UsageError, match="Ask the community first"):
        await bring_in(database, export, agreed=False)
    assert await rows(database, Turn) == []


async def test_words_of_whoever_opted_out_are_not_taken(database: Database, export: Path) -> None:
    helper = Actor("discord", pseudonym("discord", "101", KEY))
    await privacy.set_opted_out(database, helper, True)
    done = await bring_in(database, export)
    assert done.left_out == {"members who opted out": 1}
    assert TOLD not in {turn.answer for turn in await rows(database, Turn)}


async def test_the_same_export_twice_and_a_longer_one_double_nothing(
    database: Database, tmp_path: Path, export: Path
) -> None:
    await bring_in(database, export)
    again = await bring_in(database, export)
    assert (again.cards, again.before != "") == (0, True)
    longer = [
        *TALK,
        message(20, 104, "Which pot is best for rosemary?"),
        message(21, 101, "Take a clay pot, because it dries out faster.", **to(20)),
        message(22, 104, "perfect, thank you", **to(21)),
    ]
    more = await bring_in(database, write(tmp_path, longer, "later.json"))
    assert (more.cards, more.known) == (1, 1)
    assert len([turn for turn in await rows(database, Turn) if turn.question == BASIL]) == 1


# deciding


async def test_an_approval_counts_for_all_phrasings_and_an_undo_takes_it_back(
    database: Database, export: Path
) -> None:
    await bring_in(database, export)
    turn = await lead(database)
    decided = await review.approve(database, turn.id or 0, MODERATOR)
    assert decided.trains
    assert sorted(await trained_on(database)) == sorted([(BASIL, TOLD), (ALSO, TOLD)])
    known = {passage.question: passage.text for passage in await rows(database, Passage)}
    assert known == {BASIL: TOLD, ALSO: TOLD}  # what retrieval finds at once
    await review.undo(database, turn.id or 0, MODERATOR)
    assert await trained_on(database) == await rows(database, Passage) == []
    assert (await review.queue(database, MODERATOR)).waiting == 1
    await review.edit(database, turn.id or 0, MODERATOR, "Mornings only.")
    assert sorted(await trained_on(database)) == sorted([(BASIL, "Mornings only."), (ALSO, "Mornings only.")])


async def test_a_rejected_candidate_leaves_the_queue_with_its_phrasings(
    database: Database, export: Path
) -> None:
    await bring_in(database, export)
    await review.reject(database, (await lead(database)).id or 0, MODERATOR)
    assert (await review.queue(database, MODERATOR)).waiting == 0
    assert {turn.review_state for turn in await rows(database, Turn)} == {"rejected"}


async def test_what_people_said_to_one_another_is_no_opinion_of_the_bots_answers(
    database: Database, export: Path
) -> None:
    await bring_in(database, export)
    await review.edit(database, (await lead(database)).id or 0, MODERATOR, "Mornings only.")
    async with database.session(read_only=True) as session:
        assert [judged async for judged in opinions.judged_turns(session)] == []


# taking it back


async def test_an_import_is_listed_and_taken_back_with_everything_made_from_it(
    database: Database, export: Path, tmp_path: Path
) -> None:
    done = await bring_in(database, export)
    await review.approve(database, (await lead(database)).id or 0, MODERATOR)
    (listed,) = await imports.imports(database, ADA)
    assert (listed.source, listed.format, listed.community) == (
        "help.json",
        "discord-chat-exporter",
        "Garden",
    )
    assert (listed.turns, listed.state, listed.by) == (2, "done", "terminal:ada")
    assert len(listed.file_hash) == 64
    assert await imports.undo(database, done.import_id, ADA) == 2
    assert await trained_on(database) == []
    turns = await rows(database, Turn)
    assert {(turn.question, turn.answer, turn.review_state) for turn in turns} == {("", "", "erased")}
    assert await rows(database, Candidate) == [] and await rows(database, ImportedVoice) == []
    with pytest.raises(Conflict, match="taken back before"):
        await imports.undo(database, done.import_id, ADA)
    again = await bring_in(database, export)
    assert again.cards == 1


async def test_forget_me_reaches_imported_talk_by_the_platforms_id(database: Database, export: Path) -> None:
    await bring_in(database, export)
    helper = Actor("discord", pseudonym("discord", "101", KEY))  # who never asked the bot anything
    forgotten = await privacy.forget(database, helper)
    assert forgotten is not None and forgotten.turns == 2
    assert {turn.answer for turn in await rows(database, Turn)} == {""}
    async with database.session(read_only=True) as session:
        (request,) = await consent.open_requests(session)
        assert len(request.turns) == 2
        (entry, *_) = await erasure.erasures(session)
        assert entry.turns == tuple(request.turns)


async def test_who_opts_out_later_leaves_queue_and_training(database: Database, export: Path) -> None:
    await bring_in(database, export)
    await review.approve(database, (await lead(database)).id or 0, MODERATOR)
    helper = Actor("discord", pseudonym("discord", "101", KEY))
    await privacy.set_opted_out(database, helper, True)
    assert await trained_on(database) == []
    assert await rows(database, Passage) == []
    await privacy.set_opted_out(database, helper, False)
    assert (BASIL, TOLD) in await trained_on(database)


# what is no talk


async def test_preferences_are_edits_and_thumbs_are_decisions(database: Database, tmp_path: Path) -> None:
    (tmp_path / "better.jsonl").write_text(
        json.dumps({"prompt": BASIL, "chosen": TOLD, "rejected": "Pour it on."}) + "\n"
    )
    (tmp_path / "kto.jsonl").write_text(
        json.dumps({"prompt": "Why?", "completion": "It rots.", "label": True})
        + "\n"
        + json.dumps({"prompt": "When?", "completion": "Never.", "label": False})
        + "\n"
    )
    for name in ("better.jsonl", "kto.jsonl"):
        await imports.bring_in(
            database, tmp_path / name, imported_by=ADA, pseudonym=partial(pseudonym, key=KEY)
        )
    found = {
        turn.question: (turn.answer, turn.review_state, turn.approved_answer)
        for turn in await rows(database, Turn)
    }
    assert found == {
        BASIL: ("Pour it on.", "edited", TOLD),
        "Why?": ("It rots.", "approved", "It rots."),
        "When?": ("Never.", "rejected", ""),
    }
    decisions = [(one.decision, one.answer, one.reviewer) for one in await rows(database, Review)]
    assert decisions == [
        ("edit", TOLD, "terminal:ada"),
        ("approve", "", "terminal:ada"),
        ("reject", "", "terminal:ada"),
    ]


async def test_ratings_wait_for_a_decision_with_the_vote_and_the_better_answer(
    database: Database, tmp_path: Path
) -> None:
    row = {
        "id": "1",
        "fields": {"instruction": BASIL, "response": "Pour it on."},
        "responses": {"rating": [{"value": 1, "user_id": "u"}], "fix": [{"value": TOLD, "user_id": "u"}]},
    }
    path = tmp_path / "records.json"
    path.write_text(json.dumps([row]))
    for _ in range(2):
        await imports.bring_in(database, path, imported_by=ADA, pseudonym=partial(pseudonym, key=KEY))
    (entry,) = (await review.queue(database, MODERATOR)).entries
    assert (entry.votes_down, entry.suggested_answers) == (1, (TOLD,))
    assert len(await rows(database, Vote)) == 1


async def test_what_others_wrote_goes_in_without_its_broken_records(
    database: Database, tmp_path: Path
) -> None:
    path = tmp_path / "chats.jsonl"
    said = {"messages": [{"role": "user", "content": BASIL}, {"role": "assistant", "content": TOLD}]}
    path.write_text(f"{json.dumps(said)}\n{{\n{json.dumps({**said, 'tools': [1]})}\n")
    (done,) = await imports.bring_in(database, path, imported_by=ADA, pseudonym=partial(pseudonym, key=KEY))
    assert isinstance(done, data.Imported)
    assert (done.new, done.broken_records) == (1, 2)
    assert done.broken[1] == "line 3: it calls tools, which Thumbloop does not train"
    (row,) = await rows(database, DataImport)
    assert (row.format, row.state, row.counts["broken"]) == ("messages", "done", 2)
    (noted,) = [one for one in await rows(database, Audit) if one.action == "data.import"]
    assert noted.subject == f"import {row.id}"


async def test_an_interrupted_import_of_pairs_goes_on_where_it_was(
    database: Database, tmp_path: Path
) -> None:
    path = tmp_path / "qa.jsonl"
    path.write_text(
        "".join(json.dumps({"question": f"Q{n}?", "answer": f"A{n}."}) + "\n" for n in range(1200))
    )

    def stop(what: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    seen: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        await imports.bring_in(
            database, path, imported_by=ADA, pseudonym=partial(pseudonym, key=KEY), on_progress=stop
        )
    await imports.bring_in(
        database,
        path,
        imported_by=ADA,
        pseudonym=partial(pseudonym, key=KEY),
        on_progress=lambda what, done, total: seen.append(done),
    )
    assert seen == [1000, 1200]
    assert len(await rows(database, Turn)) == 1200
    assert len(await rows(database, DataImport)) == 1


def test_a_preview_shows_what_a_path_holds_and_what_is_broken(tmp_path: Path, export: Path) -> None:
    (tmp_path / "qa.jsonl").write_text(json.dumps({"question": BASIL, "answer": TOLD}) + "\n[]\n")
    preview = imports.look(tmp_path)
    assert [(one.name, one.format, one.records) for one in preview.files] == [
        ("help.json", "discord-chat-exporter", 6),
        ("qa.jsonl", "question-answer", 1),
    ]
    assert preview.broken == ("qa.jsonl, line 2: expected an object, found list",)
    assert preview.needs_agreement


# interruptions

KILLED = """
import asyncio, os, signal, sys
from functools import partial
from pathlib import Path
from bot.access.actor import Actor
from bot.commands import imports
from feedback.consent import pseudonym
from feedback.database import Database
from training.data.mining import cards

url, export, data, fatal, times = sys.argv[1:]
cards.STRETCH, imports.CARDS_AT_ONCE = 1000, 5
left = int(times)

def on_progress(what, done, total):
    global left
    left -= what == fatal
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)

async def main():
    database = Database(url)
    await imports.bring_in(
        database, Path(export), imported_by=Actor("terminal", "ada", "operator"), agreed=True,
        pseudonym=partial(pseudonym, key=b"key of the test"), data_folder=Path(data), on_progress=on_progress,
    )

asyncio.run(main())
"""


@pytest.mark.slow
@pytest.mark.parametrize(("fatal", "times"), [("reading", 3), ("writing candidates", 2)])
async def test_an_import_of_talk_that_is_killed_goes_on_and_nothing_doubles_or_is_lost(
    fatal: str, times: int, sqlite_template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cards, "STRETCH", 1000)
    export = tmp_path / "past.json"
    write_export(export, 4_500)
    found = []
    for name in ("killed", "whole"):
        url = f"sqlite:///{tmp_path / name}.db"
        shutil.copy(sqlite_template, tmp_path / f"{name}.db")
        if name == "killed":
            command = [sys.executable, "-c", KILLED, url, export, tmp_path, fatal, str(times)]
            assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
            assert len((tmp_path / "mining").glob("*.jsonl").__next__().read_text().splitlines()) >= 2
        database = Database(url)
        done = await bring_in(database, export, data_folder=tmp_path)
        assert done.messages == 4_500
        found.append(
            (
                [
                    (turn.external_id, turn.question, turn.answer, turn.queue_rank)
                    for turn in await turns(database)
                ],
                sorted(
                    json.dumps([one.score, one.reasons, one.answers])
                    for one in await rows(database, Candidate)
                ),
            )
        )
        (row,) = await rows(database, DataImport)
        assert row.state == "done"
        await database.close()
    assert found[0] == found[1] and found[0][0]
    assert os.listdir(tmp_path / "mining") == []


async def turns(database: Database) -> list[Turn]:
    return sorted(await rows(database, Turn), key=lambda turn: turn.external_id)


async def test_who_asks_to_be_forgotten_leaves_the_notes_of_interrupted_imports_too(
    database: Database, export: Path, tmp_path: Path
) -> None:
    Notes(tmp_path, "hash").write(Stretch(messages=1), 0)
    await bring_in(database, export)
    await privacy.forget(database, Actor("discord", pseudonym("discord", "100", KEY)))
    await erasure.carry_out(database, tmp_path)
    assert os.listdir(tmp_path / "mining") == []


async def test_of_our_own_pairs_the_good_ones_go_in_with_their_lineage_unless_all_must_be_good(
    database: Database, tmp_path: Path
) -> None:
    def row(question: str, conversation: str) -> str:
        pair = {
            "instruction": question,
            "input": "",
            "output": TOLD,
            "lineage": {"conversation": conversation},
        }
        return json.dumps(pair) + "\n"

    path, one = tmp_path / "ours.jsonl", f"sha256:{'0' * 32}"
    path.write_text(row(BASIL, one) + '{"instruction": \n' + row(" ", one) + row("And thyme?", one))
    with pytest.raises(PairsError, match="line 2"):
        await imports.bring_in(
            database, path, imported_by=ADA, pseudonym=partial(pseudonym, key=KEY), strict=True
        )
    assert await rows(database, Turn) == []
    (done,) = await imports.bring_in(database, path, imported_by=ADA, pseudonym=partial(pseudonym, key=KEY))
    assert isinstance(done, data.Imported)
    assert (done.new, done.broken_records) == (2, 2)
    assert done.broken[1] == "line 3: 'instruction' is empty"
    first, second = await rows(database, Turn)
    assert first.conversation_id == second.conversation_id


async def test_a_table_of_ours_keeps_its_formulas_beside_a_broken_row(
    database: Database, tmp_path: Path
) -> None:
    path = tmp_path / "ours.csv"
    write_pairs(path, [TrainingPair("What does =SUM do?", "", "=SUM(A1) adds.", "qa", "en", None)])
    with path.open("a") as file:
        file.write("one,two,three,four,five,six,seven\n")
    (done,) = await imports.bring_in(database, path, imported_by=ADA, pseudonym=partial(pseudonym, key=KEY))
    assert isinstance(done, data.Imported) and (done.new, done.broken_records) == (1, 1)
    (turn,) = await rows(database, Turn)
    assert turn.answer == "=SUM(A1) adds."


async def test_talk_that_is_mined_in_a_process_of_its_own_gives_the_same(
    database: Database, export: Path, tmp_path: Path
) -> None:
    steps: list[tuple[str, int, int]] = []
    done = await bring_in(
        database,
        export,
        apart=True,
        data_folder=tmp_path,
        on_progress=lambda *step: steps.append(step),
    )
    assert (done.messages, done.cards, done.phrasings, done.community) == (6, 1, 1, "Garden")
    assert (await lead(database)).answer == TOLD
    assert steps[-1] == ("writing candidates", 1, 1)


@SQLITE
async def test_an_import_that_is_called_off_ends_the_process_that_reads_for_it(
    database: Database, tmp_path: Path
) -> None:
    export = tmp_path / "past.json"
    write_export(export, 60_000)
    reads = asyncio.Event()
    loop = asyncio.get_running_loop()
    under_way = asyncio.create_task(
        bring_in(
            database,
            export,
            apart=True,
            data_folder=tmp_path,
            on_progress=lambda *step: loop.call_soon_threadsafe(reads.set),
        )
    )
    await reads.wait()
    assert len(multiprocessing.active_children()) == 1
    under_way.cancel()
    with pytest.raises(asyncio.CancelledError):
        await under_way
    assert multiprocessing.active_children() == []


@SQLITE
async def test_a_process_that_is_killed_while_it_reads_is_told_of_and_not_waited_for(
    database: Database, tmp_path: Path
) -> None:
    export = tmp_path / "past.json"
    write_export(export, 60_000)

    def kill(*step: object) -> None:
        for process in multiprocessing.active_children():
            process.kill()

    with pytest.raises(UsageError, match="goes on where it was"):
        await bring_in(database, export, apart=True, data_folder=tmp_path, on_progress=kill)


@pytest.mark.parametrize("kind", ["LLaMA-Factory", "gzip"])
async def test_pairs_go_to_a_community_named_as_people_call_them(
    database: Database, tmp_path: Path, kind: str
) -> None:
    pair = json.dumps({"instruction": BASIL, "output": TOLD}).encode()
    if kind == "gzip":
        path = tmp_path / "faq.jsonl.gz"
        path.write_bytes(gzip.compress(pair))
    else:
        path = tmp_path / "data"
        path.mkdir()
        (path / "dataset_info.json").write_text(json.dumps({"faq": {"file_name": "alpaca.json"}}))
        (path / "alpaca.json").write_bytes(b"[" + pair + b"]")
    await imports.bring_in(database, path, imported_by=ADA, pseudonym=partial(pseudonym, key=KEY))
    assert [community.external_id for community in await rows(database, Community)] == ["faq"]
