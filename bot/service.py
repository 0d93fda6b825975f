"""The one place of wiring: opens what was asked for, keeps it running, and stops it gracefully.

`open_database`, `open_answerer` and `open_assistant` serve the command line as well; `serve` is the whole
service: console, API, platforms and schedule round one assistant, until it is told to stop.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import structlog

from bot.answering.answerer import Answerer, Sampling
from bot.answering.own_thread import apart
from bot.assistant import Assistant, AssistantOptions, Place
from bot.commands import training as runs
from bot.errors import PortTaken
from bot.settings import Settings
from feedback import consent, journal, review
from feedback.database import Database
from feedback.errors import DatabaseError
from feedback.tables import now
from training import files
from training.adapters import registry
from training.errors import PairsError, RunUnderWay
from training.run import erasure

if TYPE_CHECKING:
    import uvicorn
    from starlette.types import ASGIApp

    from training.run.retrain import ModelChoice

WEB_COMMUNITY: Final = Place("web", "web", "", "Web console")
KEY_FILE: Final = "pseudonym.key"

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class ServiceReady:
    """The service answers; `lines` say where. `console_url` is the web console's."""

    console_url: str
    lines: list[str]


def model_choice(settings: Settings) -> ModelChoice:
    """The base model that the settings name, for training."""
    from training.run.retrain import ModelChoice

    return ModelChoice(
        name=settings.model,
        models_folder=settings.models_folder,
        revision=settings.model_revision,
        device=settings.device,
        precision=settings.precision,
        repetition_penalty=settings.answering.repetition_penalty,
        thinking=settings.thinking,
    )


async def open_database(settings: Settings) -> Database:
    """The record, its schema current; a data folder's first SQLite file is made here.

    Raises DatabaseError, SchemaTooNew.
    """
    database = Database(settings.database_url)
    if database.file is not None and not database.file.exists():
        await database.upgrade()
    await database.require_current()
    return database


@asynccontextmanager
async def open_assistant(settings: Settings, database: Database) -> AsyncIterator[Assistant]:
    """An assistant over the model that the settings name. Raises ModelError, and DatabaseError."""
    key = pseudonym_key(settings)
    answerer = await open_answerer(settings)
    try:
        yield Assistant(
            database,
            answerer,
            data=settings.data,
            pseudonym_key=key,
            options=AssistantOptions(
                persona=settings.persona,
                mode=settings.mode,
                sampling=Sampling(
                    temperature=settings.answering.temperature,
                    top_p=settings.answering.top_p,
                    repetition_penalty=settings.answering.repetition_penalty,
                    max_new_tokens=settings.answering.max_new_tokens,
                ),
                history_turns=settings.answering.history_turns,
                max_question_characters=settings.answering.max_question_characters,
                answer_seconds=settings.answering.answer_seconds,
                show_reasoning=settings.answering.show_reasoning,
            ),
        )
    finally:
        await answerer.close()


async def open_answerer(settings: Settings) -> Answerer:
    """The model in this process, or the server that the settings name instead. Raises ModelError."""
    if settings.remote.url:
        from bot.answering.remote import open_remote

        return await open_remote(settings)
    return await apart(partial(_local_answerer, settings))


def pseudonym_key(settings: Settings) -> bytes:
    """The key that turns platform ids into pseudonyms: the setting, or a file made on first use."""
    given = settings.record.pseudonym_key.get_secret_value()
    if given:
        return given.encode()
    place = settings.data / KEY_FILE
    with files.faults_explained("Reading the pseudonym key", place, DatabaseError):
        settings.data.mkdir(parents=True, exist_ok=True)
        if not place.exists():
            part = files.part_of(place)
            try:
                with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                    file.write(secrets.token_bytes(32))
                # of two first starts at once, one makes the key and the other takes it
                with contextlib.suppress(FileExistsError):
                    os.link(part, place)
            finally:
                part.unlink(missing_ok=True)
        key = place.read_bytes()
    if len(key) != 32:
        raise DatabaseError(
            f"The pseudonym key {place} is damaged: it has {len(key)} bytes instead of 32.",
            "Restore it from a backup; without it, members are no longer recognised.",
        )
    return key


