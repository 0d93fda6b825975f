"""The one place of wiring: opens what was asked for, keeps it running, and stops it gracefully.

`open_answerer` and `open_assistant` serve the command line as well; `serve` is the whole
service: console, API, platforms and schedule round one assistant, until it is told to stop. What a platform
breaks on is the supervisor's (`bot.supervisor`); the rest runs on.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from ipaddress import ip_network
from types import MappingProxyType
from typing import Final
from urllib.parse import urlsplit

import structlog

from bot.answering.answerer import Answerer, Sampling
from bot.answering.lookups import Lookups
from bot.answering.own_thread import run_in_own_thread
from bot.assistant import Assistant, AssistantOptions, LookupOptions
from bot.core import Core, ModelIdentity
from bot.housekeeping import Housekeeping
from bot.knowledge.documents.fetching import Fetcher, FetchLimits
from bot.knowledge.documents.library import Library
from bot.knowledge.documents.pieces import ParseLimits
from bot.knowledge.documents.sandbox import Sandbox
from bot.knowledge.embedding import embedder_of
from bot.knowledge.knowledge import Knowledge, RetrievalOptions
from bot.knowledge.training_lookup import TrainingLookup
from bot.needs import Needs
from bot.pseudonym_key import pseudonym_key
from bot.questions import Place
from bot.retrainer import Retrainer
from bot.settings import Settings
from bot.tracing import collected
from bot.web_server import listening, require_free
from feedback import journal, open_questions
from feedback.database import Database, opened
from feedback.errors import SettingsError
from feedback.words import Language

WEB_COMMUNITY: Final = Place("web", "web", "", "Web console")

LEAST_LOOKED_AT: Final = 3
"""Passages that say whether a question was asked before or is a gap, however few go into the prompt."""
PARSED_AT_ONCE: Final = 2
"""Files parsed side by side: more would take cores from answers."""
GARBAGE: Final = (5_000, 4, 50)
"""When Python looks for garbage: among the newest objects often, which takes 20 ms, and among all after a
million new ones and not 70,000: with fifty pages open that holds everybody up for 0.3 s."""
WEB_PORT: Final = "THUMBLOOP_WEB__PORT"
API_PORT: Final = "THUMBLOOP_API__PORT"
NOT_THE_OWNER: Final = (
    "Schedule: another service on this database runs the jobs; this one takes over when that ends."
)

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class ServiceReady:
    """The service answers; `lines` say where. `console_url` is the web console's."""

    console_url: str
    lines: list[str]


@asynccontextmanager
async def open_assistant(settings: Settings, database: Database) -> AsyncIterator[tuple[Core, Assistant]]:
    """The core, and an assistant over the model that the settings name. Raises ModelError, DatabaseError."""
    key = pseudonym_key(settings)
    lookups = Lookups()
    answerer = await open_answerer(settings, lookups)
    await _load_language_statistics()
    try:
        model = ModelIdentity(answerer.base_model, answerer.base_revision)
        claim_for = timedelta(minutes=settings.record.claim_minutes)
        core = Core(
            database,
            settings.data,
            key,
            model,
            claim_for=claim_for,
            console_url=settings.web.public_url,
            rollout=settings.rollout,
        )
        assistant = Assistant(
            core,
            answerer,
            AssistantOptions(
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
                lookup=LookupOptions(
                    passages=settings.passages_in_prompt,
                    notes_share=settings.knowledge.prompt_share,
                    approved_text=(
                        settings.knowledge.approved_text_sameness
                        if settings.knowledge.approved_text
                        else None
                    ),
                    least_fit=settings.knowledge.least_fit if settings.knowledge.say_unknown else None,
                    where_to_ask=settings.knowledge.where_to_ask,
                ),
            ),
            open_knowledge(settings, database, lookups),
        )
        yield core, assistant
    finally:
        await answerer.close()


def open_knowledge(
    settings: Settings, database: Database, lookups: Lookups | None = None
) -> Knowledge | None:
    """What the bot looks up, or None where the settings say that it looks nothing up. Loads no model yet.

    `lookups` are told of each question.
    """
    if not settings.knowledge.enabled:
        return None
    return Knowledge(
        database,
        embedder_of(
            settings.knowledge.embedding,
            model=settings.knowledge.embedding_model,
            api_key=settings.knowledge.embedding_api_key.get_secret_value(),
        ),
        RetrievalOptions(
            limit=max(LEAST_LOOKED_AT, settings.passages_in_prompt),
            candidates=settings.knowledge.candidates,
            trade_off=settings.knowledge.trade_off,
            learns=settings.knowledge.learn,
        ),
        lookups,
    )


