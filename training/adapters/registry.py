"""Adapters on disk and in the record, and which one serves whom.

An adapter lies under `data/adapters/<name>/<version>/`, its row in the table. What is added is hashed,
renamed into place and never changed again; it is verified before it is read. A deployment says who serves a
community, or (community None) all without a deployment of their own; where there is none the base model does.
A retired adapter's files are gone; its row tells the lineage. Functions that take a session leave the commit
to it.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from sqlmodel import col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from feedback.database import Database
from feedback.errors import Conflict, NotFound, UsageError
from feedback.journal import audit
from feedback.tables import Adapter, Audit, Deployment, Run, now
from feedback.words import AdapterState, AdapterVersion
from training import files
from training.errors import AdapterError

BASE: Final = "base"
"""What the base model without an adapter is called wherever an adapter's label is expected."""
HASH_DIGITS: Final = 12
"""How many digits of an adapter's content hash are part of its name on servers."""
ADAPTERS: Final = "adapters"
PICKLES: Final = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt")
NEEDED: Final = ("adapter_config.json", "adapter_model.safetensors")

_EXACT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")  # a hub's commit, or a SHA-256
_SHELVES_LOCK = (
    0x7468756D62 + 1
)  # PostgreSQL's advisory lock that changes of adapters and deployments queue on
_ROLLED_BACK, _RELEASED = "adapter.rollback", "adapter.release"


def label(adapter: Adapter) -> str:
    """`name@version`."""
    return str(AdapterVersion(adapter.name, adapter.version))


def served_name(version: AdapterVersion, content_hash: str) -> str:
    """An adapter's name on servers, `name@version-hash`: one name never stands for two contents."""
    return f"{version}-{content_hash[:HASH_DIGITS]}"


def folder(data: Path, adapter: Adapter) -> Path:
    """Where the adapter's files lie. They are verified by `verify`, not here."""
    return data / adapter.folder


def verify(data: Path, adapter: Adapter) -> Path:
    """The adapter's folder, every file of it as it was when added. Raises AdapterError naming the file."""
    place = folder(data, adapter)
    if adapter.state == "retired":
        retired = f"The adapter {label(adapter)} was retired, and its files are gone."
        raise AdapterError(retired, _OTHERS, public=retired)
    with files.faults_explained("Reading the adapter in", place, AdapterError):
        fault = files.damage(place, adapter.content_hash) or _unsafe(place)
    if fault is not None:
        raise AdapterError(
            f"The adapter {label(adapter)} in {place} cannot be used: {fault}.",
            "Restore the folder from a backup, or serve another adapter with `thumbloop adapter switch`.",
            public=f"The adapter {label(adapter)} cannot be used: its files are damaged.",
        )
    return place


def other_base(adapter: Adapter, base_model: str, base_revision: str = "") -> str | None:
    """Why the adapter is not for that model, or not for that revision of it; None when it is.

    Revisions are compared where both are exact, a commit or a hash: a branch's name tells nothing.
    """
    if adapter.base_model != base_model:
        return f"it was trained on {adapter.base_model}, and {base_model} is the model now"
    known = [one for one in (adapter.base_revision, base_revision) if _EXACT.fullmatch(one)]
    if len(known) == 2 and known[0] != known[1]:
        return (
            f"it was trained on revision {known[0][:12]} of {base_model}, and revision {known[1][:12]} is "
            "the model now; bring that revision back, or train anew"
        )
    return None


def refuse_other_base(adapter: Adapter, base_model: str, base_revision: str) -> None:
    """Raise AdapterError unless the adapter is for that model in that revision."""
    reason = other_base(adapter, base_model, base_revision)
    if reason is not None:
        problem = f"The adapter {label(adapter)} cannot be used: {reason}."
        raise AdapterError(
            problem, "THUMBLOOP_MODEL and THUMBLOOP_MODEL_REVISION say which model there is.", public=problem
        )


