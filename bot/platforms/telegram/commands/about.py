"""/about, /help and /start for everyone, /stats for moderators."""

from __future__ import annotations

from dataclasses import asdict

from bot.commands import about as facts
from bot.platforms.telegram import texts
from bot.platforms.telegram.commands.privacy import privacy
from bot.platforms.telegram.context import Caller, TelegramContext
from bot.platforms.telegram.menu import commands_for, tell_operator
from bot.platforms.telegram.permissions import is_operator, may_administer, refused_moderation
from bot.texts import (
    ANSWERS_HERE,
    BASE_MODEL_IS,
    LEARNED_FROM,
    MAY_NOT_TRAIN,
    MAY_TRAIN,
    SINCE,
    STATS,
    STATS_OF_ADAPTER,
)

MOST = 4000


async def start(context: TelegramContext, caller: Caller, words: str) -> None:
    """Greet, or show what a link from a group led here for."""
    if is_operator(context, caller) and caller.private:
        await tell_operator(context, int(caller.member))
    if words == "privacy":
        await privacy(context, caller, "")
        return
    await context.say(caller, texts.WELCOME.say(caller.language))


async def help_(context: TelegramContext, caller: Caller, words: str) -> None:
    """List the commands that the caller may use here."""
    admin = await may_administer(context, caller)
    found = commands_for(private=caller.private, admin=admin, operator=is_operator(context, caller))
    lines = [f"/{name} – {text.say(caller.language)}" for name, text in found]
    await context.say(caller, "\n".join(lines))


async def about(context: TelegramContext, caller: Caller, words: str) -> None:
    """Say which adapter answers, since when, and what it learned from."""
    language = caller.language
    found = await facts.about(
        context.core.database, context.place(caller.chat), base_model=context.core.model.base_model
    )
    lines = [ANSWERS_HERE.say(language, adapter=f"**{found.adapter}**")]
    if found.since is not None:
        lines.append(SINCE.say(language, since=f"{found.since:%Y-%m-%d %H:%M} UTC"))
    if found.pairs:
        lines.append(LEARNED_FROM.say(language, pairs=found.pairs))
    lines.append(BASE_MODEL_IS.say(language, base_model=f"`{found.base_model}`"))
    lines.append((MAY_TRAIN if found.training_allowed else MAY_NOT_TRAIN).say(language))
    await context.say(caller, " ".join(lines))


async def stats(context: TelegramContext, caller: Caller, words: str) -> None:
    """Show this chat's counts, and how each adapter did."""
    if await refused_moderation(context, caller):
        return
    language = caller.language
    found = await facts.stats(context.core.database, context.place(caller.chat))
    lines = [STATS.say(language, new_pairs=found.new_pairs, **asdict(found.counts))]
    for label, one in found.by_adapter.items():
        figures = STATS_OF_ADAPTER.say(
            language,
            adapter=f"**{label}**",
            answered=one.answered,
            votes_up=one.votes_up,
            votes_down=one.votes_down,
            first=one.median_first_token_s,
            whole=one.median_total_s,
        )
        lines.append(figures)
    await context.say(caller, "\n".join(lines)[:MOST])