def open_lookup(settings: Settings, database: Database) -> TrainingLookup | None:
    """What gives the pairs of a dataset their notes, or None where the bot answers without any."""
    knowledge = open_knowledge(settings, database)
    return TrainingLookup(knowledge, settings.passages_in_prompt) if knowledge is not None else None


@asynccontextmanager
async def open_library(
    settings: Settings, database: Database, knowledge: Knowledge | None
) -> AsyncIterator[Library]:
    """The documents of communities, whose parsers and connections end with the block."""
    of = settings.documents
    limits = ParseLimits(
        file_mib=of.file_mib,
        seconds=of.parse_seconds,
        memory_mib=of.parse_memory_mib,
        pages=of.pages,
        expanded_mib=of.expanded_mib,
        links=of.site_pages,
        piece_characters=of.piece_characters,
    )
    fetching = FetchLimits(
        mib=of.file_mib,
        seconds=of.fetch_seconds,
        allowed_networks=tuple(ip_network(one) for one in of.private_networks),
    )
    async with Sandbox(limits, at_once=PARSED_AT_ONCE) as sandbox, Fetcher(fetching) as fetcher:
        yield Library(database, sandbox, fetcher, knowledge)


async def open_answerer(settings: Settings, lookups: Lookups) -> Answerer:
    """The model in this process, or the server that the settings name instead. Raises ModelError.

    Answers that are made in this process make way for `lookups`.
    """
    if settings.remote.url:
        from bot.answering.remote import open_remote

        return await open_remote(settings)
    return await run_in_own_thread(partial(_local_answerer, settings, lookups))


async def serve(
    settings: Settings,
    *,
    on_ready: Callable[[ServiceReady], None],
    home: Place = WEB_COMMUNITY,
    to_try: Mapping[Language, Sequence[str]] = MappingProxyType({}),
    settings_anew: Callable[[], object] | None = None,
) -> bool:
    """Run everything configured until SIGINT, SIGTERM or cancellation; `home` is the console's community.

    `to_try` are the questions that the console suggests; where there are none, approved ones are. Where
    `settings_anew` is given, SIGHUP calls it: a SettingsError is logged, otherwise the service lets answers
    end and then ends itself. Returns whether it is to be started anew.
    Raises ThumbloopError when something cannot start.
    """
    from bot.schedule import Schedule

    require_free(settings.web.host, settings.web.port, WEB_PORT)
    if settings.api.keys:
        require_free(settings.api.host, settings.api.port, API_PORT)
    if settings.telegram.takes_webhook:
        from bot.platforms.telegram.webhook import PORT_VARIABLE

        require_free(settings.telegram.webhook_host, settings.telegram.webhook_port, PORT_VARIABLE)
    database = await opened(settings.database_url)
    with _stop_signal(settings_anew) as stop:
        async with (
            _closing(database),
            collected(settings.tracing),
            open_assistant(settings, database) as (core, assistant),
        ):
            await _allow_training(database, home)
            await _close_dead(database)
            retrainer = Retrainer(core, settings)
            housekeeping = Housekeeping(core, settings, assistant)
            needs = Needs(database, settings.schedule, settings.training, settings.persona, settings.data)
            schedule = Schedule(
                database, settings.schedule, settings.training, settings.data, housekeeping.tidy, needs.tidy
            )
            await housekeeping.tidy()
            async with contextlib.AsyncExitStack() as running:
                library = await running.enter_async_context(
                    open_library(settings, database, assistant.knowledge)
                )
                console_url = await running.enter_async_context(
                    _console(settings, core, assistant, home, retrainer, library, to_try)
                )
                lines = [f"Console: {console_url}"]
                if settings.api.keys:
                    lines.append(
                        f"API: {await running.enter_async_context(_api(settings, core, assistant))}/v1"
                    )
                # before the servers end: they break off the requests that do not end by themselves
                running.push_async_callback(lambda: assistant.close(all_whole=stop.begins_anew))
                if not await schedule.start() and settings.schedule.runs_here:
                    lines.append(NOT_THE_OWNER)
                running.push_async_callback(schedule.stop)
                running.push_async_callback(retrainer.stop)
                running.push_async_callback(core.supervisor.stop)
                if assistant.knowledge is not None:
                    core.supervisor.watch("Knowledge", assistant.knowledge.keep_indexed)
                platforms = _platforms(settings, core, assistant, retrainer, library)
                for platform, run in platforms.items():
                    core.supervisor.watch(platform, run, says_when_it_runs=True)
                lines += [f"{platform}: starting" for platform in platforms]
                on_ready(ServiceReady(console_url, lines))
                gc.freeze()  # what was imported is looked through no more
                gc.set_threshold(*GARBAGE)
                await stop.asked.wait()
    return stop.begins_anew


