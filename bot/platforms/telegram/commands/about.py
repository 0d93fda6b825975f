"""/about, /help and /start for everyone, /stats for moderators."""

from __future__ import annotations

from bot.chat import reports
from bot.platforms.telegram import texts
from bot.platforms.telegram.commands.privacy import privacy
from bot.platforms.telegram.context import Caller, TelegramContext, when
from bot.platforms.telegram.menu import commands_for, tell_operator
from bot.platforms.telegram.permissions import actor_of, authorised

MOST = 4000


async def start(context: TelegramContext, caller: Caller, words: str) -> None:
    """Greet, or show what a link from a group led here for."""
    if caller.private and (await actor_of(context, caller)).role == "operator":
        await tell_operator(context, int(caller.member))
    if words == "privacy":
        await privacy(context, caller, "")
        return
    await context.say(caller, texts.WELCOME.say(caller.language))


async def help_(context: TelegramContext, caller: Caller, words: str) -> None:
    """List the commands that the caller may use here."""
    role = (await actor_of(context, caller)).role
    admin = role in ("administrator", "operator")
    found = commands_for(private=caller.private, admin=admin, operator=role == "operator")
    lines = [f"/{name} – {text.say(caller.language)}" for name, text in found]
    await context.say(caller, "\n".join(lines))


async def about(context: TelegramContext, caller: Caller, words: str) -> None:
    """Say which adapter answers, since when, and what it learned from."""
    await context.say(caller, await reports.about(context, context.place(caller.chat), caller.language, when))


async def stats(context: TelegramContext, caller: Caller, words: str) -> None:
    """Show this chat's counts, and how each adapter did."""
    await authorised(context, caller, "statistics.view")
    text = await reports.stats(context, context.place(caller.chat), caller.language)
    await context.say(caller, text[:MOST])
