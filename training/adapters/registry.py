"""Adapters on disk and in the record: added, verified, found, pinned.

An adapter lies under `data/adapters/<name>/<version>/`, its row in the table. What is added is hashed,
renamed into place and never changed again; it is verified before it is read. A retired adapter's files are
gone; its row keeps the lineage. Functions that take a session leave the commit to it. Leaves to others: which
adapter serves whom (`deployments`), verdicts (`verdicts`), and deleting (`pruning`).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

from sqlmodel import col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from feedback.errors import Conflict, NotFound
from feedback.journal import audit
from feedback.tables import Adapter, Run
from feedback.words import AdapterVersion
from training import files
from training.errors import AdapterError

BASE: Final = "base"
"""What the base model without an adapter is called wherever an adapter's label is expected."""
HASH_DIGITS: Final = 12
"""How many digits of an adapter's content hash are part of its name on servers."""
ADAPTERS: Final = "adapters"
SEE_LIST: Final = "`thumbloop adapter list` shows which adapters there are."
PICKLES: Final = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt")
CONFIG: Final = "adapter_config.json"
WEIGHTS: Final = "adapter_model.safetensors"

_SAFE_ONLY: Final = f"An adapter is {CONFIG} with {WEIGHTS}; pickles are never loaded."
_EXACT: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")  # a hub's commit, or a SHA-256
_CHANGES_LOCK: Final = 0x7468756D62 + 1
"""PostgreSQL's advisory lock that changes of adapters and deployments queue on."""


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
        raise AdapterError(f"The adapter {label(adapter)} was retired, and its files are gone.", SEE_LIST)
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
            "the model now; bring that revision back, or train again"
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
    its run by default. Raises AdapterError when it is no adapter, holds a pickle, or cannot be
    written.
    """
    fault = "it is a link" if staged.is_symlink() else _unsafe(staged)
    if fault is not None:
        raise AdapterError(f"The folder {staged} cannot be added as an adapter: {fault}.", _SAFE_ONLY)
    await lock_changes(session)
    run = await session.get(Run, run_id) if run_id is not None else None
    shelf = data / ADAPTERS / name
    highest = (await session.exec(select(func.max(Adapter.version)).where(Adapter.name == name))).one()
    with files.faults_explained("Writing the adapter to", shelf, AdapterError):
        shelf.mkdir(parents=True, exist_ok=True)
        content_hash = files.write_manifest(
            staged, adapter=name, base_model=base_model, revision=base_revision, run=made_in(run)
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


async def pin(session: AsyncSession, adapter: Adapter, *, by: str, pinned: bool = True) -> bool:
    """Keep the adapter whatever is pruned, or no longer; whether that is a change.

    Raises Conflict when it is retired: there is nothing left to keep.
    """
    await lock_changes(session)
    now_there = await present_row(session, adapter)
    if now_there.pinned == pinned:
        return False
    if pinned and now_there.state == "retired":
        raise Conflict(f"The adapter {label(adapter)} was retired, and its files are gone.", SEE_LIST)
    now_there.pinned = pinned
    session.add(now_there)
    audit(session, by, "adapter.pin" if pinned else "adapter.unpin", label(adapter))
    return True


def _unsafe(place: Path) -> str | None:
    for path in sorted(place.rglob("*")):
        if path.suffix.lower() in PICKLES:
            return f"the file {path.relative_to(place)} is a pickle, which could run anything when loaded"
        if path.is_symlink():
            return f"the file {path.relative_to(place)} is a link out of the folder"
    return next(
        (f"the file {name} is missing" for name in (CONFIG, WEIGHTS) if not (place / name).is_file()), None
    )


def made_in(run: Run | None) -> str:
    """Which run of which record an adapter was made in: numbers alone start over in every database."""
    return "" if run is None else f"{run.id} of {run.started_at.isoformat()}"


async def present_row(session: AsyncSession, adapter: Adapter) -> Adapter:
    """The adapter's row as the record has it now. The caller has `lock_changes`."""
    row = select(Adapter).where(Adapter.id == adapter.id).execution_options(populate_existing=True)
    return (await session.exec(row)).one()


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


async def lock_changes(session: AsyncSession) -> None:
    """Keep everybody else from changing adapters or deployments until the session ends.

    On SQLite only one session writes anyway.
    """
    if session.get_bind().dialect.name == "postgresql":
        await session.exec(select(func.pg_advisory_xact_lock(_CHANGES_LOCK)))
