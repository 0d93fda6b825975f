"""From a question to a kept answer and its votes, with a real engine on real databases."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sqlite3
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from sqlalchemy import event
from sqlmodel import select
from structlog.testing import capture_logs
from transformers import AutoModelForCausalLM, AutoTokenizer

from bot.answering.answerer import AnswerRequest, Message, Piece, Sampling
from bot.answering.local import LocalAnswerer
from bot.assistant import Assistant, AssistantOptions, LookupOptions
from bot.errors import AdapterRefused, AnsweringFailed, PromptTooLong, Stopping, TookTooLong
from bot.knowledge.knowledge import Knowledge
from bot.questions import Finished, Origin, Place, Question, TextPiece
from feedback import consent, incoming, journal, open_questions, review
from feedback.database import Database
from feedback.errors import Conflict, NotFound, SettingsError, UsageError
from feedback.incoming import Incoming
from feedback.journal import Answered
from feedback.tables import Adapter, Member, Turn
from tests.bot.answering.conftest import ALL_LINEAR, save_adapter
from tests.bot.assembly import core_of
from tests.conftest import SQLITE
from tests.doubles.tiny_model import CONTEXT, write_tiny_model
from tests.engines import engines
from tests.transactions import counted
from training.adapters import deployments, registry

PLACE = Place("discord", "guild", "thread", "A guild")
LONG = 60
OPTIONS = AssistantOptions(
    persona="plain",
    mode="default",
    sampling=Sampling(max_new_tokens=12),
    history_turns=4,
    max_question_characters=400,
)
Make = Callable[..., Assistant]


ROUNDS = 36
"""Questions that are cancelled, the last one after some thousand steps of the event loop."""
CANCELLATIONS = 25


class Overheard(LocalAnswerer):
    """The real answerer, which also remembers what it was asked."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.requests: list[AnswerRequest] = []

    async def stream(self, request: AnswerRequest) -> AsyncGenerator[Piece, None]:
        self.requests.append(request)
        async with contextlib.aclosing(super().stream(request)) as pieces:
            async for piece in pieces:
                yield piece


class Breaking(Overheard):
    """An answerer that breaks after its first piece, as `fault` says."""

    fault: Exception = RuntimeError("CUDA error at 0xdeadbeef")

    async def stream(self, request: AnswerRequest) -> AsyncGenerator[Piece, None]:
        async with contextlib.aclosing(super().stream(request)) as pieces:
            async for piece in pieces:
                yield piece
                raise self.fault


class BreakingWithAReason(Breaking):
    """One that says why it breaks."""

    fault = AnsweringFailed("The memory did not suffice.", "Ask later.")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny products are slower on two."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("assistant") / "tiny")


