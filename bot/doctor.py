"""What is well with an installation, what is not, and what to do about it. Looks only; changes nothing.

Each check stands alone, so that one fault never hides another. No secret's value is read into a finding.
"""

from __future__ import annotations

import asyncio
import os
import stat
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit

import psutil
from pydantic import BaseModel, SecretStr
from sqlalchemy import text
from sqlmodel import func, select

from bot import disk, health_probe, logs
from bot.settings import TOML_FILE, Settings, secret_values
from feedback.database import Database
from feedback.errors import ThumbloopError
from feedback.tables import Turn, now
from training.adapters import deployments, registry

Severity = Literal["ok", "note", "warning", "fault"]

CLOCK_TOLERANCE: Final = timedelta(minutes=5)


@dataclass(frozen=True)
class Finding:
    """The result of one check; `remedy` says what to do when it is no "ok"."""

    name: str
    severity: Severity
    detail: str
    remedy: str = ""


async def examine(settings: Settings) -> list[Finding]:
    """Every check, in the order in which faults are best mended."""
    findings = [_settings(settings), _data_folder(settings.data), _disk(settings.data)]
    database = Database(settings.database_url)
    try:
        findings.append(await _guarded("database", lambda: _database(database)))
        findings += await _of_record(settings, database, readable=findings[-1].severity in ("ok", "warning"))
    finally:
        await database.close()
    if settings.remote.url:
        findings += await _model_server(settings)
    else:
        findings.append(await _guarded("model", lambda: asyncio.to_thread(_model, settings)))
    findings += await asyncio.to_thread(_hardware, settings)
    faulty = {finding.name for finding in findings if finding.severity == "fault"}
    if not settings.remote.url and faulty.isdisjoint(("model", "accelerator")):  # it would say theirs again
        findings.append(await _guarded("answering", lambda: asyncio.to_thread(_serving, settings)))
    findings += [_secrets(settings), _log(settings), _schedule(settings)]
    return [*findings, await asyncio.to_thread(_service, settings)]


async def _of_record(settings: Settings, database: Database, *, readable: bool) -> list[Finding]:
    """The checks that need a record that can be read."""
    if not readable:
        return []
    return [
        await _guarded("adapters", lambda: _adapters(settings, database)),
        await _guarded("clock", lambda: _clock(database)),
    ]


async def _guarded(name: str, check: Callable[[], Awaitable[Finding]]) -> Finding:
    try:
        return await check()
    except ThumbloopError as error:
        return Finding(name, "fault", error.problem, error.remedy)


def _settings(settings: Settings) -> Finding:
    files = [name for name in (".env", TOML_FILE) if Path(name).is_file()]
    open_ones = [name for name in files if _is_open_to_others(Path(name))]
    if open_ones and secret_values(settings):
        names = " and ".join(open_ones)
        return Finding(
            "settings",
            "warning",
            f"{names} can be read by everybody on this machine, and secrets are set",
            f"Run `chmod o-rwx {' '.join(open_ones)}`.",
        )
    return Finding("settings", "ok", f"read from the environment{', ' if files else ''}{', '.join(files)}")


def _data_folder(data: Path) -> Finding:
    remedy = "Grant writing there, or choose another data folder with THUMBLOOP_DATA."
    place = next(place for place in (data, *data.absolute().parents) if os.path.lexists(place))
    if not place.is_dir():
        return Finding("data folder", "fault", f"{place} is not a folder", remedy)
    try:
        # access rights do not tell of a read-only file system, a file does
        with tempfile.NamedTemporaryFile(dir=place, prefix=".thumbloop-doctor-"):
            pass
    except OSError as error:
        return Finding("data folder", "fault", f"{place} cannot be written ({error.strerror})", remedy)
    if place != data:
        return Finding("data folder", "note", f"{data.absolute()} will be made at the first use")
    if _is_open_to_others(place):
        return Finding(
            "data folder",
            "warning",
            f"{data.absolute()} can be read by everybody on this machine",
            f"Run `chmod -R o-rwx {data.absolute()}`, after a look at who else reads there, such as vLLM.",
        )
    return Finding(
        "data folder", "ok", f"{data.absolute()} can be written, and others on this machine cannot read it"
    )


def _is_open_to_others(place: Path) -> bool:
    return bool(stat.S_IMODE(place.stat().st_mode) & 0o007)


def _disk(data: Path) -> Finding:
    seen = disk.look(data)
    if seen.state == "ok":
        return Finding("disk", "ok", f"{disk.free_bytes(data) / 1e9:.1f} GB are free")
    remedy = "Free some space, or choose a data folder on another disk with THUMBLOOP_DATA."
    return Finding("disk", "fault" if seen.state == "down" else "warning", seen.why, remedy)