async def judge(
    session: AsyncSession, adapter: Adapter, *, promote: bool, metrics: dict[str, Any], by: str
) -> Adapter:
    """Write the verdict of an examination on a registered adapter; its row. What serves does not change.

    `metrics` replace what earlier examinations found. Raises Conflict when it was retired meanwhile.
    """
    await _alone(session)
    row = await _present(session, adapter)
    if row.state == "retired":
        raise Conflict(f"The adapter {label(row)} was retired while it was examined.", _OTHERS)
    former, row.state = row.state, "promoted" if promote else "held"
    row.metrics = {**row.metrics, **metrics}
    session.add(row)
    audit(session, by, "adapter.examine", label(row), verdict=row.state, instead_of=former)
    return row


async def add(
    session: AsyncSession,
    data: Path,
    staged: Path,
    *,
    name: str,
    base_model: str,
    base_revision: str,
    dataset_id: int | None = None,
    run_id: int | None = None,
    continues_id: int | None = None,
    metrics: dict[str, Any] | None = None,
    by: str = "",
) -> Adapter:
    """Take the adapter in `staged` over as the next version of `name`, as a candidate without a verdict.

    `staged` lies on the same file system as `data` and is gone afterwards. Two callers at once get two
    versions. When the session is rolled back the files stay, unlisted, until `sweep`. `by` is who adds it;
    its run, unless told otherwise. Raises AdapterError when it is no adapter, holds a pickle, or cannot be
    written.
    """
    fault = "it is a link" if staged.is_symlink() else _unsafe(staged)
    if fault is not None:
        raise AdapterError(f"The folder {staged} cannot be added as an adapter: {fault}.", _SAFE_ONLY)
    await _alone(session)
    run = await session.get(Run, run_id) if run_id is not None else None
    shelf = data / ADAPTERS / name
    highest = (await session.exec(select(func.max(Adapter.version)).where(Adapter.name == name))).one()
    with files.faults_explained("Writing the adapter to", shelf, AdapterError):
        shelf.mkdir(parents=True, exist_ok=True)
        content_hash = files.write_manifest(
            staged, adapter=name, base_model=base_model, revision=base_revision, run=_made_in(run)
        )
        version = _take_place(staged, shelf, (highest or 0) + 1)
    adapter = Adapter(
        name=name,
        version=version,
        folder=(shelf / str(version)).relative_to(data).as_posix(),
        content_hash=content_hash,
        base_model=base_model,
        base_revision=base_revision,
        dataset_id=dataset_id,
        run_id=run_id,
        continues_id=continues_id,
        metrics=metrics or {},
    )
    session.add(adapter)
    await session.flush()
    audit(session, by or f"run {run_id}", "adapter.add", label(adapter), content_hash=content_hash)
    return adapter


async def find(session: AsyncSession, wanted: str) -> Adapter | None:
    """The adapter called `name@version`, or the newest called `name` whose files are kept; None for "base".

    Raises NotFound, saying what there is.
    """
    if wanted == BASE:
        return None
    name, _, version = wanted.partition("@")
    query = select(Adapter).where(Adapter.name == name)
    if "@" in wanted:
        # a number of another kind, or one that no database can hold, is the label of nothing
        number = int(version) if version.isascii() and version.isdigit() and len(version) < 10 else 0
        query = query.where(Adapter.version == number)
    newest = query.order_by(col(Adapter.state) == "retired", col(Adapter.version).desc()).limit(1)
    found = (await session.exec(newest)).one_or_none()
    if found is None:
        known = ", ".join(label(adapter) for adapter in await list_adapters(session))
        raise NotFound(
            "adapter", wanted, f"There are {BASE}{', ' + known if known else ' and no others yet'}."
        )
    return found


async def list_adapters(session: AsyncSession, *, retired: bool = False) -> list[Adapter]:
    """Every adapter whose files are kept, or with the `retired` ones, by name, the newest version first."""
    query = select(Adapter).order_by(col(Adapter.name), col(Adapter.version).desc())
    if not retired:
        query = query.where(Adapter.state != "retired")
    return list((await session.exec(query)).all())


async def serving(session: AsyncSession, community_id: int | None = None) -> Adapter | None:
    """The adapter that answers in that community; None is the base model."""
    deployment = await _open(session, community_id)
    if deployment is None and community_id is not None:
        deployment = await _open(session, None)
    if deployment is None or deployment.adapter_id is None:
        return None
    return (await session.exec(select(Adapter).where(Adapter.id == deployment.adapter_id))).one()