async def serve(
    settings: Settings,
    *,
    on_ready: Callable[[ServiceReady], None],
    home: Place = WEB_COMMUNITY,
) -> None:
    """Run everything configured until SIGINT, SIGTERM or cancellation; `home` is the console's community.

    Raises ThumbloopError when something cannot start.
    """
    from bot.schedule import Schedule

    database = await open_database(settings)
    with _stop_signal() as stop:
        async with _closing(database), open_assistant(settings, database) as assistant:
            await _allow_training(database, home)
            await _close_dead(database)
            retrainer = Retrainer(database, settings)
            keeper = Housekeeping(settings, assistant)
            schedule = Schedule(database, settings.schedule, settings.training, settings.data, keeper.tidy)
            await keeper.tidy()
            async with contextlib.AsyncExitStack() as running:
                console_url = await running.enter_async_context(
                    _console(settings, assistant, home, retrainer)
                )
                lines = [f"Console: {console_url}"]
                if settings.api.keys:
                    lines.append(f"API: {await running.enter_async_context(_api(settings, assistant))}/v1")
                # before the servers end: they break off the requests that do not end by themselves
                running.push_async_callback(assistant.close)
                schedule.start()
                running.push_async_callback(schedule.stop)
                running.push_async_callback(retrainer.stop)
                platforms = _platforms(settings, assistant, retrainer)
                lines += [f"{platform}: starting" for platform in platforms]
                on_ready(ServiceReady(console_url, lines))
                await _run_until(stop, platforms)