async def _database(database: Database) -> Finding:
    if database.file is not None and not database.file.exists():
        return Finding("database", "note", f"{database.file} will be made at the first use")
    await database.require_current()
    async with database.session(read_only=True) as session:
        connection = await session.connection()
        if database.is_sqlite:
            journal = (await connection.execute(text("PRAGMA journal_mode"))).scalar_one()
            if journal != "wal":
                return Finding(
                    "database",
                    "warning",
                    f"{database.display_url} keeps a {journal} journal, not WAL: writing holds up reading",
                    "Move the data folder from a network drive to a local disk, or use PostgreSQL.",
                )
            return Finding("database", "ok", f"{database.display_url}, schema current, WAL")
        version = (await connection.execute(text("SHOW server_version"))).scalar_one()
    return Finding("database", "ok", f"{database.display_url}, schema current, PostgreSQL {version}")


async def _adapters(settings: Settings, database: Database) -> Finding:
    async with database.session(read_only=True) as session:
        adapters = await registry.list_adapters(session)
        in_service = {adapter.id for adapter in await deployments.in_service(session)}
    model = settings.model_choice
    revision = await asyncio.to_thread(model.present_revision)
    damaged: dict[str, ThumbloopError] = {}
    serving_damaged = False
    for adapter in adapters:
        try:
            await asyncio.to_thread(registry.verify, settings.data, adapter)
            if adapter.id in in_service:
                registry.refuse_other_base(adapter, model.display_name, revision)
        except ThumbloopError as error:
            damaged[registry.label(adapter)] = error
            serving_damaged = serving_damaged or adapter.id in in_service
    if not damaged:
        return Finding("adapters", "ok", f"{len(adapters)} registered, all files whole")
    problems = " ".join(error.problem for error in damaged.values())
    remedy = next(iter(damaged.values())).remedy
    return Finding("adapters", "fault" if serving_damaged else "warning", problems, remedy)


async def _clock(database: Database) -> Finding:
    async with database.session(read_only=True) as session:
        newest = (await session.exec(select(func.max(Turn.asked_at)))).one()
    moment = now()
    detail = f"{moment.astimezone():%Y-%m-%d %H:%M:%S %Z}"
    if newest is not None and newest > moment + CLOCK_TOLERANCE:
        return Finding(
            "clock",
            "warning",
            f"{detail}, but the newest turn is from {newest.astimezone():%Y-%m-%d %H:%M:%S %Z}",
            "Set the machine's clock (a time service such as chrony keeps it right).",
        )
    return Finding("clock", "ok", detail)


def _model(settings: Settings) -> Finding:
    from training.model.names import DEFAULT_MODEL

    place = settings.model_choice.present()
    if place is not None:
        # the default model's files have been hashed; a folder brings nothing to compare with
        checked = ", every SHA-256 right" if settings.model == DEFAULT_MODEL else ""
        return Finding("model", "ok", f"{settings.model} in {place}{checked}")
    if settings.model == DEFAULT_MODEL:
        return Finding("model", "note", f"{settings.model} will be converted at the first use, about 20 s")
    return Finding(
        "model",
        "warning",
        f"{settings.model} is not on this machine; the hub is asked for it at the first use",
        "Connect to the hub then, or name a model that is here (THUMBLOOP_MODEL).",
    )


async def _model_server(settings: Settings) -> list[Finding]:
    from bot.answering import server_report

    url = settings.remote.display_url
    try:
        report = await server_report.report(settings)
    except ThumbloopError as error:
        return [Finding("model server", "fault", f"{url}: {error.problem}", error.remedy)]
    software = f"{report.software}, " if report.software else ""
    findings = [
        Finding(
            "model server",
            "ok",
            f"{url}: {software}{report.base_model} with {report.context_tokens} tokens and "
            f"{report.adapters} adapter{'' if report.adapters == 1 else 's'}",
        )
    ]
    if report.loads_adapters is False and settings.remote.adapters == "runtime":
        findings.append(
            Finding(
                "model server",
                "warning",
                "it loads no adapters at run time, so the base model answers alone",
                "Start vLLM with --enable-lora and VLLM_ALLOW_RUNTIME_LORA_UPDATING=True, or name the "
                "adapters at its start and set THUMBLOOP_REMOTE__ADAPTERS=at-start.",
            )
        )
    if report.answers_strangers:
        findings.append(
            Finding(
                "model server",
                "note" if _is_this_machine(settings.remote.url) else "warning",
                "vLLM's --api-key guards a part of its paths only: anybody who reaches the port can ask the "
                "model and, where adapters are loaded at run time, load them",
                "Keep it on a network that you trust, or behind a proxy that lets through only what "
                "docs/vllm.md lists.",
            )
        )
    return findings