async def in_service(session: AsyncSession) -> list[Adapter]:
    """Every adapter that serves somebody now."""
    rows = await session.exec(
        select(Adapter)
        .where(col(Adapter.id).in_(select(Deployment.adapter_id).where(col(Deployment.until).is_(None))))
        .order_by(col(Adapter.id))
    )
    return list(rows.all())


async def history(session: AsyncSession, community_id: int | None = None) -> list[Deployment]:
    """The deployments of that community, or (None) of everyone, the newest first."""
    rows = await session.exec(_deployments(community_id).order_by(col(Deployment.id).desc()))
    return list(rows.all())


async def switch(
    session: AsyncSession,
    adapter: Adapter | None,
    *,
    by: str,
    reason: str = "",
    community_id: int | None = None,
) -> Deployment:
    """Let `adapter` (None is the base model) serve from now on; what serves already is left as it is.

    Raises Conflict when the adapter has had no verdict, or is retired. A held one may serve: a person
    overrules the gate, and the audit says so.
    """
    await _alone(session)
    if adapter is not None:
        await _refuse_unservable(session, adapter)
    former = await _open(session, community_id)
    wanted = None if adapter is None else adapter.id
    if former is not None and former.adapter_id == wanted:
        return former
    deployment = await _succeed(session, former, wanted, by, reason, community_id)
    audit(
        session,
        by,
        "adapter.switch",
        BASE if adapter is None else label(adapter),
        deployment_id=deployment.id,
        community_id=community_id,
        overruled_the_gate=adapter is not None and adapter.state == "held",
    )
    return deployment


async def rollback(session: AsyncSession, *, by: str, community_id: int | None = None) -> Deployment:
    """Let what served before serve again; repeated, one step further back each time, like undo.

    Before everyone's first deployment the base model served. Before a community's own first one it had what
    everyone has: its deployment ends, and the one returned is everyone's. Raises Conflict when nothing is
    left, or what served before is retired.
    """
    await _alone(session)
    stack = await _standing(session, community_id)
    if not stack:
        whom = "everyone" if community_id is None else "this community"
        problem = f"Nothing served {whom} before what serves now, so there is nothing to roll back to."
        raise Conflict(
            problem,
            "Choose an adapter with `thumbloop adapter switch`; `thumbloop adapter list` shows them.",
            public=f"{problem} `/adapter` shows which there are, and switches.",
        )
    undone = stack.pop()
    current = await _open(session, community_id)
    if current is not None and not stack and community_id is not None:
        current.until = now()
        session.add(current)
        audit(session, by, _RELEASED, f"deployment {current.id}", community_id=community_id)
        await session.flush()
        return await _open(session, None) or Deployment(
            decided_by=by, reason="the base model serves everyone"
        )
    wanted = stack[-1].adapter_id if stack else None
    if wanted is not None:
        former = (await session.exec(select(Adapter).where(Adapter.id == wanted))).one()
        await _refuse_unservable(session, former)
    reason = f"rollback of deployment {undone.id}"
    deployment = await _succeed(session, current, wanted, by, reason, community_id)
    audit(
        session, by, _ROLLED_BACK, f"deployment {deployment.id}", undone=undone.id, community_id=community_id
    )
    return deployment


async def pin(session: AsyncSession, adapter: Adapter, *, by: str, pinned: bool = True) -> bool:
    """Keep the adapter whatever is pruned, or no longer; whether that is a change.

    Raises Conflict when it is retired: there is nothing left to keep.
    """
    await _alone(session)
    now_there = await _present(session, adapter)
    if now_there.pinned == pinned:
        return False
    if pinned and now_there.state == "retired":
        raise Conflict(f"The adapter {label(adapter)} was retired, and its files are gone.", _OTHERS)
    now_there.pinned = pinned
    session.add(now_there)
    audit(session, by, "adapter.pin" if pinned else "adapter.unpin", label(adapter))
    return True


