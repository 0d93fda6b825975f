"""Every table of the record, the one place where the schema is declared.

A change here needs a migration in `migrations/`; a test compares the two. Times are UTC and aware.
The first column of a unique constraint has its index already, so it declares none.
Columns named `external_id` hold the platform's own id and make writes idempotent.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import JSON, DateTime, Index, Text, UniqueConstraint, false, func, literal_column, text
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator
from sqlmodel import Field, SQLModel

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}
SQLModel.metadata.naming_convention = NAMING

CONTEXT: Final = "context"
"""Review state of a turn that was imported only as what was said before a pair."""
PHRASING: Final = "phrasing"
"""Review state of a turn that asks otherwise what a candidate from talk asks, and follows its decision."""
TABLES_OF_OTHERS = frozenset(
    {"apscheduler_jobs"}
    | {f"passage_stems{part}" for part in ("", "_data", "_idx", "_content", "_docsize", "_config")}
)
"""Tables that other libraries keep in the same database (APScheduler, SQLite's FTS5)."""


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC time on every database; SQLite stores it without its zone and gets it back here."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse a naive time: nobody could tell which zone it was meant in."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"naive time {value!r}; give it a zone")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Give the zone back; PostgreSQL hands times out in its server's zone."""
        if value is None:
            return None
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)


class Words(TypeDecorator[str]):
    """People's and models' text. What no database can hold (NUL, half a surrogate pair) is replaced."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Replace what PostgreSQL or UTF-8 refuses, so that both databases keep the same."""
        if value is None:
            return None
        return value.replace("\0", "\N{REPLACEMENT CHARACTER}").encode(errors="replace").decode()


def now() -> datetime:
    """The present moment, UTC."""
    return datetime.now(UTC)


class Community(SQLModel, table=True):
    """A Discord guild, a Telegram chat, or one of our own edges, with what it is set to.

    `own_channels` are platform ids of channels where every message is a question, `moderator_roles` those
    of roles that moderate, `log_channel` where switches are announced. `cooldown_seconds` lie between two
    questions of one member.
    """

    __tablename__ = "community"
    __table_args__ = (UniqueConstraint("platform", "external_id"),)

    id: int | None = Field(default=None, primary_key=True)
    platform: str
    external_id: str
    name: str = Field(default="", sa_type=Words)
    persona: str = Field(default="", sa_type=Words)
    language: str = "auto"
    default_mode: str = "default"
    training_allowed: bool = False
    own_channels: list[str] = Field(default_factory=list, sa_type=JSON)
    moderator_roles: list[str] = Field(default_factory=list, sa_type=JSON)
    log_channel: str = ""
    cooldown_seconds: int = 3
    created_at: datetime = Field(default_factory=now, sa_type=UtcDateTime)


class Member(SQLModel, table=True):
    """Somebody who asks or votes, known by a keyed hash of the platform's id, never by the id.

    `default_mode` "" follows the community's.
    """

    __tablename__ = "member"
    __table_args__ = (UniqueConstraint("platform", "pseudonym"),)

    id: int | None = Field(default=None, primary_key=True)
    platform: str
    pseudonym: str
    opted_out: bool = False
    default_mode: str = ""
    created_at: datetime = Field(default_factory=now, sa_type=UtcDateTime)


class Conversation(SQLModel, table=True):
    """A reply chain, thread, topic or private chat; turns in it share history."""

    __tablename__ = "conversation"
    __table_args__ = (UniqueConstraint("community_id", "external_id"),)

    id: int | None = Field(default=None, primary_key=True)
    community_id: int = Field(foreign_key="community.id")
    external_id: str
    started_at: datetime = Field(default_factory=now, sa_type=UtcDateTime)


BY_PEOPLE: Final = (
    "state = 'answered' AND (answer_kind = 'approved' OR (adapter_id IS NULL AND base_model = ''))"
)
"""Which turns have an answer that people wrote: word for word as approved, imported, or seeded."""


