"""Where an adapter's knowledge comes from, and where a turn's or a member's words have gone to.

Read from the record alone, so it also answers for adapters whose files are gone. An adapter has learnt from
the training and validation pairs of its own dataset, and from those of every adapter that it continues;
what it was only examined on, it has not learnt. Members are named by pseudonym.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from sqlalchemy.orm import aliased
from sqlmodel import and_, col, exists, func, or_, select
from sqlmodel.ext.asyncio.session import AsyncSession

from feedback.errors import NotFound, UsageError
from feedback.journal import find_turn
from feedback.tables import (
    Adapter,
    Community,
    DataImport,
    Dataset,
    Member,
    Pair,
    Passage,
    Review,
    Run,
    Turn,
    TurnPassage,
)
from training.data.splits import LEARNT


@dataclass(frozen=True)
class Origin:
    """A pair with the turn and the review that it was made from. `member` is "" once forgotten.

    `imported` names the import that brought the turn in, "" for one that somebody asked here.
    """

    dataset: str
    split: str
    turn: int
    community: str
    member: str
    question: str
    review: int
    reviewer: str
    decision: str
    decided_at: datetime
    imported: str = ""


@dataclass(frozen=True)
class LearntFrom:
    """A dataset that shaped an adapter; `pairs` by split, `adapter` is the one that was trained on it."""

    adapter: str
    dataset: str
    content_hash: str
    pairs: dict[str, int]


@dataclass(frozen=True)
class MadeBy:
    """The run that an adapter came out of."""

    run: int
    state: str
    started_by: str
    started_at: datetime
    finished_at: datetime | None
    verdict: str


@dataclass(frozen=True)
class AdapterLineage:
    """Everything behind one adapter.

    `continues` are the adapters that it continues, the nearest first. `members` are those whose words it
    learnt from, with the number of pairs, the most first; `origins` are the first of the pairs.
    """

    adapter: str
    state: str
    base_model: str
    base_revision: str
    content_hash: str
    run: MadeBy | None
    continues: tuple[str, ...]
    datasets: tuple[LearntFrom, ...]
    members: dict[str, int]
    origins: tuple[Origin, ...]

    @property
    def pairs(self) -> int:
        """How many pairs it has learnt from, those of the adapters before it included."""
        return sum(one.pairs.get(split, 0) for one in self.datasets for split in LEARNT)


@dataclass(frozen=True)
class TrainedOn:
    """A dataset that holds a turn, as which split, and the adapters that learnt from it there."""

    dataset: str
    split: str
    adapters: tuple[str, ...]


@dataclass(frozen=True)
class TurnLineage:
    """A turn's answer, what is behind it, and where the turn has gone.

    `adapter` is the label of what answered, "" for the base model or no answer; `behind` are the datasets
    that it had learnt from. `adapters` are all that have learnt from the turn. `imported` names the import
    that brought it in.
    """

    turn: int
    community: str
    member: str
    state: str
    review_state: str
    base_model: str
    adapter: str
    behind: tuple[LearntFrom, ...]
    datasets: tuple[TrainedOn, ...]
    adapters: tuple[str, ...]
    imported: str = ""


@dataclass(frozen=True)
class MemberLineage:
    """What a member's words have gone into. `turns` they asked, `pairs` were made of them in each dataset."""

    member: str
    turns: int
    pairs: dict[str, int]
    adapters: tuple[str, ...]


async def adapters_trained_on(
    session: AsyncSession, turn_ids: Iterable[int], *, datasets: Iterable[int] = ()
) -> list[Adapter]:
    """Every adapter that learnt from any of those turns, itself or by continuing one that did; by id.

    `datasets` are ids of further datasets that held them. What people preferred has no row in the table of
    pairs, so the runs' own lists of such turns are read as well.
    """
    datasets, turns = set(datasets), set(turn_ids)
    for some in batches(turns):
        holding = select(Pair.dataset_id).where(col(Pair.turn_id).in_(some), col(Pair.split).in_(LEARNT))
        datasets.update((await session.exec(holding.distinct())).all())
    every = (await session.exec(select(Adapter).order_by(col(Adapter.id)))).all()
    runs = (await session.exec(select(Run.id, Run.settings))).all()
    preferring = {
        run for run, settings in runs if turns & set(settings.get("preferences", {}).get("turns", ()))
    }
    concerned = {
        adapter.id
        for adapter in every
        if adapter.dataset_id in datasets or (adapter.run_id is not None and adapter.run_id in preferring)
    }
    for adapter in every:  # oldest first, so an adapter comes after the one that it continues
        if adapter.continues_id is not None and adapter.continues_id in concerned:
            concerned.add(adapter.id)
    return [adapter for adapter in every if adapter.id in concerned]


