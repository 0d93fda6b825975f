"""A backup: everything that cannot be made again, in one file, taken while the service runs; and back.

A zip file: `manifest.json`, the record (`record/`, see `feedback.dump`), adapters, datasets, reports, and the
pseudonym key, without which members would be strangers. Left out: models, which are fetched or converted
again, logs, and runs under way. It is read back before it gets its name, and again before anything of it is
put in place. It holds members' words and the key, so only its owner may read it.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import IO, Any, Final

from bot import schedule
from bot.pseudonym_key import KEY_FILE
from bot.settings import Settings
from feedback import dump
from feedback.database import Database, require_known
from feedback.dump import Dump
from feedback.errors import Conflict, DatabaseError, UsageError
from feedback.tables import Adapter, now
from training import files
from training.adapters import registry
from training.data.dataset import DATASETS
from training.errors import AdapterError
from training.making_way import ANSWERING
from training.run.lifecycle import REPORTS, RUNS

FORMAT: Final = 1
"""The layout of the file; raised when an older Thumbloop could not restore it."""
RECORD: Final = "record"
FOLDERS: Final = (registry.ADAPTERS, DATASETS, REPORTS)
HARMLESS: Final = ("models", "logs", "lost+found", RUNS, ANSWERING)
"""What may lie in a data folder that a backup is restored into."""
_PIECE: Final = 1 << 20
_COMPRESSED_ALREADY: Final = (".safetensors", ".png")
_NO_BACKUP: Final = "Name a file that `thumbloop backup` wrote."


@dataclass(frozen=True)
class BackedUp:
    """What a backup holds. `damaged` says of adapters that were not whole already what is wrong with them."""

    file: Path
    bytes: int
    revision: str
    rows: dict[str, int]
    files: int
    damaged: tuple[str, ...]


@dataclass(frozen=True)
class Restored:
    """What was put in place: `made_at` is when the backup was made, `version` by which Thumbloop."""

    made_at: str
    version: str
    rows: dict[str, int]
    files: int
    damaged: tuple[str, ...]


async def back_up(settings: Settings, database: Database, file: Path) -> BackedUp:
    """Write a backup to `file` and read it back.

    Raises UsageError when the file is there already or its folder is not, DatabaseError when the record
    cannot be read, the disk is full, or what is read back differs.
    """
    if file.exists():
        raise UsageError(f"The file {file} is there already.", "Name another one; a backup replaces nothing.")
    if not file.absolute().parent.is_dir():
        raise UsageError(f"There is no folder {file.absolute().parent}.", "Make it, or name another one.")
    async with database.session(read_only=True) as session:
        adapters = await registry.list_adapters(session)
    with files.faults_explained("Writing the backup", file, DatabaseError):
        # what a killed backup left there holds members' words, and nobody would look for it
        await asyncio.to_thread(files.sweep_beside, file)
    with (
        files.faults_explained("Writing the backup", file, DatabaseError),
        files.part_folder(file.absolute()) as part,
    ):
        (part / RECORD).mkdir()
        dumped = await dump.dump(database, part / RECORD)
        written = await asyncio.to_thread(_write, settings.data, part, dumped)
        await asyncio.to_thread(_read_back, part / "backup.zip", part / "read-back", dumped)
        (part / "backup.zip").rename(file)
    damaged = await asyncio.to_thread(_damaged, settings.data, adapters)
    return BackedUp(file, file.stat().st_size, dumped.revision, dumped.rows, written, damaged)


async def restore(settings: Settings, file: Path) -> Restored:
    """Put a backup in place, into an empty data folder and an empty database, and bring it up to date.

    Raises UsageError when the file is no backup or is damaged, SchemaTooNew, Conflict when something is
    there already or the database is of the other kind, DatabaseError. Nothing is in place then but what had
    been put there before the disk failed.
    """
    data = settings.data
    with _opened(file) as archive:
        manifest = _manifest(archive, file)
        dumped = Dump(**manifest["record"])
        require_known(dumped.revision)
        _require_empty(data)
        database = Database(settings.database_url)
        try:
            await dump.require_empty(database)
            with (
                files.faults_explained("Restoring into", data, DatabaseError),
                files.part_folder(data / "restore") as part,
            ):
                await asyncio.to_thread(_unpack, archive, manifest["files"], part)
                await asyncio.to_thread(dump.check, part / RECORD, dumped)
                for name in (*FOLDERS, KEY_FILE):
                    if (part / name).exists():
                        (part / name).rename(data / name)
                # the record comes last: before it is there, nothing counts as restored
                if not database.is_sqlite:
                    await schedule.make_store(database)
                await dump.load(database, part / RECORD, dumped)
            await database.upgrade()
            async with database.session(read_only=True) as session:
                adapters = await registry.list_adapters(session)
        finally:
            await database.close()
    damaged = await asyncio.to_thread(_damaged, data, adapters)
    return Restored(manifest["made_at"], manifest["version"], dumped.rows, len(manifest["files"]), damaged)


def _write(data: Path, part: Path, dumped: Dump) -> int:
    """Write the zip file from the record in `part` and the files of `data`; how many files it holds."""
    about: dict[str, dict[str, Any]] = {}
    place = os.open(part / "backup.zip", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(place, "wb") as target, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, path in _what(data, part):
            kind = zipfile.ZIP_STORED if path.suffix in _COMPRESSED_ALREADY else zipfile.ZIP_DEFLATED
            try:
                source = path.open("rb")
            except FileNotFoundError:  # pruned this moment; the record's copy is older than that
                continue
            member = zipfile.ZipInfo(name)
            member.compress_type = kind
            with source, archive.open(member, "w", force_zip64=True) as inside:
                about[name] = _copied(source, inside)
        manifest = {
            "format": FORMAT,
            "made_at": now().isoformat(timespec="seconds"),
            "version": version("thumbloop"),
            "record": asdict(dumped),
            "files": about,
        }
        archive.writestr(files.MANIFEST, json.dumps(manifest, indent=1))
    return len(about)


def _what(data: Path, part: Path) -> Iterator[tuple[str, Path]]:
    """The name in the backup of each file that belongs into it, and where it lies."""
    for path in sorted((part / RECORD).iterdir()):
        yield f"{RECORD}/{path.name}", path
    if (data / KEY_FILE).is_file():
        yield KEY_FILE, data / KEY_FILE
    for folder in FOLDERS:
        for path in sorted((data / folder).rglob("*")):
            name = path.relative_to(data)
            if path.is_file() and not path.is_symlink() and not any(map(files.is_part, name.parts)):
                yield name.as_posix(), path


def _copied(source: IO[bytes], target: IO[bytes]) -> dict[str, Any]:
    digest, size = hashlib.sha256(), 0
    while piece := source.read(_PIECE):
        digest.update(piece)
        size += len(piece)
        target.write(piece)
    return {"bytes": size, "sha256": digest.hexdigest()}


def _read_back(place: Path, folder: Path, dumped: Dump) -> None:
    with _opened(place) as archive:
        manifest = _manifest(archive, place)
        _unpack(archive, manifest["files"], folder, keep=RECORD)
    dump.check(folder / RECORD, dumped)


def _opened(file: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(file)
    except FileNotFoundError:
        raise UsageError(f"There is no file {file}.", _NO_BACKUP) from None
    except (zipfile.BadZipFile, OSError) as error:
        raise UsageError(f"{file} cannot be read as a backup ({error}).", _NO_BACKUP) from error


def _manifest(archive: zipfile.ZipFile, file: Path) -> dict[str, Any]:
    try:
        manifest: dict[str, Any] = json.loads(archive.read(files.MANIFEST))
        written, known = int(manifest["format"]), manifest.keys() >= {"made_at", "version", "record", "files"}
    except (KeyError, ValueError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise UsageError(f"{file} is no backup of Thumbloop, or is damaged.", _NO_BACKUP) from error
    if written > FORMAT or not known:
        raise UsageError(
            f"{file} was written by Thumbloop {manifest.get('version')}, which this one is too old for.",
            "Restore it with that version.",
        )
    return manifest


def _unpack(archive: zipfile.ZipFile, about: dict[str, Any], folder: Path, *, keep: str = "") -> None:
    """Write the files of a backup into `folder`, each checked; with `keep` only those of that folder stay.

    Raises UsageError naming the first that is damaged, or lies outside.
    """
    for name, expected in about.items():
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts:
            raise UsageError(f"The backup names a file outside the data folder ({name}).", _NO_BACKUP)
        staying = not keep or path.parts[0] == keep
        target = folder / path if staying else Path(os.devnull)
        folder.joinpath(path).parent.mkdir(parents=True, exist_ok=True)
        try:
            with archive.open(name) as source, target.open("wb") as file:
                found = _copied(source, file)
        except (KeyError, zipfile.BadZipFile, zlib.error) as error:
            raise UsageError(f"The backup is damaged: {name} cannot be read ({error}).", _OTHER) from error
        if found != expected:
            raise UsageError(f"The backup is damaged: {name} is not what was written.", _OTHER)
    if (folder / KEY_FILE).exists():
        (folder / KEY_FILE).chmod(0o600)


_OTHER: Final = "Use another backup."


def _require_empty(data: Path) -> None:
    if not data.exists():
        return
    found = sorted(
        path.name for path in data.iterdir() if path.name not in HARMLESS and not files.is_part(path.name)
    )
    if found:
        raise Conflict(
            f"The data folder {data.absolute()} is not empty: it holds {', '.join(found[:5])}.",
            "Restore into an empty one (--data FOLDER), or move what is there away.",
        )


def _damaged(data: Path, adapters: list[Adapter]) -> tuple[str, ...]:
    told = []
    for adapter in adapters:
        try:
            registry.verify(data, adapter)
        except AdapterError as error:
            told.append(error.problem)
    return tuple(told)