class Turn(SQLModel, table=True):
    """One question with its answer, and everything needed to say where that answer came from.

    `review_state` repeats the newest standing review, so that the queue is one index scan; `approved_answer`
    is the text a pair is made of (the moderator's when edited). `held_out` turns examine adapters and are
    never trained on. `queue_rank` repeats what votes, kind and language say about the place in the queue
    (smaller comes first; see `votes.rank_in_queue`), for the same reason. State and review state "erased":
    the texts are gone, the row stays so that counts and lineage stay true. Review state CONTEXT: it came
    with an imported pair as what was said before, and waits for no review. `regenerates_id` is the turn
    whose question was answered once more here, in state PHRASING the one that it follows. `import_id` is the
    import that brought the turn in. `answer_kind` says who speaks in the answer: the model ("generated"),
    the moderators' approved text itself ("approved"), or nobody who knows ("gap"). `language_unsure`:
    question or answer do not seem to be in `language`.
    """

    __tablename__ = "turn"
    __table_args__ = (
        UniqueConstraint("community_id", "external_id"),
        Index("ix_turn_conversation", "conversation_id", "id"),
        Index("ix_turn_review_state_id", "review_state", "id"),
        Index("ix_turn_claim", "claimed_by", "claimed_until"),
        Index("ix_turn_queue", "review_state", "state", "queue_rank", "id"),
        Index("ix_turn_community_queue", "community_id", "review_state", "state", "queue_rank", "id"),
        # counts by day and by what answered, from the index alone
        Index("ix_turn_asked_at_adapter_id", "asked_at", "adapter_id"),
        Index("ix_turn_community_asked_at", "community_id", "asked_at", "adapter_id"),
        Index(
            "ix_turn_gap",
            "review_state",
            "state",
            "community_id",
            sqlite_where=text("answer_kind = 'gap'"),
            postgresql_where=text("answer_kind = 'gap'"),
        ),
        Index(
            "ix_turn_by_people",
            "asked_at",
            "community_id",
            # SQLite counts from the index alone only if it has what its own condition names
            "adapter_id",
            "state",
            "answer_kind",
            "base_model",
            sqlite_where=text(BY_PEOPLE),
            postgresql_where=text(BY_PEOPLE),
        ),
    )

    id: int | None = Field(default=None, primary_key=True)
    community_id: int = Field(foreign_key="community.id")
    conversation_id: int = Field(foreign_key="conversation.id")
    member_id: int | None = Field(default=None, foreign_key="member.id", index=True)
    external_id: str
    regenerates_id: int | None = Field(default=None, foreign_key="turn.id", index=True)
    state: str = "asked"
    question: str = Field(sa_type=Words)
    input: str = Field(default="", sa_type=Words)
    answer: str = Field(default="", sa_type=Words)
    mode: str = "default"
    language: str = "en"
    language_unsure: bool = Field(default=False, sa_column_kwargs={"server_default": false()})
    task_type: str = "qa"
    adapter_id: int | None = Field(default=None, foreign_key="adapter.id", index=True)
    import_id: int | None = Field(default=None, foreign_key="data_import.id", index=True)
    base_model: str = ""
    base_revision: str = ""
    prompt_fingerprint: str = ""
    prompt_tokens: int = 0
    answer_tokens: int = 0
    first_token_s: float = 0.0
    total_s: float = 0.0
    error_reference: str = ""
    answer_kind: str = Field(default="generated", sa_column_kwargs={"server_default": "generated"})
    asked_at: datetime = Field(default_factory=now, sa_type=UtcDateTime)
    answered_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    review_state: str = "waiting"
    approved_answer: str = Field(default="", sa_type=Words)
    held_out: bool = False
    queue_rank: int = 0
    claimed_by: str = ""
    claimed_until: datetime | None = Field(default=None, sa_type=UtcDateTime)