async def of_adapter(session: AsyncSession, adapter: Adapter, *, most: int = 20) -> AdapterLineage:
    """What is behind an adapter, with at most `most` of its pairs."""
    line = await _line(session, adapter)
    run = await session.get(Run, adapter.run_id) if adapter.run_id is not None else None
    return AdapterLineage(
        adapter=_label(adapter),
        state=adapter.state,
        base_model=adapter.base_model,
        base_revision=adapter.base_revision,
        content_hash=adapter.content_hash,
        run=_made_by(run) if run is not None else None,
        continues=tuple(map(_label, line[1:])),
        datasets=await _learnt_from(session, line),
        members=await _members(session, line),
        origins=await _origins(session, line, most),
    )


async def of_turn(session: AsyncSession, turn_id: int) -> TurnLineage:
    """What answered a turn, what is behind that, and what learnt from it. Raises NotFound."""
    turn = await find_turn(session, turn_id)
    community = await session.get(Community, turn.community_id)
    member = await session.get(Member, turn.member_id) if turn.member_id is not None else None
    adapter = await session.get(Adapter, turn.adapter_id) if turn.adapter_id is not None else None
    rows = await session.exec(
        select(Dataset, Pair.split)
        .join(Pair, col(Pair.dataset_id) == Dataset.id)
        .where(Pair.turn_id == turn_id)
        .order_by(col(Dataset.id))
    )
    datasets = []
    for dataset, split in rows.all():
        trained = [] if split not in LEARNT else await _trained_on(session, dataset)
        datasets.append(TrainedOn(_label(dataset), split, tuple(map(_label, trained))))
    return TurnLineage(
        turn=turn_id,
        community=_place(community),
        member=_name(member),
        state=turn.state,
        review_state=turn.review_state,
        base_model=turn.base_model,
        adapter=_label(adapter) if adapter else "",
        behind=await _learnt_from(session, await _line(session, adapter)) if adapter else (),
        datasets=tuple(datasets),
        adapters=tuple(map(_label, await adapters_trained_on(session, [turn_id]))),
        imported=_imported(await session.get(DataImport, turn.import_id) if turn.import_id else None),
    )


async def of_member(session: AsyncSession, named: str) -> MemberLineage:
    """What learnt from a member, named by pseudonym or platform:pseudonym.

    Raises NotFound, and UsageError where two platforms have the same pseudonym.
    """
    platform, _, pseudonym = named.rpartition(":")
    query = select(Member).where(Member.pseudonym == pseudonym)
    if platform:
        query = query.where(Member.platform == platform)
    found = (await session.exec(query.order_by(col(Member.id)))).all()
    if not found:
        raise NotFound(
            "member",
            named,
            "Name one by the pseudonym that the record has; `thumbloop adapter lineage --turn` shows it.",
        )
    if len(found) > 1:
        raise UsageError(
            f"{len(found)} members have the pseudonym {named}.",
            f"Name one of them as {' or '.join(map(_name, found))}.",
        )
    member = found[0]
    turns = (await session.exec(select(Turn.id).where(Turn.member_id == member.id))).all()
    rows = await session.exec(
        select(Dataset, func.count())
        .select_from(Pair)
        .join(Turn, col(Turn.id) == Pair.turn_id)
        .join(Dataset, col(Dataset.id) == Pair.dataset_id)
        .where(Turn.member_id == member.id)
        .group_by(col(Dataset.id))
        .order_by(col(Dataset.id))
    )
    return MemberLineage(
        member=_name(member),
        turns=len(turns),
        pairs={_label(dataset): count for dataset, count in rows.all()},
        adapters=tuple(map(_label, await adapters_trained_on(session, (turn or 0 for turn in turns)))),
    )


async def count_changed(session: AsyncSession, adapter: Adapter) -> int:
    """How many pairs of its own dataset an adapter learnt whose ground has changed since.

    A moderator has changed the decision on the turn, or a passage that stood in its prompt is gone or says
    something else.
    """
    newer = aliased(Review)
    decided_anew = exists().where(
        col(newer.turn_id) == Pair.turn_id,
        or_(
            and_(col(newer.id) == Pair.review_id, col(newer.undone_at).is_not(None)),
            (col(newer.id) > Pair.review_id)
            & (col(newer.decision) != "skip")
            & col(newer.undone_at).is_(None),
        ),
    )
    the_same = exists().where(
        col(Passage.id) == TurnPassage.passage_id,
        col(Passage.content_hash) == TurnPassage.content_hash,
    )
    reads_otherwise = exists().where(col(TurnPassage.turn_id) == Pair.turn_id, ~the_same)
    changed = select(func.count()).where(
        Pair.dataset_id == adapter.dataset_id,
        col(Pair.split).in_(LEARNT),
        or_(decided_anew, reads_otherwise),
    )
    return (await session.exec(changed)).one()