async def overrule(session: AsyncSession, adapter: Adapter, *, promote: bool, by: str, reason: str) -> None:
    """Let a person's verdict on the adapter stand instead of the gate's; what serves is not changed by it.

    Raises UsageError without a reason; Conflict when there is no verdict to overrule, when it is that one
    already, or when an adapter shall be held that serves.
    """
    if not reason.strip():
        raise UsageError(
            "An overruled verdict needs a reason; the record keeps it.", 'Say why, as in --reason "…".'
        )
    await _alone(session)
    await _refuse_unservable(session, adapter)
    await session.refresh(adapter)
    state: AdapterState = "promoted" if promote else "held"
    if adapter.state == state:
        raise Conflict(
            f"The adapter {label(adapter)} is {state} already.", "`thumbloop adapter list` shows the states."
        )
    if not promote and adapter.id in [serves.id for serves in await in_service(session)]:
        raise Conflict(
            f"The adapter {label(adapter)} serves now, so it cannot be held.",
            "Let another one serve first, with `thumbloop adapter switch` or `thumbloop adapter rollback`.",
        )
    former, adapter.state = adapter.state, state
    session.add(adapter)
    audit(session, by, "adapter.overrule", label(adapter), verdict=state, instead_of=former, reason=reason)


async def prunable(session: AsyncSession, keep: int) -> list[Adapter]:
    """The adapters that nobody needs: all but the last `keep` of each name, and but those that are needed.

    Needed is what serves anybody, what one rollback would bring back, what is pinned, and what still waits
    for its verdict.
    """
    needed = {adapter.id for adapter in await in_service(session)}
    for community_id in (await session.exec(select(Deployment.community_id).distinct())).all():
        needed.update(deployment.adapter_id for deployment in (await _standing(session, community_id))[-2:])
    found: list[Adapter] = []
    kept: dict[str, int] = {}
    for adapter in await list_adapters(session):
        kept[adapter.name] = kept.get(adapter.name, 0) + 1
        recent = kept[adapter.name] <= keep
        if not (recent or adapter.pinned or adapter.state == "candidate" or adapter.id in needed):
            found.append(adapter)
    return found


async def prune(database: Database, data: Path, *, keep: int, by: str) -> list[Adapter]:
    """Retire what is `prunable` and delete its files; the adapters retired.

    The record is changed first, so nobody can switch to what is being deleted; files that a process left
    behind by dying in between go with the next call. Raises AdapterError when they cannot be deleted.
    """
    async with database.session() as session:
        await _alone(session)
        gone = await prunable(session, keep)
        for adapter in gone:
            adapter.state = "retired"
            session.add(adapter)
            audit(session, by, "adapter.retire", label(adapter), content_hash=adapter.content_hash)
        await session.flush()
        retired = (await session.exec(select(Adapter).where(Adapter.state == "retired"))).all()
    await asyncio.to_thread(_clear_away, data, [folder(data, adapter) for adapter in retired])
    return gone


async def sweep(database: Database, data: Path) -> list[Path]:
    """Remove what processes that died left of adapters, half-written or never listed; the paths removed.

    Of the unlisted ones only those go whose run this record knows to have ended: a folder that belongs to
    another database, or to nothing known, is nobody's to delete.
    """
    async with database.session() as session:
        await _alone(session)  # nobody is between placing a folder and listing it
        listed = set((await session.exec(select(Adapter.folder))).all())
        ended = (await session.exec(select(Run).where(Run.state != "running"))).all()
        stray = await asyncio.to_thread(_unlisted, data, listed, {_made_in(run) for run in ended})
        await asyncio.to_thread(_clear_away, data, stray)
    return sorted([*stray, *await asyncio.to_thread(files.sweep, data / ADAPTERS)])


_OTHERS = "`thumbloop adapter list` shows which adapters there are."
_SAFE_ONLY = "An adapter is adapter_config.json with adapter_model.safetensors; pickles are never loaded."


def _unsafe(place: Path) -> str | None:
    for path in sorted(place.rglob("*")):
        if path.suffix.lower() in PICKLES:
            return f"the file {path.relative_to(place)} is a pickle, which could run anything when loaded"
        if path.is_symlink():
            return f"the file {path.relative_to(place)} is a link out of the folder"
    return next((f"the file {name} is missing" for name in NEEDED if not (place / name).is_file()), None)


def _made_in(run: Run | None) -> str:
    """Which run of which record an adapter was made in: numbers alone begin anew in every database."""
    return "" if run is None else f"{run.id} of {run.started_at.isoformat()}"