class DataImport(SQLModel, table=True):
    """A file, folder or ZIP that was brought in: what it was, from whom, and how far it is.

    `file_hash` is the SHA-256 of the file, of a folder that of its files' names and hashes. `state` is
    "running", "done" or "undone"; `done` counts the records that need not be read again when an interrupted
    import goes on. `counts` are what it held and what was left out, by reason: never anybody's words.
    """

    __tablename__ = "data_import"
    __table_args__ = (Index("ix_data_import_file_hash", "file_hash"),)

    id: int | None = Field(default=None, primary_key=True)
    community_id: int = Field(foreign_key="community.id", index=True)
    source: str = Field(sa_type=Words)
    format: str
    file_hash: str
    imported_by: str
    state: str = "running"
    done: int = 0
    counts: dict[str, Any] = Field(default_factory=dict, sa_type=JSON)
    started_at: datetime = Field(default_factory=now, sa_type=UtcDateTime)
    finished_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    undone_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class Candidate(SQLModel, table=True):
    """A turn that was found in imported talk and waits for a moderator: why it is thought to be worth it.

    `score` in (0, 1) and its `reasons` ([reason, count]) are of the answer on the turn; `answers` are the
    other ones that were given (`text`, `score`, `reasons`). `asked_at` is when it was asked in the talk.
    """

    __tablename__ = "candidate"
    __table_args__ = (UniqueConstraint("turn_id"),)

    id: int | None = Field(default=None, primary_key=True)
    turn_id: int = Field(foreign_key="turn.id")
    score: float
    reasons: list[list[Any]] = Field(default_factory=list, sa_type=JSON)
    answers: list[dict[str, Any]] = Field(default_factory=list, sa_type=JSON)
    asked_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class ImportedVoice(SQLModel, table=True):
    """Whose words an imported turn holds, so that opt-out and forget-me reach them."""

    __tablename__ = "imported_voice"
    __table_args__ = (
        UniqueConstraint("turn_id", "platform", "pseudonym"),
        Index("ix_imported_voice_platform_pseudonym", "platform", "pseudonym"),
    )

    id: int | None = Field(default=None, primary_key=True)
    turn_id: int = Field(foreign_key="turn.id")
    platform: str
    pseudonym: str


class AnswerMessage(SQLModel, table=True):
    """A platform's message that shows (a part of) a turn's answer, to find the turn again from it."""

    __tablename__ = "answer_message"
    __table_args__ = (UniqueConstraint("community_id", "external_id"),)

    id: int | None = Field(default=None, primary_key=True)
    community_id: int = Field(foreign_key="community.id")
    turn_id: int = Field(foreign_key="turn.id", index=True)
    external_id: str


class Bookmark(SQLModel, table=True):
    """How far a platform's channel has been read, to find what was asked while the bot was away."""

    __tablename__ = "bookmark"
    __table_args__ = (UniqueConstraint("platform", "external_id"),)

    id: int | None = Field(default=None, primary_key=True)
    platform: str
    external_id: str
    last_seen: str
    seen_at: datetime = Field(default_factory=now, sa_type=UtcDateTime)


class OpenQuestion(SQLModel, table=True):
    """What survives a crash of a question whose answer somebody still waits for, beside its turn.

    `asker` is the platform's own id of who asked ("" where it is not known), `shown_in` where the platform
    shows the answer, in its own words, `drawn` its ids of the messages that show a part of it already.
    Ids of people stand here, so the row goes as soon as the answer, or why there is none, has been shown.
    """

    __tablename__ = "open_question"
    __table_args__ = (UniqueConstraint("turn_id"),)

    id: int | None = Field(default=None, primary_key=True)
    turn_id: int = Field(foreign_key="turn.id")
    asker: str = ""
    shown_in: dict[str, Any] = Field(default_factory=dict, sa_type=JSON)
    drawn: list[str] = Field(default_factory=list, sa_type=JSON)


class PlatformState(SQLModel, table=True):
    """What a platform remembers over a restart, by a key of its own: no person's words or ids."""

    __tablename__ = "platform_state"
    __table_args__ = (UniqueConstraint("platform", "key"),)

    id: int | None = Field(default=None, primary_key=True)
    platform: str
    key: str
    value: str
    changed_at: datetime = Field(default_factory=now, sa_type=UtcDateTime)


