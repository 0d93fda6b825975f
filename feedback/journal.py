"""Writing down what happens: who asked what where, what was answered.

Every function takes an open session and leaves the commit to it. All are idempotent on the platforms'
own ids: the same message, answer or vote delivered twice changes nothing. Texts never go to the audit.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from functools import cache
from typing import Any, Final, TypeVar

from sqlalchemy import Integer, Table, bindparam, func, literal_column
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import aliased, class_mapper
from sqlalchemy.sql.dml import ReturningInsert
from sqlmodel import SQLModel, col, delete, exists, select
from sqlmodel.ext.asyncio.session import AsyncSession
from sqlmodel.sql.expression import SelectOfScalar

from feedback.errors import NotFound
from feedback.tables import AnswerMessage, Audit, Bookmark, Community, Conversation, Member, Turn, now
from feedback.words import AnswerKind, TurnState

Row = TypeVar("Row", bound=SQLModel)

LARGEST_ID: Final = 2**31 - 1
"""What PostgreSQL's integers hold; asked for a larger one, it fails instead of finding nothing."""
GAP_WEIGHT: Final = 2
UNSURE_LANGUAGE_WEIGHT: Final = 1
"""What adds to a turn's urgency in the queue before anybody votes (see `votes`): a gap is to be learned like
a down vote, and a wrong language would train the wrong voice."""


@dataclass(frozen=True)
class Asked:
    """A question in the record; `is_new` is False when the same message had been delivered before."""

    turn: Turn
    is_new: bool


@dataclass(frozen=True)
class Answered:
    """An answer and where it came from. Times in seconds; `adapter_id` None is the base model."""

    answer: str
    mode: str
    language: str
    base_model: str
    base_revision: str = ""
    adapter_id: int | None = None
    prompt_fingerprint: str = ""
    prompt_tokens: int = 0
    answer_tokens: int = 0
    first_token_s: float = 0.0
    total_s: float = 0.0
    answer_kind: AnswerKind = "generated"
    language_unsure: bool = False


def urgency(answer_kind: str, language_unsure: bool) -> int:
    """How much sooner a turn is reviewed than others, before anybody votes on it."""
    return GAP_WEIGHT * (answer_kind == "gap") + UNSURE_LANGUAGE_WEIGHT * language_unsure


async def community(session: AsyncSession, platform: str, external_id: str, *, name: str = "") -> Community:
    """The community of that platform id, created on first sight; a new `name` replaces the old one."""
    found, _ = await insert_once(
        session, Community(platform=platform, external_id=external_id, name=name), "platform", "external_id"
    )
    if name and found.name != name:
        found.name = name
        session.add(found)
    return found


async def community_of(session: AsyncSession, platform: str, external_id: str) -> Community | None:
    """The community of that platform id, if anything ever happened in it."""
    found = select(Community).where(Community.platform == platform, Community.external_id == external_id)
    return (await session.exec(found)).one_or_none()


async def move_community(session: AsyncSession, platform: str, old: str, new: str) -> bool:
    """Let a community go on under another platform id, with all its record; whether it did.

    What the platform told us first about the new id alone, before anybody asked there, gives way.
    """
    moving = await community_of(session, platform, old)
    if moving is None:
        return False
    there = await community_of(session, platform, new)
    if there is not None:
        asked = select(Turn.id).where(Turn.community_id == there.id).limit(1)
        if (await session.exec(asked)).first() is not None:
            return False
        await session.delete(there)
        await session.flush()
    moving.external_id = new
    session.add(moving)
    await session.flush()
    return True


async def member(session: AsyncSession, platform: str, pseudonym: str) -> Member:
    """The member of that pseudonym (see `consent.pseudonym`), created on first sight."""
    found, _ = await insert_once(
        session, Member(platform=platform, pseudonym=pseudonym), "platform", "pseudonym"
    )
    return found


async def conversation(session: AsyncSession, community_id: int, external_id: str) -> Conversation:
    """The community's conversation of that platform id, created on first sight."""
    found, _ = await insert_once(
        session,
        Conversation(community_id=community_id, external_id=external_id),
        "community_id",
        "external_id",
    )
    return found


async def ask(
    session: AsyncSession,
    *,
    community_id: int,
    conversation_id: int,
    member_id: int | None,
    external_id: str,
    question: str,
    mode: str,
    language: str,
    input: str = "",
    task_type: str = "qa",
    held_out: bool = False,
    asked_at: datetime | None = None,
    regenerates_id: int | None = None,
) -> Asked:
    """Write a question down, once per community and platform id; an existing turn is left as it is."""
    turn, is_new = await insert_once(
        session,
        Turn(
            community_id=community_id,
            conversation_id=conversation_id,
            member_id=member_id,
            external_id=external_id,
            question=question,
            input=input,
            mode=mode,
            language=language,
            task_type=task_type,
            held_out=held_out,
            asked_at=asked_at or now(),
            regenerates_id=regenerates_id,
        ),
        "community_id",
        "external_id",
    )
    if turn.member_id is None and member_id is not None and turn.state != "erased":
        turn.member_id = member_id  # a migration could not know who had asked
        session.add(turn)
    return Asked(turn, is_new)


