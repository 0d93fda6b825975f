"""The Telegram bot: receives updates and hands each to the module for it; starts and stops.

`run_telegram` runs until it is cancelled. Updates come by long polling, or by a webhook when its address is
set, through the `intake`; what they start goes on beside them, so that no answer holds up the next question.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any, Final

import structlog
from telegram import ChatMember, Update
from telegram.error import BadRequest, InvalidToken, NetworkError
from telegram.ext import (
    Application,
    ApplicationBuilder,
    CallbackQueryHandler,
    ChatMemberHandler,
    CommandHandler,
    MessageHandler,
    MessageReactionHandler,
    filters,
)

from bot.assistant import Assistant
from bot.chat.arrivals import Arrival, settings_or_arrival
from bot.chat.button_codes import Action, ButtonCode
from bot.chat.edge import guarded
from bot.commands.training import Retraining
from bot.core import Core
from bot.knowledge.documents.library import Library
from bot.platforms.telegram import edits, feedback
from bot.platforms.telegram.announcing import keep_telling
from bot.platforms.telegram.answering import answer_message, look_up_message
from bot.platforms.telegram.catch_up import CatchUp
from bot.platforms.telegram.commands import (
    about,
    adapter,
    ask,
    console,
    knowledge,
    privacy,
    rate,
    review,
    settings,
    training,
)
from bot.platforms.telegram.context import PLATFORM, Caller, TelegramContext, caller_of
from bot.platforms.telegram.errors import TelegramRefused
from bot.platforms.telegram.intake import Intake
from bot.platforms.telegram.menu import set_menus
from bot.platforms.telegram.pacing import Limits, Pacer
from bot.platforms.telegram.permissions import role_of
from bot.platforms.telegram.polling import Polling
from bot.platforms.telegram.questions import after_command, is_question
from bot.platforms.telegram.texts import INTERRUPTED
from bot.platforms.telegram.webhook import webhook, webhook_secret
from bot.settings import TelegramSettings
from bot.supervisor import end
from bot.texts import NO_LONGER_THERE
from feedback import journal
from feedback.cancellation import insisting

STOP_S: Final = 3.0
"""How long answers, and then all else that was begun, may still take to end when the service stops."""

UNREACHABLE_S: Final = 5.0
"""Pause before Telegram is tried again that could not be reached at the start."""

UPDATES: Final = [
    Update.MESSAGE,
    Update.EDITED_MESSAGE,
    Update.CALLBACK_QUERY,
    Update.MESSAGE_REACTION,
    Update.MY_CHAT_MEMBER,
]

OnCommand = Callable[[TelegramContext, Caller, str], Awaitable[bool | None]]
OnButton = Callable[[TelegramContext, Caller, ButtonCode], Awaitable[bool | None]]
Work = Callable[[Caller], Awaitable[bool | None]]
"""What is done about an update; True when it has been finished with that (see `Intake.start`)."""

NAME: Final = "Telegram"
"""What the service calls us."""

REPEATABLE_COMMANDS: Final = frozenset(
    {"start", "help", "about", "stats", "ask", "stop", "mode", "privacy", "console"}
)
REPEATABLE_BUTTONS: Final[frozenset[Action]] = frozenset(
    {"up", "down", "again", "anew", "stop", "mode", "edit", "queue", "card", "adapters"}
)
"""What a start may do again that a crash cut off: it changes nothing, the same, or once by other means."""

log = structlog.get_logger(__name__)


class ThumbloopTelegram:
    """Only listens: every update goes to the module for it."""

    def __init__(
        self,
        settings: TelegramSettings,
        core: Core,
        assistant: Assistant,
        retraining: Retraining,
        library: Library | None = None,
        *,
        limits: Limits | None = None,
    ) -> None:
        pacer = Pacer(limits)
        builder = ApplicationBuilder().token(settings.token.get_secret_value()).rate_limiter(pacer)
        builder = builder.updater(None)  # the intake's own ways write down what comes, and log no words
        if settings.api_url:
            builder = builder.base_url(settings.api_url).base_file_url(file_url(settings.api_url))
        self.application: Application[Any, Any, Any, Any, Any, Any] = builder.build()
        self.context = TelegramContext(
            bot=self.application.bot,
            pacer=pacer,
            settings=settings,
            core=core,
            assistant=assistant,
            retraining=retraining,
            library=library,
        )
        core.role_of[PLATFORM] = partial(role_of, self.context)
        self.catch_up = CatchUp(self.context)
        self.intake = Intake(self.context, self.application.process_update, self._interrupted)
        self._watching: list[asyncio.Task[None]] = []
        self._add_handlers()

    async def run(self) -> None:
        """Serve until cancelled. Raises TelegramRefused, saying what to do, when Telegram says no."""
        try:
            await insisting(self._serve())
        finally:
            await self._end()

    async def _serve(self) -> None:
        await self._reach(self.application.initialize)
        await self._begin()
        if self.context.settings.webhook_url:
            await self._listen()
        else:
            await self._reach(self.application.bot.delete_webhook)
            await Polling(self.application.bot, UPDATES, self.intake.take, self._note).run()

    async def _reach(self, call: Callable[[], Awaitable[object]]) -> None:
        """Call Telegram, again until it is there. Raises TelegramRefused for a wrong token."""
        while True:
            try:
                await call()
                return
            except InvalidToken as error:
                raise TelegramRefused.token() from error
            except BadRequest:
                raise
            except NetworkError as error:
                log.warning("Telegram cannot be reached", why=str(error), again_in_s=UNREACHABLE_S)
                self._note("Telegram cannot be reached; it is tried again.")
                await asyncio.sleep(UNREACHABLE_S)

    async def _begin(self) -> None:
        watch = self.context.core.supervisor.watch
        self._watching = [
            watch("Telegram menu", self._set_menus),
            watch("Telegram upkeep", self.catch_up.look_after),
            watch("Telegram announcements", partial(keep_telling, self.context)),
        ]
        await self.intake.prune()
        await self.catch_up.look()  # first, for it knows the messages that were begun
        await self.intake.resume()

    async def _listen(self) -> None:
        settings = self.context.settings

        async def set_webhook() -> None:
            await self.application.bot.set_webhook(
                settings.webhook_url, allowed_updates=UPDATES, secret_token=webhook_secret(settings)
            )

        async with webhook(settings, self.intake.take):
            try:
                await self._reach(set_webhook)
            except BadRequest as error:
                raise TelegramRefused.webhook(error.message) from error
            self._note("")
            await asyncio.get_running_loop().create_future()

    async def _end(self) -> None:
        """Leave the answers under way for the next start, and disconnect.

        What was begun is left only once it has been kept; of the rest the next start is told by the record.
        """
        await end(*self._watching)
        await self.context.answers.leave(STOP_S)
        if self.context.tasks:
            await asyncio.wait(self.context.tasks, timeout=STOP_S)
        tasks = list(self.context.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.application.shutdown()
        await self.application.bot.shutdown()  # which the line above leaves open where Telegram refused us

    async def _set_menus(self) -> None:
        await set_menus(self.context)

    def _note(self, why_down: str) -> None:
        self.context.core.health.report(NAME, "down" if why_down else "ok", why_down)

    def _add_handlers(self) -> None:
        add = self.application.add_handler
        add(MessageHandler(filters.StatusUpdate.MIGRATE, self._migrated))
        new = filters.UpdateType.MESSAGE
        for name, command in COMMANDS.items():
            once = name not in REPEATABLE_COMMANDS
            add(CommandHandler(name, self._command(command, once=once), filters=new))
        # the library takes no caption for a command
        with_file = new & filters.Document.ALL & filters.CaptionRegex(r"^/knowledge(@\w+)?(\s|$)")
        add(MessageHandler(with_file, self._command(knowledge.knowledge, once=True)))
        add(MessageHandler(new & ~filters.StatusUpdate.ALL & ~filters.COMMAND, self._heard(self._message)))
        add(MessageHandler(new & filters.COMMAND & filters.ChatType.PRIVATE, self._command(about.help_)))
        add(MessageHandler(filters.UpdateType.EDITED_MESSAGE, self._beside(self._edited)))
        add(CallbackQueryHandler(self._beside(self._tapped)))
        add(MessageReactionHandler(self._reacted))
        add(ChatMemberHandler(self._membership, ChatMemberHandler.MY_CHAT_MEMBER))

    def _beside(self, work: Work) -> Callable[[Update, Any], Coroutine[Any, Any, None]]:
        """A handler that lets `work` go on beside the next updates, and tells its caller of faults."""

        async def handle(update: Update, context: Any) -> None:
            caller = caller_of(update)
            if caller is not None:
                self.intake.start(update.update_id, self.context.guard(caller, work(caller)))

        return handle

    def _heard(self, work: Work) -> Callable[[Update, Any], Coroutine[Any, Any, None]]:
        """As `_beside`, for new messages: what one is edited to before its answer begins is not lost."""

        async def listen(caller: Caller) -> bool | None:
            place = self.context.place(caller.chat)
            key = self.context.message_key(caller.chat, caller.message.message_id)
            with self.context.answers.expecting(place.community, key):
                return await work(caller)

        return self._beside(listen)

    def _command(
        self, command: OnCommand, *, once: bool = False
    ) -> Callable[[Update, Any], Coroutine[Any, Any, None]]:
        async def work(caller: Caller) -> bool | None:
            if self.catch_up.is_old(caller.message.date):
                await self.catch_up.apologise(caller)
                return None
            if once:
                await self.intake.begin(caller.update)
            said = caller.message.text or caller.message.caption or ""
            return await command(self.context, caller, after_command(said))

        return self._heard(work)

    async def _interrupted(self, update: Update) -> None:
        """Tell who asked for it that a crash cut it off: doing it again might do it twice."""
        await self._beside(self._say_interrupted)(update, None)

    async def _say_interrupted(self, caller: Caller) -> None:
        await self.context.say(caller, INTERRUPTED.say(caller.language))

    async def _message(self, caller: Caller) -> bool | None:
        message, me = caller.message, self.context.bot.bot
        user = message.from_user
        if user is not None and user.is_bot and not caller.admin:
            return None
        if await feedback.better_answer(self.context, caller) or await review.edited(self.context, caller):
            return None
        arrival: Arrival | None = None
        own: tuple[str, ...] = ()
        if not caller.private:
            place = self.context.place(caller.chat)
            look_up = partial(look_up_message, self.context, message)
            try:
                known, arrival = await settings_or_arrival(self.context, place, look_up)
                own = known.own_channels
            except Exception:  # whatever ails the record: who asks us something is told so below, nobody else
                log.exception("the settings of a chat could not be read")
                own = self.context.communities.own_channels_as_last_read(place)
        if not is_question(message, me, own, private=caller.private):
            return None
        if self.catch_up.is_old(message.date):
            await self.catch_up.apologise(caller)
            return None
        late = self.catch_up.is_late(message.date)
        return await answer_message(self.context, caller, late=late, arrival=arrival)

    async def _edited(self, caller: Caller) -> None:
        if not self.catch_up.is_old(caller.message.edit_date or caller.message.date):
            await edits.edited(self.context, caller)

    async def _tapped(self, caller: Caller) -> bool | None:
        code = ButtonCode.parse(str(caller.query.data or "")) if caller.query else None
        action = BUTTONS.get(code.action) if code else None
        if code is None or action is None:
            await self.context.toast(caller, NO_LONGER_THERE.say(caller.language))
            return None
        if code.action not in REPEATABLE_BUTTONS:
            await self.intake.begin(caller.update)
        return await action(self.context, caller, code)

    async def _reacted(self, update: Update, context: Any) -> None:
        event = update.message_reaction
        if event is not None:
            # a reaction has no place to say what goes wrong
            work = guarded(feedback.reacted(self.context, event), "en", None)
            self.intake.start(update.update_id, work)

    async def _membership(self, update: Update, context: Any) -> None:
        """Stop quietly where we were blocked, removed or muted."""
        event = update.my_chat_member
        if event is None:
            return
        now = event.new_chat_member
        muted = now.status == ChatMember.RESTRICTED and not getattr(now, "can_send_messages", True)
        if now.status in (ChatMember.LEFT, ChatMember.BANNED) or muted:
            log.info("a chat was closed to us", chat=event.chat.id, status=now.status)
            prefix = f"{self.context.key(event.chat)}-"
            for live in self.context.answers.all():
                if live.question.external_id.startswith(prefix):
                    live.interrupt("stopped")

    async def _migrated(self, update: Update, context: Any) -> None:
        """Let a group that became a supergroup keep its record and its settings."""
        message = update.effective_message
        if message is None:
            return
        old, new = message.migrate_from_chat_id or message.chat.id, message.migrate_to_chat_id
        new = new or message.chat.id
        async with self.context.core.database.session() as session:
            moved = await journal.move_community(session, PLATFORM, str(old), str(new))
        for chat in (old, new):
            self.context.communities.forget(str(chat))
        log.info("a group became a supergroup", old=old, new=new, moved=moved)


async def run_telegram(
    settings: TelegramSettings,
    core: Core,
    assistant: Assistant,
    retraining: Retraining,
    library: Library | None = None,
) -> None:
    """Serve Telegram until cancelled. Raises TelegramRefused, saying what to do, when Telegram says no."""
    await ThumbloopTelegram(settings, core, assistant, retraining, library).run()


def file_url(api_url: str) -> str:
    """Where a Bot API server gives files, next to where it takes calls (`…/bot`)."""
    return f"{api_url.rstrip('/').removesuffix('/bot')}/file/bot"


COMMANDS: Final[dict[str, OnCommand]] = {
    "start": about.start,
    "help": about.help_,
    "about": about.about,
    "console": console.console,
    "knowledge": knowledge.knowledge,
    "stats": about.stats,
    "ask": ask.ask,
    "stop": ask.stop,
    "mode": ask.mode,
    "privacy": privacy.privacy,
    "review": review.review,
    "rate": rate.rate,
    "adapter": adapter.adapter,
    "settings": settings.settings,
    "retrain": training.retrain,
}
BUTTONS: Final[dict[Action, OnButton]] = {
    "up": feedback.thumb,
    "down": feedback.thumb,
    "reason": feedback.reason,
    "again": feedback.again,
    "continue": feedback.go_on,
    "anew": edits.anew,
    "stop": feedback.stop,
    "mode": ask.mode_tapped,
    "approve": review.decide,
    "reject": review.decide,
    "skip": review.decide,
    "undo": review.decide,
    "edit": review.edit_tapped,
    "rate": rate.tapped,
    "pass": rate.tapped,
    "unrate": rate.tapped,
    "switch": adapter.switched,
    "queue": review.queue_tapped,
    "card": review.card_tapped,
    "adapters": adapter.listed,
    "set": settings.tapped,
    "cancel": privacy.cancel,
    "optout": privacy.opt,
    "optin": privacy.opt,
    "export": privacy.export,
    "forget": privacy.forget,
    "forgetsure": privacy.forget_sure,
}