class IncomingUpdate(SQLModel, table=True):
    """Something a platform delivered, kept from before it is confirmed until it has been handled.

    `payload` is the platform's own JSON and `pseudonym` who it came from; both are emptied when it has been
    handled, and the number stays for a while, so that what is delivered again is known. `begun_at` is set
    before work that must not be done twice.
    """

    __tablename__ = "incoming_update"
    __table_args__ = (UniqueConstraint("platform", "external_id"),)

    id: int | None = Field(default=None, primary_key=True)
    platform: str
    external_id: str
    pseudonym: str = ""
    payload: str = Field(default="", sa_type=Words)
    received_at: datetime = Field(default_factory=now, sa_type=UtcDateTime)
    begun_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    handled_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class Document(SQLModel, table=True):
    """Something that a community gave its bot to read; its text lies in the passages.

    `source_kind` says how it came ("file", "url", "folder", ...), `address` where from, in its own words; it
    names the document within its community. `source_id` is the folder, sitemap or feed that it was found
    through, None for what was given itself. `content_hash` (SHA-256, hex) is that of the bytes read last, and
    `etag` and `last_modified` what the server said of them, so that an unchanged one is not read again.
    `state` is "ready", "reading", or "refused" with the reason in `error`. `added_by` is the reviewer's name
    for who added it, as in the audit.
    """

    __tablename__ = "document"
    __table_args__ = (UniqueConstraint("community_id", "address"),)

    id: int | None = Field(default=None, primary_key=True)
    community_id: int = Field(foreign_key="community.id")
    source_id: int | None = Field(default=None, foreign_key="document.id", index=True)
    source_kind: str
    address: str = Field(sa_type=Words)
    title: str = Field(default="", sa_type=Words)
    content_hash: str = ""
    etag: str = ""
    last_modified: str = ""
    state: str = "ready"
    error: str = Field(default="", sa_type=Words)
    added_by: str = ""
    added_at: datetime = Field(default_factory=now, sa_type=UtcDateTime)
    refreshed_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class Passage(SQLModel, table=True):
    """A piece of a document, or the approved answer of a turn: what retrieval may put into a prompt.

    Exactly one of `document_id` and `turn_id` is set. `question` is the turn's, "" for documents;
    `title_path` the headings above a document's piece, outermost first, one a line; `position` its place in
    the document, `page` counts from 1. `content_hash` (SHA-256, hex) covers question, titles and text.

    The index lies beside the text: `stems` are the words that search goes by, the community's own first, and
    `index_version` says what made them and the vectors, "" while the passage waits to be indexed.
    """

    __tablename__ = "passage"
    __table_args__ = (
        Index("ix_passage_community_index_version", "community_id", "index_version"),
        Index(
            "ix_passage_stems",
            func.array_to_tsvector(func.string_to_array(literal_column("stems"), literal_column("' '"))),
            postgresql_using="gin",
        ).ddl_if(dialect="postgresql"),
        # the id of a passage that is gone must never be another's: indexes held in memory go by it
        {"sqlite_autoincrement": True},
    )

    id: int | None = Field(default=None, primary_key=True)
    community_id: int = Field(foreign_key="community.id")
    document_id: int | None = Field(default=None, foreign_key="document.id", index=True)
    turn_id: int | None = Field(default=None, foreign_key="turn.id", index=True)
    position: int = 0
    question: str = Field(default="", sa_type=Words)
    text: str = Field(sa_type=Words)
    title_path: str = Field(default="", sa_type=Words)
    page: int | None = None
    link: str = Field(default="", sa_type=Words)
    language: str = "en"
    content_hash: str = ""
    stems: str = Field(default="", sa_type=Words)
    index_version: str = ""


class PassageVector(SQLModel, table=True):
    """A vector of a passage: 16-bit floats, little endian, of length 1. A passage may have several."""

    __tablename__ = "passage_vector"
    __table_args__ = (
        Index("ix_passage_vector_community_id_id", "community_id", "id"),
        {"sqlite_autoincrement": True},
    )

    id: int | None = Field(default=None, primary_key=True)
    community_id: int = Field(foreign_key="community.id")
    passage_id: int = Field(foreign_key="passage.id", index=True, ondelete="CASCADE")
    vector: bytes