def batches(ids: Iterable[int]) -> Iterator[list[int]]:
    """The ids in ascending order, as many at once as fit one statement: both databases take more.

    They take no more time for many statements than for one.
    """
    rest = iter(sorted(ids))
    while some := list(islice(rest, 500)):
        yield some


async def _line(session: AsyncSession, adapter: Adapter) -> list[Adapter]:
    """The adapter, the one that it continues, the one before that, and so on."""
    line = [adapter]
    while line[-1].continues_id is not None:
        line.append((await session.exec(select(Adapter).where(Adapter.id == line[-1].continues_id))).one())
    return line


async def _learnt_from(session: AsyncSession, line: Sequence[Adapter]) -> tuple[LearntFrom, ...]:
    learnt = []
    for adapter in line:
        dataset = await session.get(Dataset, adapter.dataset_id) if adapter.dataset_id is not None else None
        if dataset is None:
            continue
        counted = await session.exec(
            select(Pair.split, func.count()).where(Pair.dataset_id == dataset.id).group_by(col(Pair.split))
        )
        pairs = dict(sorted(counted.all()))
        learnt.append(LearntFrom(_label(adapter), _label(dataset), dataset.content_hash, pairs))
    return tuple(learnt)


async def _members(session: AsyncSession, line: Sequence[Adapter]) -> dict[str, int]:
    """Whose words the line has learnt from, with how many pairs, the most first."""
    counts: Counter[str] = Counter()
    for adapter in line:
        counted = await session.exec(
            select(Member, func.count())
            .select_from(Pair)
            .join(Turn, col(Turn.id) == Pair.turn_id)
            .join(Member, col(Member.id) == Turn.member_id)
            .where(Pair.dataset_id == adapter.dataset_id, col(Pair.split).in_(LEARNT))
            .group_by(col(Member.id))
        )
        counts.update({_name(member): count for member, count in counted.all()})
    return dict(sorted(counts.items(), key=lambda one: (-one[1], one[0])))


async def _origins(session: AsyncSession, line: Sequence[Adapter], most: int) -> tuple[Origin, ...]:
    """The first `most` pairs that the line has learnt from, with all that is behind each."""
    ids = [adapter.dataset_id for adapter in line if adapter.dataset_id is not None]
    rows = await session.exec(
        select(Pair, Dataset, Turn, Community, Member, Review, DataImport)  # type: ignore[call-overload]
        .join(Dataset, col(Dataset.id) == Pair.dataset_id)
        .join(Turn, col(Turn.id) == Pair.turn_id)
        .join(Community, col(Community.id) == Turn.community_id)
        .join(Review, col(Review.id) == Pair.review_id)
        .outerjoin(Member, col(Member.id) == Turn.member_id)
        .outerjoin(DataImport, col(DataImport.id) == Turn.import_id)
        .where(col(Pair.dataset_id).in_(ids), col(Pair.split).in_(LEARNT))
        .order_by(col(Pair.id))
        .limit(most)
    )
    return tuple(
        Origin(
            dataset=_label(dataset),
            split=pair.split,
            turn=pair.turn_id,
            community=_place(community),
            member=_name(member),
            question=turn.question,
            review=pair.review_id,
            reviewer=review.reviewer,
            decision=review.decision,
            decided_at=review.decided_at,
            imported=_imported(brought_by),
        )
        for pair, dataset, turn, community, member, review, brought_by in rows
    )


async def _trained_on(session: AsyncSession, dataset: Dataset) -> list[Adapter]:
    rows = await session.exec(
        select(Adapter).where(Adapter.dataset_id == dataset.id).order_by(col(Adapter.id))
    )
    return list(rows.all())


def _imported(row: DataImport | None) -> str:
    """An import with its file, the day and the file's hash."""
    if row is None:
        return ""
    return f"import {row.id}: {row.source}, {row.started_at.date()}, SHA-256 {row.file_hash[:12]}"


def _made_by(run: Run) -> MadeBy:
    return MadeBy(run.id or 0, run.state, run.started_by, run.started_at, run.finished_at, run.verdict)


def _label(versioned: Adapter | Dataset) -> str:
    return f"{versioned.name}@{versioned.version}"


def _name(member: Member | None) -> str:
    return "" if member is None else f"{member.platform}:{member.pseudonym}"


def _place(community: Community | None) -> str:
    return "" if community is None else f"{community.platform}:{community.external_id}"