@pytest.fixture(scope="session")
def adapter_folder(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = AutoModelForCausalLM.from_pretrained(model_folder)
    place = tmp_path_factory.mktemp("adapter") / "saved"
    return save_adapter(model, place, r=4, lora_alpha=8, target_modules=ALL_LINEAR)


@pytest.fixture
async def make(model_folder: Path, database: Database, tmp_path: Path) -> AsyncIterator[Make]:
    """Makes assistants over the tiny model; their answerers are closed afterwards."""
    opened: list[LocalAnswerer] = []

    def assistant(kind: type[LocalAnswerer] = Overheard, **changes: Any) -> Assistant:
        answerer = kind(
            AutoModelForCausalLM.from_pretrained(model_folder),
            AutoTokenizer.from_pretrained(model_folder),
            name="tiny",
            revision="r1",
        )
        opened.append(answerer)
        return Assistant(
            core_of(database, tmp_path),
            answerer,
            replace(OPTIONS, **changes),
            Knowledge(database, None),
        )

    yield assistant
    for answerer in opened:
        await answerer.close()


@pytest.fixture
def assistant(make: Make) -> Assistant:
    return make()


def asks(text: str = "What is LoRA?", number: int = 1, **changes: Any) -> Question:
    return replace(
        Question(place=PLACE, member="ada#1", external_id=f"message-{number}", text=text), **changes
    )


async def answer(assistant: Assistant, question: Question) -> Finished:
    """The whole answer, after checking that its pieces make it up."""
    events = [event async for event in assistant.ask(question)]
    *pieces, finished = events
    assert isinstance(finished, Finished)
    assert "".join(piece.text for piece in pieces if isinstance(piece, TextPiece)).strip() == finished.answer
    return finished


async def turn(database: Database, turn_id: int) -> Turn:
    async with database.session(read_only=True) as session:
        return await journal.find_turn(session, turn_id)


async def only_turn(database: Database) -> Turn:
    async with database.session(read_only=True) as session:
        return (await session.exec(select(Turn))).one()


async def deploy(database: Database, data: Path, saved: Path, **changes: Any) -> Adapter:
    """A copy of the saved adapter, promoted and serving everyone."""
    staged = data / "staged"
    shutil.copytree(saved, staged)
    about = {"name": "community", "base_model": "tiny", "base_revision": "r1"} | changes
    async with database.session() as session:
        adapter = await registry.add(session, data, staged, **about)
        adapter.state = "promoted"
        session.add(adapter)
        await session.flush()
        await deployments.switch(session, adapter, by="test")
    return adapter


def requests(assistant: Assistant) -> list[AnswerRequest]:
    assert isinstance(assistant.answerer, Overheard)
    return assistant.answerer.requests


# what is kept


async def test_a_question_is_kept_before_its_answer_and_the_answer_before_it_is_called_finished(
    make: Make, database: Database
) -> None:
    assistant = make(sampling=Sampling(max_new_tokens=LONG))
    states = []
    async for _ in assistant.ask(asks("  What is\0 LoRA? ")):
        kept = await only_turn(database)
        assert kept.question == "What is LoRA?"
        states.append(kept.state)
    assert states[0] == "asked"
    assert states[-1] == "answered"


async def test_an_answer_is_kept_with_where_it_came_from_and_what_it_cost(
    assistant: Assistant, database: Database
) -> None:
    finished = await answer(assistant, asks(mode="tldr"))
    kept = await turn(database, finished.turn_id)
    assert (kept.answer, kept.mode, kept.language) == (finished.answer, "tldr", "en")
    assert (kept.base_model, kept.base_revision, kept.adapter_id) == ("tiny", "r1", None)
    assert finished.adapter == "base"
    assert len(kept.prompt_fingerprint) == 16
    assert kept.prompt_tokens == assistant.answerer.count_tokens(requests(assistant)[0].messages)
    assert 0 < kept.answer_tokens <= 12
    assert 0 < kept.first_token_s <= kept.total_s
    assert kept.answered_at is not None and kept.answered_at >= kept.asked_at


async def test_an_answer_of_an_adapter_is_kept_with_the_adapter_and_differs_from_the_base(
    assistant: Assistant, database: Database, tmp_path: Path, adapter_folder: Path
) -> None:
    base = await answer(assistant, asks(number=1, place=replace(PLACE, conversation="one")))
    adapter = await deploy(database, tmp_path, adapter_folder)
    adapted = await answer(assistant, asks(number=2, place=replace(PLACE, conversation="two")))
    assert adapted.adapter == "community@1"
    assert (await turn(database, adapted.turn_id)).adapter_id == adapter.id
    assert adapted.answer != base.answer
    overridden = await answer(
        assistant, asks(number=3, adapter="base", place=replace(PLACE, conversation="three"))
    )
    assert (overridden.adapter, overridden.answer) == ("base", base.answer)


async def test_the_member_is_known_by_a_pseudonym_only(assistant: Assistant, database: Database) -> None:
    await answer(assistant, asks(member="ada#1"))
    async with database.session(read_only=True) as session:
        (member,) = (await session.exec(select(Member))).all()
    assert "ada" not in member.pseudonym
    assert member.pseudonym == consent.pseudonym("discord", "ada#1", b"k" * 32)


async def test_a_community_answers_by_its_own_persona_mode_and_language(
    assistant: Assistant, database: Database
) -> None:
    async with database.session() as session:
        community = await journal.community(session, "discord", "guild")
        community.persona, community.default_mode, community.language = "You are a pirate.", "checklist", "pl"
        session.add(community)
    finished = await answer(assistant, asks(text="Is the model larger than the memory of the card?"))
    kept = await turn(database, finished.turn_id)
    assert (kept.mode, kept.language) == ("checklist", "pl")
    assert kept.language_unsure, "neither question nor answer is Polish"
    system = requests(assistant)[0].messages[0]["content"]
    assert system.startswith("You are a pirate.") and system.endswith("Odpowiadaj po polsku.")


async def test_earlier_turns_of_the_same_conversation_go_into_the_prompt(
    make: Make, database: Database
) -> None:
    assistant = make(history_turns=1)
    await answer(assistant, asks("First question?", 1))
    second = await answer(assistant, asks("Second question?", 2))
    await answer(assistant, asks("Elsewhere?", 3, place=replace(PLACE, conversation="other")))
    await answer(assistant, asks("Third question?", 4))
    contents = [
        [message["content"] for message in request.messages[1:]] for request in requests(assistant)[2:]
    ]
    assert contents == [["Elsewhere?"], ["Second question?", second.answer, "Third question?"]]


# the same message twice


async def test_a_message_delivered_again_gets_the_kept_answer_and_generates_nothing(
    assistant: Assistant, database: Database
) -> None:
    first = await answer(assistant, asks())
    again = await answer(assistant, asks())
    assert (again.turn_id, again.answer, again.adapter) == (first.turn_id, first.answer, first.adapter)
    assert len(requests(assistant)) == 1
    assert (await only_turn(database)).id == first.turn_id


async def test_the_kept_answer_still_names_its_adapter(
    assistant: Assistant, database: Database, tmp_path: Path, adapter_folder: Path
) -> None:
    await deploy(database, tmp_path, adapter_folder)
    await answer(assistant, asks())
    async with database.session() as session:
        await deployments.switch(session, None, by="test")
    assert (await answer(assistant, asks())).adapter == "community@1"


async def test_a_message_delivered_again_while_it_is_answered_is_refused(make: Make) -> None:
    assistant = make(sampling=Sampling(max_new_tokens=LONG))
    under_way = assistant.ask(asks())
    await anext(under_way)
    with pytest.raises(Conflict, match="being answered already"):
        await answer(assistant, asks())
    *_, finished = [event async for event in under_way]
    assert isinstance(finished, Finished)
    assert len(requests(assistant)) == 1


async def test_of_many_deliveries_at_once_one_generates(make: Make, database: Database) -> None:
    assistant = make(sampling=Sampling(max_new_tokens=LONG))
    outcomes = await asyncio.gather(*(answer(assistant, asks()) for _ in range(5)), return_exceptions=True)
    assert len(requests(assistant)) == 1
    refused = [outcome for outcome in outcomes if isinstance(outcome, Conflict)]
    answered = [outcome for outcome in outcomes if isinstance(outcome, Finished)]
    assert len(answered) >= 1 and len(refused) + len(answered) == 5
    assert (await only_turn(database)).state == "answered"


async def test_a_delivery_that_learns_late_what_it_has_read_does_not_answer_again(
    make: Make, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, answered = database.session, asyncio.Event()

    @contextlib.asynccontextmanager
    async def ends_late(*, read_only: bool = False) -> AsyncIterator[Any]:
        async with session(read_only=read_only) as opened:
            yield opened
        await answered.wait()

    assistant = make(sampling=Sampling(max_new_tokens=LONG))
    under_way = assistant.ask(asks())
    await anext(under_way)
    with monkeypatch.context() as slow:
        slow.setattr(database, "session", ends_late)
        again = asyncio.create_task(answer(assistant, asks()))
        for _ in range(10):
            await asyncio.sleep(0)
    await _rest(under_way)
    answered.set()
    await asyncio.gather(again, return_exceptions=True)
    assert len(requests(assistant)) == 1


async def test_a_message_whose_texts_were_erased_is_not_answered_anew(
    assistant: Assistant, database: Database
) -> None:
    finished = await answer(assistant, asks())
    async with database.session() as session:
        kept = await journal.find_turn(session, finished.turn_id)
        kept.state, kept.question, kept.answer = "erased", "", ""
        session.add(kept)
    with pytest.raises(Conflict, match="erased"):
        await answer(assistant, asks())
    assert len(requests(assistant)) == 1


# an answer that does not come


async def test_an_answer_stopped_midway_keeps_what_was_said(make: Make, database: Database) -> None:
    assistant = make(sampling=Sampling(max_new_tokens=LONG))
    under_way = assistant.ask(asks())
    first = await anext(under_way)
    assert isinstance(first, TextPiece)
    await under_way.aclose()
    kept = await only_turn(database)
    assert kept.state == "cancelled"
    assert kept.answer.startswith(first.text)
    assert kept.answered_at is None


async def test_a_cancelled_task_keeps_what_was_said_and_the_message_may_be_asked_again(
    make: Make, database: Database
) -> None:
    assistant = make(sampling=Sampling(max_new_tokens=LONG))
    begun = asyncio.Event()

    async def listen() -> None:
        async for _ in assistant.ask(asks()):
            begun.set()

    task = asyncio.create_task(listen())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await only_turn(database)).state == "cancelled"
    await answer(assistant, asks("What is LoRA, please?"))
    kept = await only_turn(database)
    assert (kept.state, kept.question) == ("answered", "What is LoRA, please?")


async def test_a_question_stopped_while_it_is_written_down_is_not_left_open(
    make: Make, database: Database
) -> None:
    asking = asyncio.create_task(answer(make(), asks()))

    @event.listens_for(engines(database)[0], "commit", once=True)
    def stop(_: Any) -> None:
        asking.cancel()

    with contextlib.suppress(asyncio.CancelledError):
        await asking
    assert (await only_turn(database)).state == "cancelled"


async def test_a_model_that_breaks_is_told_with_a_reference_that_record_and_log_know(
    make: Make, database: Database
) -> None:
    assistant = make(Breaking)
    with capture_logs() as logged, pytest.raises(AnsweringFailed) as failed:
        await answer(assistant, asks())
    kept = await only_turn(database)
    assert kept.state == "failed" and kept.error_reference
    assert kept.error_reference == failed.value.reference
    assert kept.error_reference in str(failed.value)
    assert "0xdeadbeef" not in str(failed.value)
    (entry,) = [entry for entry in logged if entry["log_level"] == "error"]
    assert (entry["reference"], entry["turn"]) == (kept.error_reference, kept.id)
    assert isinstance(entry["exc_info"], RuntimeError)


@contextlib.contextmanager
def _locked_by_another_program(database: Database) -> Iterator[Callable[[], None]]:
    """Keep the file's write lock until the block ends, or what it is given is called."""
    assert database.file is not None
    with contextlib.closing(sqlite3.connect(database.file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield lambda: other.rollback()


@SQLITE
async def test_an_answer_is_brought_to_the_record_until_it_takes_it(
    make: Make, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("feedback.database.BUSY_SECONDS", 0)
    monkeypatch.setattr("bot.record_away.PAUSES_S", (0.0,))
    events = make().ask(asks())
    await anext(events)
    with capture_logs() as logged, _locked_by_another_program(database) as unlock:
        answering = asyncio.create_task(_rest(events))
        while not logged and not answering.done():
            await asyncio.sleep(0)
        unlock()
        finished = await answering
    async with database.session(read_only=True) as session:
        turn = await journal.find_turn(session, finished.turn_id)
    assert (turn.state, turn.answer) == ("answered", finished.answer)


@SQLITE
async def test_an_answer_that_the_record_does_not_take_is_given_all_the_same(
    make: Make, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("feedback.database.BUSY_SECONDS", 0)
    monkeypatch.setattr("bot.record_away.PAUSES_S", (0.0,))
    monkeypatch.setattr("bot.turn_record.GIVEN_AFTER_S", 0.0)
    assistant = make()
    events = assistant.ask(asks())
    first = await anext(events)
    with capture_logs() as logged, _locked_by_another_program(database):
        finished = await _rest(events)
    assert isinstance(first, TextPiece) and finished.answer.startswith(first.text.strip())
    assert "error" in [entry["log_level"] for entry in logged]
    while (turn := await only_turn(database)).state != "answered":
        await asyncio.sleep(0)
    assert turn.answer == finished.answer


async def _rest(events: AsyncGenerator[TextPiece | Finished, None]) -> Finished:
    *_, finished = [event async for event in events]
    assert isinstance(finished, Finished)
    return finished


async def test_a_fault_that_the_answerer_explains_keeps_its_sentence_and_gets_a_reference(
    make: Make, database: Database
) -> None:
    assistant = make(BreakingWithAReason)
    with capture_logs() as logged, pytest.raises(AnsweringFailed) as failed:
        await answer(assistant, asks())
    reference = (await only_turn(database)).error_reference
    assert str(failed.value).startswith("The memory did not suffice. Ask later.")
    assert str(failed.value).endswith(f"the reference {reference}.")
    assert [entry["reference"] for entry in logged] == [reference]


async def test_after_a_failure_the_same_message_is_answered(make: Make, database: Database) -> None:
    with contextlib.suppress(AnsweringFailed):
        await answer(make(Breaking), asks())
    await answer(make(), asks())
    kept = await only_turn(database)
    assert (kept.state, kept.error_reference) == ("answered", "")


async def test_an_answer_that_takes_too_long_is_stopped_and_told_with_a_reference(
    make: Make, database: Database
) -> None:
    assistant = make(sampling=Sampling(max_new_tokens=LONG), answer_seconds=0.0)
    with pytest.raises(TookTooLong) as failed:
        await answer(assistant, asks())
    kept = await only_turn(database)
    assert (kept.state, kept.error_reference) == ("failed", failed.value.reference)


@pytest.mark.parametrize("kind", [Overheard, Breaking])
async def test_whenever_and_however_often_a_question_is_cancelled_it_is_not_left_open(
    make: Make, database: Database, kind: type[LocalAnswerer]
) -> None:
    assistant = make(kind)
    steps, through = 1, False
    for _ in range(ROUNDS):
        asking = asyncio.create_task(answer(assistant, asks(number=steps)))
        for _ in range(steps):
            await asyncio.sleep(0)
        through = through or asking.done()
        for _ in range(CANCELLATIONS):
            asking.cancel()
            await asyncio.sleep(0)
        ended, _ = await asyncio.wait({asking}, timeout=60)
        assert ended, f"cancelled after {steps} steps of the loop, it never ended"
        await asyncio.gather(asking, return_exceptions=True)
        if through:
            break
        steps += 1 + steps // 5
    async with database.session(read_only=True) as session:
        assert "asked" not in (await session.exec(select(Turn.state))).all()


# the end of the service


async def test_answers_end_before_the_service_does(make: Make, database: Database) -> None:
    assistant = make()
    answering = asyncio.create_task(answer(assistant, asks()))
    while not assistant.answerer.requests:
        await asyncio.sleep(0)
    await assistant.close()
    assert answering.done()
    assert (await only_turn(database)).answer == (await answering).answer


async def test_an_answer_that_the_end_of_the_service_cuts_off_is_not_taken_for_a_whole_one(
    make: Make, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.assistant.CLOSING_SECONDS", 0.0)
    assistant = make(sampling=Sampling(max_new_tokens=LONG))
    under_way = assistant.ask(asks())
    first = await anext(under_way)
    assert isinstance(first, TextPiece)
    await assistant.close()
    with capture_logs() as logged, pytest.raises(Stopping):
        async for _ in under_way:
            pass
    kept = await only_turn(database)
    assert kept.state == "cancelled" and kept.answer.startswith(first.text)
    assert logged == []


async def test_where_the_service_begins_anew_each_answer_may_take_its_time(
    make: Make, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.assistant.CLOSING_SECONDS", 0.0)
    assistant = make()
    answering = asyncio.create_task(answer(assistant, asks()))
    while not assistant.answerer.requests:
        await asyncio.sleep(0)
    await assistant.close(all_whole=True)
    assert (await only_turn(database)).answer == (await answering).answer


async def test_no_answer_is_begun_when_the_service_ends(assistant: Assistant, database: Database) -> None:
    await assistant.close()
    with pytest.raises(Stopping):
        await answer(assistant, asks())
    async with database.session(read_only=True) as session:
        assert (await session.exec(select(Turn))).all() == []


@pytest.mark.parametrize("text", ["", "\0\x1b", "x" * 401])
async def test_a_question_that_cannot_be_taken_leaves_no_trace(
    assistant: Assistant, database: Database, text: str
) -> None:
    with pytest.raises(UsageError):
        await answer(assistant, asks(text))
    async with database.session(read_only=True) as session:
        assert (await session.exec(select(Turn))).all() == []


async def test_a_question_of_too_many_tokens_is_refused_and_kept_as_failed(
    make: Make, database: Database
) -> None:
    assistant = make(max_question_characters=10_000)
    with pytest.raises(PromptTooLong):
        await answer(assistant, asks("żółć " * 400))
    kept = await only_turn(database)
    assert (kept.state, len(kept.question)) == ("failed", 1999)


async def test_a_conversation_that_takes_long_to_tokenise_does_not_hold_up_the_event_loop(
    make: Make,
) -> None:
    threads: list[int] = []

    class Counting(Overheard):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            self.context_tokens = 4096

        def count_tokens(self, messages: Sequence[Message]) -> int:
            threads.append(threading.get_ident())
            return super().count_tokens(messages)

    assistant = make(Counting)
    earlier: tuple[Message, ...] = (
        {"role": "user", "content": "x" * 20_000},
        {"role": "assistant", "content": "Yes."},
    )
    with pytest.raises(PromptTooLong):
        await answer(assistant, asks(earlier=earlier))
    assert threads and threading.get_ident() not in threads


def test_a_longest_answer_that_leaves_no_room_for_a_question_is_refused_at_the_start(make: Make) -> None:
    with pytest.raises(SettingsError, match=f"max_new_tokens is {CONTEXT}.*{CONTEXT} tokens"):
        make(sampling=Sampling(max_new_tokens=CONTEXT))


# adapters that cannot serve


async def test_a_damaged_adapter_in_service_leaves_the_answer_to_the_base_and_the_log_says_why(
    assistant: Assistant, database: Database, tmp_path: Path, adapter_folder: Path
) -> None:
    adapter = await deploy(database, tmp_path, adapter_folder)
    (registry.folder(tmp_path, adapter) / "adapter_model.safetensors").write_bytes(b"torn")
    with capture_logs() as logged:
        finished = await answer(assistant, asks())
    assert finished.adapter == "base"
    assert (await turn(database, finished.turn_id)).adapter_id is None
    (entry,) = [entry for entry in logged if entry["log_level"] != "info"]
    assert entry["log_level"] == "error" and "adapter_model.safetensors is corrupt" in entry["reason"]


async def test_a_mended_adapter_serves_without_a_restart(
    assistant: Assistant, database: Database, tmp_path: Path, adapter_folder: Path
) -> None:
    adapter = await deploy(database, tmp_path, adapter_folder)
    weights = registry.folder(tmp_path, adapter) / "adapter_model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(b"torn")
    assert (await answer(assistant, asks(number=1))).adapter == "base"
    weights.write_bytes(whole)
    assert (await answer(assistant, asks(number=2))).adapter == "community@1"


async def test_an_adapter_of_another_model_in_service_leaves_the_answer_to_the_base(
    assistant: Assistant, database: Database, tmp_path: Path, adapter_folder: Path
) -> None:
    await deploy(database, tmp_path, adapter_folder, base_model="larger")
    with capture_logs() as logged:
        assert (await answer(assistant, asks())).adapter == "base"
    assert "trained on larger" in logged[0]["reason"]


async def test_an_adapter_that_was_asked_for_by_name_is_not_replaced_by_the_base(
    assistant: Assistant, database: Database, tmp_path: Path, adapter_folder: Path
) -> None:
    await deploy(database, tmp_path, adapter_folder, base_model="larger")
    with pytest.raises(AdapterRefused, match="trained on larger"):
        await answer(assistant, asks(number=1, adapter="community@1"))
    with pytest.raises(NotFound, match="There is no adapter community@9"):
        await answer(assistant, asks(number=2, adapter="community@9"))


# once more


async def test_once_more_answers_the_same_question_as_a_turn_of_its_own(
    assistant: Assistant, database: Database
) -> None:
    first = await answer(assistant, asks("Why?"))
    await answer(assistant, asks("Later question?", 2))
    anew = await assistant.once_more(PLACE, "ben", first.turn_id)
    again = await answer(assistant, anew)
    assert again.turn_id != first.turn_id
    assert (await turn(database, again.turn_id)).regenerates_id == first.turn_id
    request = requests(assistant)[-1]
    assert [message["content"] for message in request.messages[1:]] == ["Why?"]
    assert request.sampling.temperature > 0
    with pytest.raises(NotFound):
        await assistant.once_more(replace(PLACE, community="other"), "ben", first.turn_id)


# what a crash leaves


async def test_a_question_takes_one_transaction_before_its_first_word_and_one_afterwards(
    assistant: Assistant, database: Database
) -> None:
    await answer(assistant, asks(number=1))
    question = asks(number=2, origin=Origin({"channel": 7}, update="11", bookmark=("7", "2")))
    with counted(database) as transactions:
        async with contextlib.aclosing(assistant.ask(question)) as events:
            await anext(events)
            assert transactions.begun == 1
            async for _ in events:
                pass
    assert transactions.begun == 2


async def test_a_kept_answer_is_given_again_in_one_transaction(
    assistant: Assistant, database: Database
) -> None:
    await answer(assistant, asks())
    with counted(database) as transactions:
        await answer(assistant, asks())
    assert transactions.begun == 1


async def test_with_a_question_is_kept_what_the_next_start_needs_to_finish_it(
    assistant: Assistant, database: Database
) -> None:
    async with database.session() as session:
        await incoming.store(session, "discord", [Incoming("11", "words"), Incoming("12", "others")])
    question = asks(origin=Origin({"channel": 7}, update="11", bookmark=("7", "message-1")))
    async with contextlib.aclosing(assistant.ask(question)) as events:
        await anext(events)
        async with database.session(read_only=True) as session:
            (waiting,) = await open_questions.all_open(session, "discord")
            left = await incoming.unfinished(session, "discord")
            bookmarks = await journal.bookmarks(session, "discord")
    assert (waiting.turn.external_id, waiting.asker, waiting.shown_in) == (
        "message-1",
        "ada#1",
        {"channel": 7},
    )
    assert [one.external_id for one in left] == ["12"]
    assert bookmarks == {"7": "message-1"}


async def test_an_answer_that_was_never_shown_is_given_again_and_stays_open(
    assistant: Assistant, database: Database
) -> None:
    question = asks(origin=Origin({"channel": 7}))
    first = await answer(assistant, question)
    again = await answer(assistant, question)
    assert (again.turn_id, again.answer) == (first.turn_id, first.answer)
    async with database.session(read_only=True) as session:
        assert len(await open_questions.all_open(session, "discord")) == 1


# knowledge


async def approve(database: Database, question: str, answer: str, place: Place = PLACE) -> int:
    async with database.session() as session:
        community = await journal.community(session, place.platform, place.community)
        conversation = await journal.conversation(session, community.id or 0, f"about {question}")
        asked = await journal.ask(
            session,
            community_id=community.id or 0,
            conversation_id=conversation.id or 0,
            member_id=None,
            external_id=f"approved {question}",
            question=question,
            mode="default",
            language="en",
        )
        turn_id = asked.turn.id or 0
        said = Answered(answer=answer, mode="default", language="en", base_model="tiny")
        await journal.record_answer(session, turn_id, said)
        await review.decide(session, turn_id, "mo", "approve")
    return turn_id


async def test_an_approved_answer_stands_in_the_prompt_and_is_named_as_source(
    assistant: Assistant, database: Database
) -> None:
    source = await approve(database, "Which rank should I take?", "Begin with rank 8.")
    finished = await answer(assistant, asks("What rank is good?"))
    assert "Begin with rank 8." in requests(assistant)[-1].messages[-1]["content"]
    assert [(one.kind, one.turn_id, one.text) for one in finished.sources] == [
        ("approved", source, "Begin with rank 8.")
    ]


async def test_an_answer_ends_where_the_model_goes_on_with_the_notes(
    assistant: Assistant, database: Database
) -> None:
    await answer(assistant, asks(number=1))
    await approve(database, "Which rank should I take?", "Begin with rank 8.")
    await answer(assistant, asks("What rank is good?", number=2))
    assert [request.sampling.stop for request in requests(assistant)] == [(), ("</note>", "<note ")]


async def test_a_kept_answer_given_again_has_its_sources_as_far_as_they_still_stand(
    assistant: Assistant, database: Database
) -> None:
    source = await approve(database, "Which rank should I take?", "Begin with rank 8.")
    first = await answer(assistant, asks("What rank is good?"))
    again = await answer(assistant, asks("What rank is good?"))
    assert [one.passage_id for one in again.sources] == [one.passage_id for one in first.sources]
    async with database.session() as session:
        await review.undo(session, source, "mo")
    assert (await answer(assistant, asks("What rank is good?"))).sources == ()


async def test_a_passage_that_found_no_room_is_no_source(make: Make, database: Database) -> None:
    await approve(database, "Which rank should I take?", "rank " * 3000)
    finished = await answer(make(), asks("What rank is good?"))
    assert finished.sources == ()


async def test_what_is_looked_up_costs_one_transaction_more(assistant: Assistant, database: Database) -> None:
    await approve(database, "Which rank should I take?", "Begin with rank 8.")
    await answer(assistant, asks(number=1))
    with counted(database) as transactions:
        await answer(assistant, asks(number=2))
    assert transactions.begun == 3


LOOKUP = LookupOptions(approved_text=0.95, least_fit=0.3, where_to_ask="#help")


async def test_a_question_asked_before_is_answered_by_the_approved_text_itself(
    make: Make, database: Database
) -> None:
    assistant = make(lookup=LOOKUP)
    source = await approve(database, "Which rank should I take?", "Begin with rank 8.")
    finished = await answer(assistant, asks("which rank should i take"))
    assert (finished.answer, finished.kind) == ("Begin with rank 8.", "approved")
    assert [one.turn_id for one in finished.sources] == [source]
    assert requests(assistant) == []
    kept = await turn(database, finished.turn_id)
    assert (kept.answer, kept.answer_kind, kept.prompt_tokens) == ("Begin with rank 8.", "approved", 0)


@SQLITE  # the databases weigh words differently, and would not put the same passage first
async def test_a_prompt_has_as_many_passages_as_are_set_and_a_question_asked_before_is_found_among_more(
    make: Make, database: Database
) -> None:
    assistant = make(lookup=replace(LOOKUP, passages=1))
    await approve(database, "Which rank should I take?", "Begin with eight.")
    longer = await approve(database, "Which rank, which rank should I take, I?", "Which rank should I take?")
    finished = await answer(assistant, asks("which rank should I take here", number=1))
    assert [one.turn_id for one in finished.sources] == [longer]
    assert "eight" not in str(requests(assistant)[-1].messages)
    again = await answer(assistant, asks("which rank should I take", number=2))
    assert again.answer == "Begin with eight."


async def test_a_question_that_nothing_fits_is_told_so_and_where_to_ask(
    make: Make, database: Database
) -> None:
    assistant = make(lookup=LOOKUP)
    await approve(database, "Which rank should I take?", "Begin with rank 8.")
    finished = await answer(assistant, asks("When is lunch?"))
    assert finished.kind == "gap"
    assert "I don't know" in finished.answer and "#help" in finished.answer
    assert (finished.sources, requests(assistant)) == ((), [])
    assert (await turn(database, finished.turn_id)).answer_kind == "gap"
    again = await answer(assistant, asks("When is lunch?"))
    assert again.kind == "gap"


async def test_a_community_without_knowledge_is_answered_by_the_model(make: Make) -> None:
    assert (await answer(make(lookup=LOOKUP), asks("When is lunch?"))).kind == "generated"


async def test_what_continues_a_conversation_is_left_to_the_model(make: Make, database: Database) -> None:
    assistant = make(lookup=LOOKUP)
    await approve(database, "Which rank should I take?", "Begin with rank 8.")
    await answer(assistant, asks("Tell me about the rank", number=1))
    assert (await answer(assistant, asks("And lunch?", number=2))).kind == "generated"


@pytest.mark.parametrize("changes", [{"adapter": "base"}, {"earlier": ()}])
async def test_whoever_asks_for_the_model_gets_the_model(
    make: Make, database: Database, changes: dict[str, Any]
) -> None:
    assistant = make(lookup=LOOKUP)
    await approve(database, "Which rank should I take?", "Begin with rank 8.")
    assert (await answer(assistant, asks("Which rank should I take?", **changes))).kind == "generated"


async def test_another_answer_to_a_question_asked_before_is_the_model_s(
    make: Make, database: Database
) -> None:
    assistant = make(lookup=LOOKUP)
    await approve(database, "Which rank should I take?", "Begin with rank 8.")
    first = await answer(assistant, asks("Which rank should I take?"))
    again = await assistant.once_more(PLACE, "ada#1", first.turn_id)
    assert (await answer(assistant, again)).kind == "generated"
