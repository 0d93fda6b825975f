"""Whether the next run is due: what was approved since the last run that came to a verdict."""

from __future__ import annotations

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from feedback import review
from feedback.tables import Adapter, Dataset, Deployment, Pair, Run
from training.data import candidates
from training.data.candidates import DatasetFilter
from training.run.lifecycle import WITH_VERDICT
from training.settings import TrainingSettings


async def count_new_pairs(session: AsyncSession, adapter_name: str, *, at_most: int | None = None) -> int:
    """How many pairs were approved after those that the adapter's last run with a verdict has seen.

    `at_most` as in `review.count_new_approved`.
    """
    return await review.count_new_approved(session, await _last_seen(session, adapter_name), at_most=at_most)


async def count_own_pairs(
    session: AsyncSession, settings: TrainingSettings, default_persona: str, after_review: int = 0
) -> int:
    """How many pairs `settings.adapter_name` would learn, of those approved after that review.

    Counted by the database, but where the adapter has communities, languages and the like of its own: then
    all that is approved is read. Raises UsageError for a community that there is not.
    """
    only = DatasetFilter.of(settings.own)
    if only == DatasetFilter():
        return await review.count_new_approved(session, after_review)
    gathered = await candidates.gather(session, settings, default_persona, only)
    return sum(one.review > after_review and not one.held_out for one in gathered.candidates)


async def has_new_pairs(session: AsyncSession, adapter_name: str, dataset: Dataset) -> bool:
    """Whether a dataset has any pair that the adapter's last run with a verdict has not seen."""
    last = await _last_dataset(session, adapter_name)
    if last is None:
        return True
    seen = select(Pair.review_id).where(Pair.dataset_id == last.id)
    new = select(Pair.id).where(Pair.dataset_id == dataset.id, col(Pair.review_id).not_in(seen)).limit(1)
    return (await session.exec(new)).first() is not None


async def is_due(session: AsyncSession, settings: TrainingSettings, default_persona: str) -> bool:
    """Whether enough new pairs are approved for a scheduled run of `settings.adapter_name`.

    Not while its canary is open: a next version would take the canary's place before votes have decided.
    """
    names = select(Adapter.name).join(Deployment, col(Deployment.adapter_id) == Adapter.id)
    open_ones = names.where(col(Deployment.until).is_(None), Deployment.share < 1)
    if settings.adapter_name in (await session.exec(open_ones)).all():
        return False
    return await count_new_own_pairs(session, settings, default_persona) >= settings.min_new_pairs


async def count_new_own_pairs(session: AsyncSession, settings: TrainingSettings, default_persona: str) -> int:
    """How many pairs `settings.adapter_name` would learn that its last run with a verdict has not seen.

    Raises as `count_own_pairs`.
    """
    seen = await _last_seen(session, settings.adapter_name)
    return await count_own_pairs(session, settings, default_persona, seen)


async def _last_seen(session: AsyncSession, adapter_name: str) -> int:
    """The newest review that the adapter's last run with a verdict has seen; 0 before its first run."""
    dataset = await _last_dataset(session, adapter_name)
    return max(dataset.manifest["reviews"], default=0) if dataset else 0


async def _last_dataset(session: AsyncSession, adapter_name: str) -> Dataset | None:
    """What the adapter's last run with a verdict was trained on."""
    newest = (
        select(Dataset)
        .join(Run, col(Run.dataset_id) == Dataset.id)
        .join(Adapter, col(Adapter.run_id) == Run.id)  # a run that only examines has learnt nothing
        .where(Run.adapter_name == adapter_name, col(Run.state).in_(WITH_VERDICT))
        .order_by(col(Run.id).desc())
        .limit(1)
    )
    return (await session.exec(newest)).one_or_none()