class RetrievalProjection(SQLModel, table=True):
    """What a community's own wordings taught its retrieval, and what it was found to be worth.

    `recall_before` and `recall_after` are shares of `wordings` that find their answer among the first three,
    each held out while the others taught; `gain_low` is the low end of the difference's interval. `matrix`
    holds 16-bit floats, little endian, row by row, and is empty where the gain is not sure. `index_version`
    says of which vectors it is.
    """

    __tablename__ = "retrieval_projection"

    community_id: int = Field(primary_key=True, foreign_key="community.id")
    index_version: str
    matrix: bytes
    wordings: int
    recall_before: float
    recall_after: float
    gain_low: float
    learnt_at: datetime = Field(default_factory=now, sa_type=UtcDateTime)


class TurnPassage(SQLModel, table=True):
    """That a passage stood in the prompt of a turn, at which place (1 first), with which score.

    It stays when the passage is gone, so `passage_id` refers to nothing; `content_hash` says what it held.
    """

    __tablename__ = "turn_passage"
    __table_args__ = (UniqueConstraint("turn_id", "place"),)

    id: int | None = Field(default=None, primary_key=True)
    turn_id: int = Field(foreign_key="turn.id")
    passage_id: int = Field(index=True)
    content_hash: str
    place: int
    score: float = 0.0


class Vote(SQLModel, table=True):
    """+1 or -1 of one member on one turn; changing it rewrites the row, taking it back deletes it."""

    __tablename__ = "vote"
    __table_args__ = (UniqueConstraint("turn_id", "member_id"),)

    id: int | None = Field(default=None, primary_key=True)
    turn_id: int = Field(foreign_key="turn.id")
    member_id: int = Field(foreign_key="member.id", index=True)
    value: int
    reason: str = Field(default="", sa_type=Words)
    suggested_answer: str = Field(default="", sa_type=Words)
    voted_at: datetime = Field(default_factory=now, sa_type=UtcDateTime)


class Review(SQLModel, table=True):
    """A moderator's decision on a turn. Undone ones stay, marked; the newest standing one counts."""

    __tablename__ = "review"

    id: int | None = Field(default=None, primary_key=True)
    turn_id: int = Field(foreign_key="turn.id", index=True)
    reviewer: str = Field(index=True)
    decision: str
    answer: str = Field(default="", sa_type=Words)
    note: str = Field(default="", sa_type=Words)
    decided_at: datetime = Field(default_factory=now, sa_type=UtcDateTime)
    undone_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class Dataset(SQLModel, table=True):
    """A frozen version of pairs; its files lie in `folder`, relative to the data folder."""

    __tablename__ = "dataset"
    __table_args__ = (UniqueConstraint("name", "version"),)

    id: int | None = Field(default=None, primary_key=True)
    name: str
    version: int
    folder: str
    content_hash: str
    manifest: dict[str, Any] = Field(default_factory=dict, sa_type=JSON)
    created_at: datetime = Field(default_factory=now, sa_type=UtcDateTime)


class Pair(SQLModel, table=True):
    """One pair of a dataset with the turn and review that it came from."""

    __tablename__ = "pair"
    __table_args__ = (UniqueConstraint("dataset_id", "turn_id"),)

    id: int | None = Field(default=None, primary_key=True)
    dataset_id: int = Field(foreign_key="dataset.id")
    turn_id: int = Field(foreign_key="turn.id", index=True)
    review_id: int = Field(foreign_key="review.id")
    split: str
    content_hash: str


class HygieneException(SQLModel, table=True):
    """That a hygiene rule shall not leave out or change the pair of a turn, by whose word."""

    __tablename__ = "hygiene_exception"
    __table_args__ = (UniqueConstraint("turn_id", "rule"),)

    id: int | None = Field(default=None, primary_key=True)
    turn_id: int = Field(foreign_key="turn.id")
    rule: str
    decided_by: str
    decided_at: datetime = Field(default_factory=now, sa_type=UtcDateTime)