async def reopen(session: AsyncSession, turn_id: int, question: str) -> Turn:
    """Ask a turn without a whole answer again, in these words; an answered or erased one stays as it is."""
    return await _settle(
        session,
        turn_id,
        ("asked", "failed", "cancelled"),
        state="asked",
        question=question,
        answer="",
        error_reference="",
    )


async def note_message(session: AsyncSession, turn: Turn, external_id: str) -> None:
    """Keep that the platform's message `external_id` shows the answer of `turn`."""
    await insert_once(
        session,
        AnswerMessage(community_id=turn.community_id, turn_id=turn.id or 0, external_id=external_id),
        "community_id",
        "external_id",
    )


async def turn_of_message(session: AsyncSession, community_id: int, external_id: str) -> Turn | None:
    """The turn whose answer that message of the platform shows."""
    shown = (
        select(Turn)
        .join(AnswerMessage, col(AnswerMessage.turn_id) == Turn.id)
        .where(AnswerMessage.community_id == community_id, AnswerMessage.external_id == external_id)
    )
    return (await session.exec(shown)).one_or_none()


async def turn_of_question(session: AsyncSession, community_id: int, external_id: str) -> Turn | None:
    """The turn that was asked by that message of the platform."""
    asked = select(Turn).where(Turn.community_id == community_id, Turn.external_id == external_id)
    return (await session.exec(asked)).one_or_none()


async def messages_of(session: AsyncSession, turn_id: int) -> list[str]:
    """The platform's messages that show a turn's answer, first part first."""
    shown = select(AnswerMessage.external_id).where(AnswerMessage.turn_id == turn_id)
    return list((await session.exec(shown.order_by(col(AnswerMessage.id)))).all())


async def answers_to(session: AsyncSession, turn: Turn) -> list[Turn]:
    """Every turn that answers the same question as `turn`, itself among them, oldest first."""
    first = turn.regenerates_id or turn.id
    same = select(Turn).where((Turn.id == first) | (Turn.regenerates_id == first)).order_by(col(Turn.id))
    return list((await session.exec(same)).all())


async def move_conversation(session: AsyncSession, conversation_id: int, external_id: str) -> Conversation:
    """Let a conversation go on elsewhere on the platform, as in a thread, with all that was said.

    Raises NotFound.
    """
    moved = await session.get(Conversation, conversation_id)
    if moved is None:
        raise NotFound("conversation", conversation_id)
    moved.external_id = external_id
    session.add(moved)
    await session.flush()
    return moved


async def bookmarks(session: AsyncSession, platform: str) -> dict[str, str]:
    """How far each channel of a platform has been read: the last message's id by channel's id."""
    rows = await session.exec(
        select(Bookmark.external_id, Bookmark.last_seen).where(Bookmark.platform == platform)
    )
    return dict(rows.all())


async def move_bookmark(session: AsyncSession, platform: str, external_id: str, last_seen: str) -> None:
    """Keep that a channel has been read up to that message."""
    mark, is_new = await insert_once(
        session,
        Bookmark(platform=platform, external_id=external_id, last_seen=last_seen),
        "platform",
        "external_id",
    )
    if not is_new and mark.last_seen != last_seen:
        mark.last_seen, mark.seen_at = last_seen, now()
        session.add(mark)


async def drop_bookmark(session: AsyncSession, platform: str, external_id: str) -> None:
    """Forget how far a channel has been read, and with it that the channel is known."""
    await session.exec(
        delete(Bookmark).where(col(Bookmark.platform) == platform, col(Bookmark.external_id) == external_id)
    )


async def record_answer(session: AsyncSession, turn_id: int, answered: Answered) -> Turn:
    """Keep the answer. A turn that has its answer, or was erased meanwhile, stays as it is."""
    return await _settle(
        session,
        turn_id,
        ("asked", "failed", "cancelled"),
        state="answered",
        answered_at=now(),
        queue_rank=-urgency(answered.answer_kind, answered.language_unsure),
        **asdict(answered),
    )


async def record_failure(
    session: AsyncSession, turn_id: int, reference: str, adapter_id: int | None = None
) -> Turn:
    """Keep that answering failed, with the reference that the person was shown and the log explains.

    `adapter_id` is what was to answer, if it came to that.
    """
    return await _settle(
        session, turn_id, ("asked",), state="failed", error_reference=reference, adapter_id=adapter_id
    )


async def note_cut_off(session: AsyncSession, turn_id: int, reference: str) -> Turn:
    """Keep that a recorded answer ran out of time, with the reference that the log explains."""
    return await _settle(session, turn_id, ("answered",), error_reference=reference)


def is_cut_off(turn: Turn) -> bool:
    """Whether the turn's answer was kept though it ran out of time, so that it may be continued."""
    return turn.state == "answered" and bool(turn.error_reference)