def _is_this_machine(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return host == "localhost" or host == "::1" or host.startswith("127.")


def _hardware(settings: Settings) -> list[Finding]:
    findings: list[Finding] = []
    for name, check in (("accelerator", _accelerator), ("processes", _processes)):
        try:
            findings.append(check(settings))
        except ThumbloopError as error:
            findings.append(Finding(name, "fault", error.problem, error.remedy))
            break  # without a device the rest says the same
    return [*findings, _bitsandbytes(settings)]


def _accelerator(settings: Settings) -> Finding:
    import torch

    from training.model import devices

    device = devices.usable_device(settings.device)
    precision = devices.usable_precision(settings.precision, device)
    if device == "cuda":
        free, total = torch.cuda.mem_get_info()
        memory = f"{torch.cuda.get_device_name()}, {free / 1e9:.1f} of {total / 1e9:.1f} GB free"
    else:
        found = psutil.virtual_memory()
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        memory = f"{cores} cores, {found.available / 1e9:.1f} of {found.total / 1e9:.1f} GB memory free"
    return Finding("accelerator", "ok", f"{device} in {precision}, torch {torch.__version__}, {memory}")


def _bitsandbytes(settings: Settings) -> Finding:
    wanted = {settings.quantisation, settings.training.quantisation} - {"none", "auto"}
    try:
        import bitsandbytes
    except Exception as error:  # it probes hardware while it is imported, and fails in many ways
        reason = str(error).partition("\n")[0] or type(error).__name__
        detail = f"bitsandbytes cannot be loaded: {reason}"
        if wanted:
            return Finding(
                "quantisation",
                "fault",
                f"{detail}, and {', '.join(sorted(wanted))} weights are set",
                "Install it again, or set the quantisation to none.",
            )
        return Finding("quantisation", "note", f"{detail}; 8bit and 4bit weights are not to be had")
    used = f"{', '.join(sorted(wanted))} weights are set" if wanted else "not used"
    return Finding("quantisation", "ok", f"bitsandbytes {bitsandbytes.__version__}, {used}")


def _serving(settings: Settings) -> Finding:
    from bot.answering.serving import serving

    return Finding("answering", "ok", serving(settings, measure=False).reason)


def _processes(settings: Settings) -> Finding:
    """On how many processes each adapter would train; what accelerate could not start is named here."""
    from training.fit import machine
    from training.model import devices

    device = devices.usable_device(settings.device)
    told = []
    for name in settings.training.names:
        config, most = machine.processes_of(settings.training.of_adapter(name), device)
        told.append(f"{name} in {'one process' if most == 1 else f'up to {most} processes ({config.kind})'}")
    return Finding("processes", "ok", ", ".join(told))


def _secrets(settings: Settings) -> Finding:
    """Which secrets are set. Their values stay where they are."""
    told = []
    for section, value in settings:
        if isinstance(value, BaseModel):
            fields = {name: inner for name, inner in value if isinstance(inner, SecretStr)}
            told += [f"{section}.{name} {_is_set(secret)}" for name, secret in fields.items()]
        elif isinstance(value, SecretStr):
            told.append(f"{section} {_is_set(value)}")
    keys = len(settings.api.keys)
    return Finding("secrets", "ok", f"{', '.join(told)}, {keys} API key{'' if keys == 1 else 's'}")


def _is_set(secret: SecretStr) -> str:
    return "is set" if secret.get_secret_value() else "is not set"


def _log(settings: Settings) -> Finding:
    file = logs.log_file(settings.data)
    if not file.exists():
        return Finding("log", "note", f"{file} will be made when something is to be told")
    try:
        with file.open("ab"):
            size = file.stat().st_size
    except OSError as error:
        return Finding(
            "log", "warning", f"{file} cannot be written ({error.strerror})", "Grant writing to the file."
        )
    return Finding("log", "ok", f"{file}, {size / 1e6:.1f} MB")


def _schedule(settings: Settings) -> Finding:
    from bot.schedule import REFRESH, job_of
    from bot.timetable import refresh_trigger, triggers

    try:
        adapters = triggers(settings.schedule, settings.training)
        planned = {job_of(name, settings.training): trigger for name, trigger in adapters.items()}
        planned[REFRESH] = refresh_trigger(settings.schedule)
    except ThumbloopError as error:
        return Finding("schedule", "fault", error.problem, error.remedy)
    told = []
    for name, trigger in planned.items():
        if trigger is not None:
            following = trigger.get_next_fire_time(None, now())
            when = f"{following:%Y-%m-%d %H:%M %Z}" if following else "never"
            told.append(f"{name} next at {when}")
    if not told:
        return Finding(
            "schedule", "note", "nothing is scheduled (schedule.retrain and schedule.refresh are off)"
        )
    return Finding("schedule", "ok", ", ".join(told))


def _service(settings: Settings) -> Finding:
    """What the running service says of itself: which of its parts is not well, and why."""
    host, port = settings.web.host, settings.web.port
    try:
        parts = health_probe.parts(host, port)
    except OSError:
        return Finding("service", "note", f"does not run on port {port}")
    except ValueError:
        return Finding("service", "note", f"another program answers on port {port}")
    unwell = [f"{one['name']} is {one['state']}: {one['why']}" for one in parts if one["state"] != "ok"]
    if unwell:
        remedy = "The service tries again by itself; its log says more."
        return Finding("service", "fault", " ".join(unwell), remedy)
    return Finding("service", "ok", f"runs on port {port}: {', '.join(one['name'] for one in parts)}")