class Run(SQLModel, table=True):
    """One training from start to verdict: what it was told, how far it is, how it ended.

    `alive_at` is when it last said that it goes on, by the database's clock; None before it ever did.
    """

    __tablename__ = "run"

    id: int | None = Field(default=None, primary_key=True)
    state: str = "running"
    step: str = ""
    adapter_name: str
    started_by: str
    dataset_id: int | None = Field(default=None, foreign_key="dataset.id")
    pid: int = 0
    host: str = ""
    settings: dict[str, Any] = Field(default_factory=dict, sa_type=JSON)
    progress: dict[str, Any] = Field(default_factory=dict, sa_type=JSON)
    verdict: str = Field(default="", sa_type=Words)
    started_at: datetime = Field(default_factory=now, sa_type=UtcDateTime)
    alive_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    finished_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class Adapter(SQLModel, table=True):
    """A LoRA adapter, `name@version`; its files lie in `folder`, relative to the data folder.

    A `pinned` one is never pruned; of a "retired" one the files are gone and the row tells the lineage.
    `continues_id` is the adapter whose weights its training began with, None where it began with none.
    """

    __tablename__ = "adapter"
    __table_args__ = (UniqueConstraint("name", "version"),)

    id: int | None = Field(default=None, primary_key=True)
    name: str
    version: int
    state: str = "candidate"
    folder: str
    content_hash: str
    base_model: str
    base_revision: str
    dataset_id: int | None = Field(default=None, foreign_key="dataset.id")
    run_id: int | None = Field(default=None, foreign_key="run.id")
    continues_id: int | None = Field(default=None, foreign_key="adapter.id")
    pinned: bool = False
    metrics: dict[str, Any] = Field(default_factory=dict, sa_type=JSON)
    created_at: datetime = Field(default_factory=now, sa_type=UtcDateTime)


class Deployment(SQLModel, table=True):
    """Which adapter serves which community, from when to when, and who decided it.

    `community_id` None is every community without a deployment of its own; `adapter_id` None is the
    base model. `share` in (0, 1] is the part of conversations it answers: below 1 it is a canary, beside the
    one that serves the rest, and `outcome` says how it ended and `outcome_reason` why, `outcome_reasons` by
    language. Rows are ended, never rewritten, so the history is what rollback goes back along.
    """

    __tablename__ = "deployment"

    id: int | None = Field(default=None, primary_key=True)
    community_id: int | None = Field(default=None, foreign_key="community.id", index=True)
    adapter_id: int | None = Field(default=None, foreign_key="adapter.id")
    share: float = 1.0
    decided_by: str
    reason: str = Field(default="", sa_type=Words)
    outcome: str = ""
    outcome_reason: str = Field(default="", sa_type=Words)
    outcome_reasons: dict[str, str] = Field(default_factory=dict, sa_type=JSON)
    since: datetime = Field(default_factory=now, sa_type=UtcDateTime)
    until: datetime | None = Field(default=None, sa_type=UtcDateTime)


class Evaluation(SQLModel, table=True):
    """How one subject (base, current or candidate) did on the questions of a run."""

    __tablename__ = "evaluation"
    __table_args__ = (UniqueConstraint("run_id", "subject"),)

    id: int | None = Field(default=None, primary_key=True)
    run_id: int = Field(foreign_key="run.id")
    subject: str
    adapter_id: int | None = Field(default=None, foreign_key="adapter.id")
    metrics: dict[str, Any] = Field(default_factory=dict, sa_type=JSON)
    answers: list[dict[str, Any]] = Field(default_factory=list, sa_type=JSON)
    created_at: datetime = Field(default_factory=now, sa_type=UtcDateTime)


class RatingRound(SQLModel, table=True):
    """A round of blind rating of what one run's subjects answered; `closed_at` is when it took no more."""

    __tablename__ = "rating_round"
    __table_args__ = (UniqueConstraint("run_id"),)

    id: int | None = Field(default=None, primary_key=True)
    run_id: int = Field(foreign_key="run.id")
    opened_by: str
    opened_at: datetime = Field(default_factory=now, sa_type=UtcDateTime)
    closed_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class RatingQuestion(SQLModel, table=True):
    """A question of a round, which a member had asked in that turn; `place` counts from 1.

    `answers` is what each subject (base, current, candidate) said; it is emptied when the turn is erased.
    """

    __tablename__ = "rating_question"
    __table_args__ = (UniqueConstraint("round_id", "turn_id"),)

    id: int | None = Field(default=None, primary_key=True)
    round_id: int = Field(foreign_key="rating_round.id")
    turn_id: int = Field(foreign_key="turn.id", index=True)
    place: int
    answers: dict[str, str] = Field(default_factory=dict, sa_type=JSON)