async def record_cancelled(session: AsyncSession, turn_id: int, partial_answer: str = "") -> Turn:
    """Keep that somebody stopped the answer, and how far it had come."""
    return await _settle(session, turn_id, ("asked",), state="cancelled", answer=partial_answer)


async def history(session: AsyncSession, conversation_id: int, before_turn: int, limit: int) -> list[Turn]:
    """The last `limit` answered turns of a conversation before one turn, oldest first.

    Of a question that was answered more than once, the newest answer stands for all.
    """
    asked_for = {"conversation": conversation_id, "before": before_turn, "most": limit}
    return list((await session.exec(_history(), params=asked_for)).all())[::-1]


async def count_regenerated(session: AsyncSession, turn_id: int) -> int:
    """How many times the question of a turn was answered once more."""
    counted = select(func.count()).select_from(Turn).where(Turn.regenerates_id == turn_id)
    return (await session.exec(counted)).one()


async def find_turn(session: AsyncSession, turn_id: int) -> Turn:
    """The turn. Raises NotFound when there is none of that id."""
    turn = None
    if abs(turn_id) <= LARGEST_ID:
        turn = (await session.exec(select(Turn).where(Turn.id == turn_id))).one_or_none()
    if turn is None:
        raise NotFound("turn", turn_id, "`thumbloop review list` shows those that wait.")
    return turn


async def turn_in(session: AsyncSession, turn_id: int, community: Community | None) -> Turn:
    """The turn, which must be one of that community's. Raises NotFound for every other."""
    turn = await find_turn(session, turn_id)
    if community is None or turn.community_id != community.id:
        raise NotFound("turn", turn_id, "It belongs to another community.")
    return turn


async def locked_turn(session: AsyncSession, turn_id: int) -> Turn:
    """The turn as it is now, changeable by nobody else until the session ends. Raises NotFound."""
    if abs(turn_id) > LARGEST_ID:
        return await find_turn(session, turn_id)
    turn = (await session.exec(_locked_turn(), params={"turn": turn_id})).one_or_none()
    return turn or await find_turn(session, turn_id)


def audit(session: AsyncSession, actor: str, action: str, subject: str, **detail: Any) -> None:
    """Note who did what to what. `detail` holds ids, names and numbers, never people's words."""
    session.add(Audit(actor=actor, action=action, subject=subject, detail=detail))


async def insert_once(session: AsyncSession, row: Row, *key: str) -> tuple[Row, bool]:
    """The row of that `key` (names of columns), and whether it was inserted, which it is unless it is there.

    Two sessions at once get the same row.
    """
    same_key, of_key = _select_by(type(row), key), {name: getattr(row, name) for name in key}
    found = (await session.exec(same_key, params=of_key)).one_or_none()
    if found is not None:
        return found, False
    once = _insert_by(type(row), key, session.get_bind().dialect.name)
    is_new = (await session.execute(once, row.model_dump(exclude={"id"}))).first() is not None
    return (await session.exec(same_key, params=of_key)).one(), is_new


# Statements that each question needs are made once: making them takes as long as executing them, and while a
# question is written down on SQLite nobody else writes.


@cache
def _select_by(kind: type[Row], key: tuple[str, ...]) -> SelectOfScalar[Row]:
    return select(kind).where(*(getattr(kind, name) == bindparam(name) for name in key))


@cache
def _insert_by(kind: type[SQLModel], key: tuple[str, ...], dialect: str) -> ReturningInsert[tuple[int]]:
    """Insert a row unless one of that key is there; a row comes back if it was inserted."""
    insert = sqlite.insert if dialect == "sqlite" else postgresql.insert
    table = class_mapper(kind).local_table
    assert isinstance(table, Table), "our rows are those of tables"
    return insert(table).on_conflict_do_nothing(index_elements=key).returning(literal_column("id", Integer))


@cache
def _locked_turn() -> SelectOfScalar[Turn]:
    # SQLite ignores FOR UPDATE and needs none: a writing session is alone there
    locked = select(Turn).where(Turn.id == bindparam("turn")).with_for_update()
    return locked.execution_options(populate_existing=True)


@cache
def _history() -> SelectOfScalar[Turn]:
    newer, first = aliased(Turn), func.coalesce(Turn.regenerates_id, Turn.id)
    superseded = exists().where(
        col(newer.regenerates_id) == first,
        col(newer.id) > Turn.id,
        col(newer.id) < bindparam("before"),
        col(newer.state) == "answered",
    )
    return (
        select(Turn)
        .where(
            Turn.conversation_id == bindparam("conversation"),
            col(Turn.id) < bindparam("before"),
            Turn.state == "answered",
            ~superseded,
        )
        .order_by(col(Turn.id).desc())
        .limit(bindparam("most"))
    )


async def _settle(
    session: AsyncSession, turn_id: int, open_states: tuple[TurnState, ...], **values: Any
) -> Turn:
    turn = await locked_turn(session, turn_id)
    if turn.state in open_states:
        turn.sqlmodel_update(values)
        session.add(turn)
        await session.flush()
    return turn
