"""The conversation at the terminal."""

from __future__ import annotations

import asyncio
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlmodel import select

from feedback.database import Database
from feedback.tables import Community, Conversation, Turn, Vote
from tests.bot.cli.conftest import Thumbloop


def test_a_conversation_is_answered_voted_on_and_kept(thumbloop: Thumbloop, data: Path) -> None:
    said = thumbloop("chat", stdin="What is LoRA?\n/up\n/down tone\nAnd then?\n/quit\nnever read\n")
    assert said.status == 0
    turns, votes, conversations = asyncio.run(_kept(data))
    assert [turn.question for turn in turns] == ["What is LoRA?", "And then?"]
    assert all(turn.answer in said.out for turn in turns)
    assert [(vote.turn_id, vote.value, vote.reason) for vote in votes] == [(turns[0].id, -1, "tone")]
    assert conversations == 1


def test_a_fresh_installation_says_what_to_do_and_a_used_one_no_more(thumbloop: Thumbloop) -> None:
    assert "`thumbloop import FILE`" in thumbloop("chat", stdin="What is LoRA?\n/quit\n").out
    assert "`thumbloop import FILE`" not in thumbloop("chat", stdin="/quit\n").out


def test_new_begins_another_conversation(thumbloop: Thumbloop, data: Path) -> None:
    said = thumbloop("chat", stdin="What is LoRA?\n/new\n/up\nAnd then?\n")
    assert "no answer to vote on yet" in said.out
    assert asyncio.run(_kept(data))[2] == 2


def test_modes_and_adapters_are_chosen_and_wrong_ones_refused(thumbloop: Thumbloop, data: Path) -> None:
    said = thumbloop(
        "chat", stdin="/mode tldr\n/mode shout\n/adapter base\n/adapter poet\n/adapter\nHi there?\n/dance\n"
    )
    (turn,) = asyncio.run(_kept(data))[0]
    assert turn.mode == "tldr"
    assert "no mode shout" in said.out
    assert "There is no adapter poet" in said.out
    assert "Adapter: base" in said.out
    assert "no command /dance" in said.out


def test_a_question_that_is_refused_does_not_end_the_conversation(thumbloop: Thumbloop, data: Path) -> None:
    said = thumbloop("chat", stdin=f"{'a' * 9000}\nWhat is LoRA?\n")
    assert said.status == 0
    assert "9,000 characters" in said.out
    assert len(asyncio.run(_kept(data))[0]) == 1


def test_it_speaks_polish_where_the_machine_does(
    thumbloop: Thumbloop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LC_ALL", "pl_PL.UTF-8")
    assert "ostatnia odpowiedź była dobra" in thumbloop("chat", stdin="/help\n").out


def test_what_the_operator_asks_may_train_until_somebody_forbids_it(thumbloop: Thumbloop, data: Path) -> None:
    thumbloop("ask", "What is LoRA?")
    assert asyncio.run(_training_allowed(data, forbid=True)) is True
    thumbloop("ask", "And then?")
    assert asyncio.run(_training_allowed(data)) is False


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_at_the_prompt_leaves_with_one_sentence(
    number: signal.Signals, status: int, started: Callable[..., subprocess.Popen[str]]
) -> None:
    chat = started("chat")
    assert chat.stdout is not None
    assert chat.stdout.readline()  # the welcome: the model is loaded, and the prompt is there
    chat.send_signal(number)
    _, said = chat.communicate(timeout=60)
    assert chat.returncode == status
    assert said.splitlines()[-1].startswith("Stopped")
    assert "Traceback" not in said


async def _kept(data: Path) -> tuple[list[Turn], list[Vote], int]:
    database = Database(f"sqlite:///{data / 'thumbloop.db'}")
    async with database.session(read_only=True) as session:
        turns = list((await session.exec(select(Turn).order_by(Turn.id))).all())  # type: ignore[arg-type]
        votes = list((await session.exec(select(Vote))).all())
        conversations = (await session.exec(select(Conversation))).all()
    await database.close()
    return turns, votes, len(conversations)


async def _training_allowed(data: Path, *, forbid: bool = False) -> bool:
    database = Database(f"sqlite:///{data / 'thumbloop.db'}")
    async with database.session() as session:
        community = (await session.exec(select(Community).where(Community.platform == "terminal"))).one()
        allowed = community.training_allowed
        if forbid:
            community.training_allowed = False
            session.add(community)
    await database.close()
    return allowed