class Rating(SQLModel, table=True):
    """What a person gave one subject's answer, 1 to 5 on each scale, without knowing whose it was.

    `rater` is named as a reviewer is.
    """

    __tablename__ = "rating"
    __table_args__ = (UniqueConstraint("question_id", "rater", "subject"),)

    id: int | None = Field(default=None, primary_key=True)
    question_id: int = Field(foreign_key="rating_question.id")
    rater: str
    subject: str
    accuracy: int
    style: int
    safety: int
    rated_at: datetime = Field(default_factory=now, sa_type=UtcDateTime)


class Audit(SQLModel, table=True):
    """Who did what to what, in words that stay true when the things themselves change."""

    __tablename__ = "audit"

    id: int | None = Field(default=None, primary_key=True)
    actor: str
    action: str
    subject: str = Field(index=True)
    detail: dict[str, Any] = Field(default_factory=dict, sa_type=JSON)
    at: datetime = Field(default_factory=now, sa_type=UtcDateTime, index=True)


class Lease(SQLModel, table=True):
    """Who does something that one service does for all, such as running the jobs; `holder` is for people.

    `token` grows each time somebody takes it, so that who had it before can be told from who has it now.
    """

    __tablename__ = "lease"
    __table_args__ = (UniqueConstraint("name"),)

    id: int | None = Field(default=None, primary_key=True)
    name: str
    holder: str
    token: int
    taken_at: datetime = Field(default_factory=now, sa_type=UtcDateTime)


class ForgetRequest(SQLModel, table=True):
    """A member asked to be forgotten: the ledger that `training` carries out and ticks off.

    `turns` are the ids the member had asked; `erased_at` is set when the record itself is clean,
    `carried_at` when datasets and adapters have been dealt with, which empties `pseudonym` too.
    """

    __tablename__ = "forget_request"

    id: int | None = Field(default=None, primary_key=True)
    pseudonym: str = Field(index=True)
    platform: str
    turns: list[int] = Field(default_factory=list, sa_type=JSON)
    requested_at: datetime = Field(default_factory=now, sa_type=UtcDateTime)
    erased_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    carried_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class SignInLink(SQLModel, table=True):
    """A link that signs one person in to the console, once. The token itself is kept nowhere.

    `external_id` is the platform's own id of who asked for it, "" where no platform knows them: by it the
    platform is asked later whether they still have their `role` in the community (None is all of them).
    """

    __tablename__ = "sign_in_link"

    id: int | None = Field(default=None, primary_key=True)
    token_hash: str = Field(unique=True)
    platform: str
    pseudonym: str
    external_id: str = ""
    role: str
    community_id: int | None = Field(default=None, foreign_key="community.id")
    created_at: datetime = Field(default_factory=now, sa_type=UtcDateTime)
    expires_at: datetime = Field(sa_type=UtcDateTime)
    used_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class ConsoleSession(SQLModel, table=True):
    """Somebody signed in to the console in one browser; the columns of its link, and until when.

    `ended_why` says how it ended before it expired: signed out, revoked, or the platform took the role away.
    """

    __tablename__ = "console_session"

    id: int | None = Field(default=None, primary_key=True)
    token_hash: str = Field(unique=True)
    platform: str
    pseudonym: str
    external_id: str = ""
    role: str
    community_id: int | None = Field(default=None, foreign_key="community.id")
    browser: str = ""
    created_at: datetime = Field(default_factory=now, sa_type=UtcDateTime)
    seen_at: datetime = Field(default_factory=now, sa_type=UtcDateTime)
    expires_at: datetime = Field(sa_type=UtcDateTime)
    ended_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    ended_why: str = ""
