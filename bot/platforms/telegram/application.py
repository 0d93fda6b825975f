"""The Telegram bot: receives updates and hands each to the module that knows; starts and stops.

`run_telegram` runs until it is cancelled. Updates come by long polling, or by a webhook when its address is
set; what they start goes on beside them, so that no answer holds up the next question.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

import structlog
from telegram import ChatMember, Update
from telegram.error import BadRequest, Conflict, InvalidToken, NetworkError, TelegramError
from telegram.ext import (
    Application,
    ApplicationBuilder,
    ApplicationHandlerStop,
    CallbackQueryHandler,
    ChatMemberHandler,
    CommandHandler,
    MessageHandler,
    MessageReactionHandler,
    TypeHandler,
    filters,
)

from bot.assistant import Assistant
from bot.chat.button_codes import Action, ButtonCode
from bot.chat.edge import guarded
from bot.commands.training import Retraining
from bot.core import Core
from bot.errors import PortTaken
from bot.platforms.telegram import edits, feedback
from bot.platforms.telegram.answering import answer_message
from bot.platforms.telegram.catch_up import CatchUp
from bot.platforms.telegram.commands import about, adapter, ask, privacy, review, settings, training
from bot.platforms.telegram.context import PLATFORM, Caller, TelegramContext, caller_of
from bot.platforms.telegram.errors import TelegramRefused
from bot.platforms.telegram.menu import set_menus
from bot.platforms.telegram.pacing import Limits, Pacer
from bot.platforms.telegram.questions import after_command, is_question
from bot.settings import TelegramSettings
from bot.texts import NO_LONGER_THERE
from feedback import journal

SEEN_UPDATES: Final = 20_000
"""How many updates are remembered, so that one delivered twice counts once."""

SAME_STRETCH: Final = 10_000
"""Updates are numbered one after another, but after a quiet week anew: only near numbers can be compared."""

CONFLICTS: Final = 3
CONFLICT_S: Final = 60.0
"""So many conflicts within that time are another poller; one alone is the former process going."""

STOP_S: Final = 3.0
"""How long answers, and then all else that was begun, may still take to end when the service stops."""

UNREACHABLE_S: Final = 5.0
"""Pause before Telegram is tried again that could not be reached at the start."""

WEBHOOK_PORT: Final = "THUMBLOOP_TELEGRAM__WEBHOOK_PORT"

TAPPED: Final = "tapped"
"""The bookmark of the last tap that counted: a thumb delivered twice would take itself back."""

UPDATES: Final = [
    Update.MESSAGE,
    Update.EDITED_MESSAGE,
    Update.CALLBACK_QUERY,
    Update.MESSAGE_REACTION,
    Update.MY_CHAT_MEMBER,
]

OnCommand = Callable[[TelegramContext, Caller, str], Awaitable[None]]
OnButton = Callable[[TelegramContext, Caller, ButtonCode], Awaitable[None]]
Work = Callable[[Caller], Awaitable[None]]

log = structlog.get_logger(__name__)


class ThumbloopTelegram:
    """Listens, and does nothing else."""

    def __init__(
        self,
        settings: TelegramSettings,
        core: Core,
        assistant: Assistant,
        retraining: Retraining,
        *,
        limits: Limits | None = None,
    ) -> None:
        pacer = Pacer(limits)
        builder = ApplicationBuilder().token(settings.token.get_secret_value()).rate_limiter(pacer)
        # what waits here counts as told for Telegram, and dies with this process; what waits there does not
        builder = builder.update_queue(asyncio.Queue(maxsize=1))
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
        )
        self.catch_up = CatchUp(self.context)
        self._seen: OrderedDict[int, None] = OrderedDict()
        self._last_tap = 0
        self._conflicts: deque[float] = deque(maxlen=CONFLICTS)
        self._refused: asyncio.Future[None] | None = None
        self._watching: list[asyncio.Task[None]] = []
        self._add_handlers()

    async def run(self) -> None:
        """Serve until cancelled. Raises TelegramRefused, saying what to do, when Telegram says no."""
        self._refused = asyncio.get_running_loop().create_future()
        await self._let_in()
        try:
            await self._begin()
            await self._refused
        finally:
            await self._end()

    async def _let_in(self) -> None:
        while True:
            try:
                await self.application.initialize()
                return
            except InvalidToken as error:
                raise TelegramRefused.token() from error
            except NetworkError as error:
                log.warning("Telegram cannot be reached", why=str(error), again_in_s=UNREACHABLE_S)
                await asyncio.sleep(UNREACHABLE_S)

    async def _begin(self) -> None:
        database = self.context.core.database
        async with database.session(read_only=True) as session:
            self._last_tap = int((await journal.bookmarks(session, PLATFORM)).get(TAPPED, 0))
        self._watching = [
            self.context.start(self._set_menus()),
            self.context.start(self.catch_up.look_after()),
        ]
        await self.application.start()
        updater, settings = self.application.updater, self.context.settings
        assert updater is not None, "the builder makes one"
        if not settings.webhook_url:
            await updater.start_polling(
                allowed_updates=UPDATES, bootstrap_retries=-1, error_callback=self._polling_failed
            )
            return
        try:
            await updater.start_webhook(
                listen=settings.webhook_host,
                port=settings.webhook_port,
                webhook_url=settings.webhook_url,
                url_path=settings.webhook_url.partition("://")[2].partition("/")[2],
                allowed_updates=UPDATES,
                secret_token=webhook_secret(settings),
            )
        except BadRequest as error:
            raise TelegramRefused.webhook(error.message) from error
        except OSError as error:
            host, port = settings.webhook_host, settings.webhook_port
            raise PortTaken(host, port, error.strerror or str(error), WEBHOOK_PORT) from error

    async def _end(self) -> None:
        """Stop listening, leave the answers under way for the next start, and disconnect.

        Telegram tells no later process what it has told this one, so all of that is begun here, and left
        only once it has been kept.
        """
        updater = self.application.updater
        if updater is not None and updater.running:
            await updater.stop()
        if self.application.running:
            await self.application.stop()
        for task in self._watching:
            task.cancel()
        await self.context.answers.leave(STOP_S)
        if self.context.tasks:
            await asyncio.wait(self.context.tasks, timeout=STOP_S)
        tasks = list(self.context.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.application.shutdown()

    async def _set_menus(self) -> None:
        try:
            await set_menus(self.context)
        except TelegramError as error:  # the bot answers without a menu, too
            log.warning("the command menu could not be set", why=str(error))

    def _polling_failed(self, error: TelegramError) -> None:
        log.warning("fetching updates failed", why=str(error))
        if not isinstance(error, Conflict) or self._refused is None or self._refused.done():
            return
        now = asyncio.get_running_loop().time()
        self._conflicts.append(now)
        if len(self._conflicts) == CONFLICTS and now - self._conflicts[0] < CONFLICT_S:
            self._refused.set_exception(TelegramRefused.conflict())

    def _add_handlers(self) -> None:
        add = self.application.add_handler
        add(TypeHandler(Update, self._once), group=-1)
        add(MessageHandler(filters.StatusUpdate.MIGRATE, self._migrated))
        new = filters.UpdateType.MESSAGE
        for name, command in COMMANDS.items():
            add(CommandHandler(name, self._command(command), filters=new))
        add(MessageHandler(new & ~filters.StatusUpdate.ALL & ~filters.COMMAND, self._heard(self._message)))
        add(MessageHandler(new & filters.COMMAND & filters.ChatType.PRIVATE, self._command(about.help_)))
        add(MessageHandler(filters.UpdateType.EDITED_MESSAGE, self._beside(self._edited)))
        add(CallbackQueryHandler(self._beside(self._tapped)))
        add(MessageReactionHandler(self._reacted))
        add(ChatMemberHandler(self._membership, ChatMemberHandler.MY_CHAT_MEMBER))

    async def _once(self, update: Update, context: Any) -> None:
        """Let each update through once, taps also across restarts."""
        number = update.update_id
        repeated = number in self._seen
        self._seen[number] = None
        if len(self._seen) > SEEN_UPDATES:
            self._seen.popitem(last=False)
        if update.callback_query is not None:
            repeated = repeated or 0 <= self._last_tap - number < SAME_STRETCH
            if not repeated:
                self._last_tap = number
                async with self.context.core.database.session() as session:
                    await journal.move_bookmark(session, PLATFORM, TAPPED, str(number))
        if repeated:
            raise ApplicationHandlerStop

    def _beside(self, work: Work) -> Callable[[Update, Any], Coroutine[Any, Any, None]]:
        """A handler that lets `work` go on beside the next updates, and tells its caller of faults."""

        async def handle(update: Update, context: Any) -> None:
            caller = caller_of(update)
            if caller is not None:
                self.context.start(self.context.guard(caller, work(caller)))

        return handle

    def _heard(self, work: Work) -> Callable[[Update, Any], Coroutine[Any, Any, None]]:
        """As `_beside`, for new messages: what one is edited to before its answer begins is not lost."""

        async def listen(caller: Caller) -> None:
            place = self.context.place(caller.chat)
            key = self.context.message_key(caller.chat, caller.message.message_id)
            with self.context.answers.expecting(place.community, key):
                await work(caller)

        return self._beside(listen)

    def _command(self, command: OnCommand) -> Callable[[Update, Any], Coroutine[Any, Any, None]]:
        async def work(caller: Caller) -> None:
            if self.catch_up.is_old(caller.message.date):
                await self.catch_up.apologise(caller)
                return
            await command(self.context, caller, after_command(caller.message.text or ""))

        return self._heard(work)

    async def _message(self, caller: Caller) -> None:
        message, me = caller.message, self.context.bot.bot
        user = message.from_user
        if user is not None and user.is_bot and not caller.admin:
            return
        if await feedback.better_answer(self.context, caller) or await review.edited(self.context, caller):
            return
        own = () if caller.private else (await self.context.community(caller.chat)).own_channels
        if not is_question(message, me, own, private=caller.private):
            return
        if self.catch_up.is_old(message.date):
            await self.catch_up.apologise(caller)
            return
        await answer_message(self.context, caller, late=self.catch_up.is_late(message.date))

    async def _edited(self, caller: Caller) -> None:
        if not self.catch_up.is_old(caller.message.edit_date or caller.message.date):
            await edits.edited(self.context, caller)

    async def _tapped(self, caller: Caller) -> None:
        code = ButtonCode.parse(str(caller.query.data or "")) if caller.query else None
        action = BUTTONS.get(code.action) if code else None
        if code is None or action is None:
            await self.context.toast(caller, NO_LONGER_THERE.say(caller.language))
            return
        await action(self.context, caller, code)

    async def _reacted(self, update: Update, context: Any) -> None:
        event = update.message_reaction
        if event is not None:
            # a reaction has no place to say what goes wrong
            self.context.start(guarded(feedback.reacted(self.context, event), "en", None))

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
    settings: TelegramSettings, core: Core, assistant: Assistant, retraining: Retraining
) -> None:
    """Serve Telegram until cancelled. Raises TelegramRefused, saying what to do, when Telegram says no."""
    await ThumbloopTelegram(settings, core, assistant, retraining).run()


def file_url(api_url: str) -> str:
    """Where a Bot API server gives files, next to where it takes calls (`…/bot`)."""
    return f"{api_url.rstrip('/').removesuffix('/bot')}/file/bot"


def webhook_secret(settings: TelegramSettings) -> str:
    """What Telegram sends along with each update, so that nobody else's are taken."""
    given = settings.webhook_secret.get_secret_value()
    token = settings.token.get_secret_value()
    return given or hashlib.sha256(f"webhook:{token}".encode()).hexdigest()


COMMANDS: Final[dict[str, OnCommand]] = {
    "start": about.start,
    "help": about.help_,
    "about": about.about,
    "stats": about.stats,
    "ask": ask.ask,
    "stop": ask.stop,
    "mode": ask.mode,
    "privacy": privacy.privacy,
    "review": review.review,
    "adapter": adapter.adapter,
    "settings": settings.settings,
    "retrain": training.retrain,
}
BUTTONS: Final[dict[Action, OnButton]] = {
    "up": feedback.thumb,
    "down": feedback.thumb,
    "reason": feedback.reason,
    "again": feedback.again,
    "anew": edits.anew,
    "stop": feedback.stop,
    "mode": ask.mode_tapped,
    "approve": review.decide,
    "reject": review.decide,
    "skip": review.decide,
    "undo": review.decide,
    "edit": review.edit_tapped,
    "switch": adapter.switched,
    "set": settings.tapped,
    "cancel": privacy.cancel,
    "optout": privacy.opt,
    "optin": privacy.opt,
    "export": privacy.export,
    "forget": privacy.forget,
    "forgetsure": privacy.forget_sure,
}