def _platforms(
    settings: Settings, core: Core, assistant: Assistant, retrainer: Retrainer, library: Library
) -> dict[str, Callable[[], Awaitable[None]]]:
    """What serves each platform that a token is set for; each runs until it is cancelled."""
    found: dict[str, Callable[[], Awaitable[None]]] = {}
    if settings.discord.token.get_secret_value():
        from bot.platforms.discord.client import run_discord

        found["Discord"] = partial(run_discord, settings.discord, core, assistant, retrainer, library)
    if settings.telegram.token.get_secret_value():
        from bot.platforms.telegram.application import run_telegram

        found["Telegram"] = partial(run_telegram, settings.telegram, core, assistant, retrainer, library)
    return found


def _local_answerer(settings: Settings, lookups: Lookups) -> Answerer:
    from bot.answering.serving import local_answerer

    return local_answerer(settings, lookups)


async def _load_language_statistics() -> None:
    from training.data.language import load_statistics

    try:
        await asyncio.to_thread(load_statistics)
    except OSError as error:
        log.warning("questions are taken for English until their language can be told", why=str(error))


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
    """Nobody waits any more for what a killed process was asked, but where an open question says so."""
    async with database.session() as session:
        given_up = await open_questions.give_up(session)
    if given_up:
        log.warning("a former process ended in the middle of answers", turns=given_up)


async def _next_run(settings: Settings, database: Database) -> datetime | None:
    """When the schedule trains next; None where it does not."""
    from bot import schedule

    jobs = await schedule.list_jobs(database, settings.schedule, settings.training, settings.data)
    planned = [job.next_run for job in jobs if job.next_run is not None and job.id != schedule.REFRESH]
    return min(planned, default=None)


@asynccontextmanager
async def _console(
    settings: Settings,
    core: Core,
    assistant: Assistant,
    home: Place,
    retrainer: Retrainer,
    library: Library,
    to_try: Mapping[Language, Sequence[str]],
) -> AsyncIterator[str]:
    from bot.console.app import console_app
    from bot.console.context import Console

    web = settings.web
    app = console_app(
        Console(
            core=core,
            assistant=assistant,
            community=home,
            retraining=retrainer,
            library=library,
            next_run=partial(_next_run, settings, core.database),
            to_try=to_try,
        ),
        hosts=frozenset({web.host, urlsplit(web.public_url).hostname or web.host}),
        oidc=settings.oidc,
    )
    async with listening(app, web.host, web.port, WEB_PORT, trusted_proxies=web.trusted_proxies) as url:
        yield web.public_url or url


@asynccontextmanager
async def _api(settings: Settings, core: Core, assistant: Assistant) -> AsyncIterator[str]:
    from bot.api.app import api_app

    app = api_app(core, assistant, settings.api.keys)
    async with listening(app, settings.api.host, settings.api.port, API_PORT) as url:
        yield url


@dataclass
class _Stop:
    """Whether the service was asked to end, and to begin anew then."""

    asked: asyncio.Event = field(default_factory=asyncio.Event)
    begins_anew: bool = False


@contextlib.contextmanager
def _stop_signal(settings_anew: Callable[[], object] | None) -> Iterator[_Stop]:
    """What SIGINT and SIGTERM ask for, so that everything stops in order; and SIGHUP with good settings."""
    stop, loop = _Stop(), asyncio.get_running_loop()

    def begin_anew(read: Callable[[], object]) -> None:
        try:
            read()
        except SettingsError as error:
            log.error(
                "the settings were not taken over; the service goes on with those before", why=str(error)
            )
        else:
            log.warning("the settings have changed; the service begins anew once its answers have ended")
            stop.begins_anew = True
            stop.asked.set()

    caught = [signal.SIGINT, signal.SIGTERM]
    for number in caught:
        loop.add_signal_handler(number, stop.asked.set)
    if settings_anew is not None:
        loop.add_signal_handler(signal.SIGHUP, begin_anew, settings_anew)
        caught.append(signal.SIGHUP)
    try:
        yield stop
    finally:
        for number in caught:
            loop.remove_signal_handler(number)