def _unlisted(data: Path, listed: set[str], ended: set[str]) -> list[Path]:
    """The adapters' folders that no row names and whose manifest says that they were made in `ended`."""
    found = []
    for manifest in (data / ADAPTERS).glob(f"*/*/{files.MANIFEST}"):
        if manifest.parent.relative_to(data).as_posix() in listed or not manifest.parent.name.isdigit():
            continue
        with suppress(OSError, ValueError, TypeError, KeyError):  # unreadable is not known to be ours
            if json.loads(manifest.read_bytes())["run"] in ended:
                found.append(manifest.parent)
    return found


def _clear_away(data: Path, folders: Sequence[Path]) -> None:
    with files.faults_explained("Deleting retired adapters in", data / ADAPTERS, AdapterError):
        for place in folders:
            files.discard(place)


async def _present(session: AsyncSession, adapter: Adapter) -> Adapter:
    """The adapter's row as the record has it now. The caller is `_alone`."""
    row = select(Adapter).where(Adapter.id == adapter.id).execution_options(populate_existing=True)
    return (await session.exec(row)).one()


async def _refuse_unservable(session: AsyncSession, adapter: Adapter) -> None:
    """Raise Conflict when the adapter may not serve, by what the record says now. The caller is `_alone`."""
    state = (await session.exec(select(Adapter.state).where(Adapter.id == adapter.id))).one()
    if state == "candidate":
        raise Conflict(
            f"The adapter {label(adapter)} has had no verdict yet, so it may not serve.",
            f"`thumbloop adapter examine {label(adapter)}` examines it.",
        )
    if state == "retired":
        raise Conflict(
            f"The adapter {label(adapter)} was retired and its files are gone, so it cannot serve.", _OTHERS
        )


def _take_place(staged: Path, shelf: Path, version: int) -> int:
    """Rename `staged` to the first free version from `version` on; a rename onto a full folder fails."""
    while True:
        try:
            staged.rename(shelf / str(version))
        except OSError:
            if not (shelf / str(version)).exists():
                raise
            version += 1
        else:
            return version


def _deployments(community_id: int | None) -> Any:
    of_it = col(Deployment.community_id)
    return select(Deployment).where(of_it.is_(None) if community_id is None else of_it == community_id)


async def _open(session: AsyncSession, community_id: int | None) -> Deployment | None:
    newest = _deployments(community_id).where(col(Deployment.until).is_(None))
    deployment: Deployment | None = (
        await session.exec(newest.order_by(col(Deployment.id).desc()).limit(1))
    ).one_or_none()
    return deployment


async def _succeed(
    session: AsyncSession,
    former: Deployment | None,
    adapter_id: int | None,
    by: str,
    reason: str,
    community_id: int | None,
) -> Deployment:
    moment = now()
    if former is not None:
        former.until = moment
        session.add(former)
    deployment = Deployment(
        community_id=community_id, adapter_id=adapter_id, decided_by=by, reason=reason, since=moment
    )
    session.add(deployment)
    await session.flush()
    return deployment


async def _standing(session: AsyncSession, community_id: int | None) -> list[Deployment]:
    """The deployments that no rollback has undone, oldest first; the last one is what serves.

    Deployments are never rewritten, so the audit tells which of them were steps back.
    """
    noted = col(Audit.action).in_((_ROLLED_BACK, _RELEASED))
    told = {(entry.action, entry.subject) for entry in (await session.exec(select(Audit).where(noted))).all()}
    stack: list[Deployment] = []
    for deployment in reversed(await history(session, community_id)):
        subject = f"deployment {deployment.id}"
        if (_RELEASED, subject) in told:  # a step back may itself be released by the next one
            stack.clear()
        elif (_ROLLED_BACK, subject) in told:
            stack.pop()
        else:
            stack.append(deployment)
    return stack


async def _alone(session: AsyncSession) -> None:
    """Let nobody else change adapters or deployments until the session ends; on SQLite one alone writes."""
    if session.get_bind().dialect.name == "postgresql":
        await session.exec(select(func.pg_advisory_xact_lock(_SHELVES_LOCK)))