class Retrainer:
    """Starts training runs that a person asks for, one at a time, and stops the one under way at the end."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self.settings = settings.training
        self._database = database
        self._data = settings.data
        self._persona = settings.persona
        self._under_way: asyncio.Task[runs.Ended] | None = None

    async def start(self, started_by: str, adapter_name: str | None = None) -> str:
        """Start a run of that adapter; a sentence about it. Raises as `runs.refuse_to_start`."""
        await runs.refuse_to_start(self._database, self.settings, self._persona, adapter_name)
        if self._under_way is not None and not self._under_way.done():  # begun, but not in the record yet
            raise RunUnderWay
        self._under_way = asyncio.create_task(
            runs.run_and_wait(self._data, started_by=started_by, adapter_name=adapter_name)
        )
        self._under_way.add_done_callback(_tell_end)
        return f"A training run{f' of {adapter_name}' if adapter_name else ''} has started."

    async def stop(self) -> None:
        """Tell the run under way to stop, and wait until it has tidied up."""
        if self._under_way is not None:
            self._under_way.cancel()
            await asyncio.gather(self._under_way, return_exceptions=True)


class Housekeeping:
    """What is done every half-minute: the approval rule, retention, erasures, adapters ready to be asked."""

    def __init__(self, settings: Settings, assistant: Assistant) -> None:
        self._settings = settings
        self._assistant = assistant

    async def tidy(self) -> None:
        """Do what is due now. Each part stands alone: a fault in one is logged, the others go on."""
        await self._approve_and_expire()
        await self._carry_out_erasures()
        await self._ready_adapters()

    async def _approve_and_expire(self) -> None:
        record = self._settings.record
        async with self._assistant.database.session() as session:
            if record.auto_approve_min_votes:
                await review.apply_auto_approval(
                    session, record.auto_approve_min_votes, record.auto_approve_min_score
                )
            if record.retention_days:
                await consent.delete_expired(session, now() - timedelta(days=record.retention_days))

    async def _carry_out_erasures(self) -> None:
        database = self._assistant.database
        try:
            if await erasure.is_due(database):
                rewritten = await erasure.carry_out(database, self._settings.data)
                log.info("forget-me requests carried out", datasets=rewritten)
        except PairsError as error:  # tried again in half a minute
            log.error("a forget-me request could not be carried out", why=str(error))

    async def _ready_adapters(self) -> None:
        async with self._assistant.database.session(read_only=True) as session:
            in_service = await registry.in_service(session)
        for adapter in in_service:
            try:
                await self._assistant.make_ready(adapter)
            except Exception as error:  # whoever asks next is told; here it must not stop the others
                log.warning(
                    "an adapter in service is not ready", adapter=registry.label(adapter), why=str(error)
                )


def _platforms(
    settings: Settings, assistant: Assistant, retrainer: Retrainer
) -> dict[str, Coroutine[Any, Any, None]]:
    """What serves each platform that a token is set for; each runs until it is cancelled."""
    found: dict[str, Coroutine[Any, Any, None]] = {}
    if settings.discord.token.get_secret_value():
        from bot.platforms.discord.client import run_discord

        found["Discord"] = run_discord(settings.discord, assistant, retrainer)
    if settings.telegram.token.get_secret_value():
        from bot.platforms.telegram.application import run_telegram

        found["Telegram"] = run_telegram(settings.telegram, assistant, retrainer)
    return found


async def _run_until(stop: asyncio.Event, platforms: dict[str, Coroutine[Any, Any, None]]) -> None:
    """Run the platforms until `stop`; one that ends by itself stops all, and its error is raised."""
    stopping = asyncio.create_task(stop.wait())
    tasks = [asyncio.create_task(running, name=name) for name, running in platforms.items()]
    try:
        done, _ = await asyncio.wait({stopping, *tasks}, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in (stopping, *tasks):
            task.cancel()
        await asyncio.gather(stopping, *tasks, return_exceptions=True)


def _local_answerer(settings: Settings) -> Answerer:
    from bot.answering.local import LocalAnswerer
    from training.model import base_model

    base = base_model.load(
        settings.model,
        settings.models_folder,
        revision=settings.model_revision,
        device=settings.device,
        precision=settings.precision,
        quantisation=settings.quantisation,
        thinking=settings.thinking,
    )
    return LocalAnswerer(
        base.model,
        base.tokenizer,
        name=base.name,
        revision=base.revision,
        max_running=settings.answering.max_running,
        max_waiting=settings.answering.max_waiting,
    )


@asynccontextmanager
async def _closing(database: Database) -> AsyncIterator[None]:
    try:
        yield
    finally:
        await database.close()


async def _allow_training(database: Database, home: Place) -> None:
    """The operator's own console is theirs to train on; a platform's communities must be asked."""
    async with database.session() as session:
        row = await journal.community(session, home.platform, home.community, name=home.community_name)
        if not row.training_allowed:
            row.training_allowed = True
            session.add(row)


async def _close_dead(database: Database) -> None:
    """Nobody waits any more for what a killed process was asked here; other platforms catch up themselves."""
    async with database.session() as session:
        given_up = await journal.give_up(session, "web", "api", "terminal")
    if given_up:
        log.warning("a former process ended in the middle of answers", turns=given_up)


@asynccontextmanager
async def _console(
    settings: Settings, assistant: Assistant, home: Place, retrainer: Retrainer
) -> AsyncIterator[str]:
    from bot.console.app import console_app
    from bot.console.context import Console

    app = console_app(
        Console(assistant, home, operator="console", retraining=retrainer),
        hosts=frozenset({settings.web.host}),
    )
    async with _listening(app, settings.web.host, settings.web.port, "THUMBLOOP_WEB__PORT") as url:
        yield url


@asynccontextmanager
async def _api(settings: Settings, assistant: Assistant) -> AsyncIterator[str]:
    from bot.api.app import api_app

    app = api_app(assistant, settings.api.keys)
    async with _listening(app, settings.api.host, settings.api.port, "THUMBLOOP_API__PORT") as url:
        yield url


@asynccontextmanager
async def _listening(app: ASGIApp, host: str, port: int, variable: str) -> AsyncIterator[str]:
    """Serve `app`; its URL, once it answers. Raises PortTaken."""
    import uvicorn

    try:
        listener = socket.create_server((host, port), family=_family(host))
    except OSError as error:
        raise PortTaken(host, port, error.strerror or str(error), variable) from error

    class Server(uvicorn.Server):
        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield  # signals stop the whole service, in order, not one server of it

    server = Server(uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=5))
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        await _started(server, task)
        shown = f"[{host}]" if ":" in host else host
        yield f"http://{shown}:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await asyncio.gather(task, return_exceptions=True)
        listener.close()


def _tell_end(task: asyncio.Task[runs.Ended]) -> None:
    if not task.cancelled() and task.exception() is None:
        log.info("training run ended", status=task.result().status, said=task.result().said)


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


async def _started(server: uvicorn.Server, task: asyncio.Task[None]) -> None:
    while not server.started:
        if task.done():
            task.result()
            raise RuntimeError("the web server ended while starting; the log says why")
        await asyncio.sleep(0.02)


@contextlib.contextmanager
def _stop_signal() -> Iterator[asyncio.Event]:
    """An event that SIGINT and SIGTERM set, so that everything stops in order."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    caught = (signal.SIGINT, signal.SIGTERM)
    for number in caught:
        loop.add_signal_handler(number, stop.set)
    try:
        yield stop
    finally:
        for number in caught:
            loop.remove_signal_handler(number)
