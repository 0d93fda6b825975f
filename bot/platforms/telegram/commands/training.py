"""/retrain: operators start a training run; administrators see how far it is, and those before it."""

from __future__ import annotations

from bot.chat import reports
from bot.platforms.telegram import texts
from bot.platforms.telegram.context import Caller, TelegramContext, when
from bot.platforms.telegram.permissions import authorised
from bot.texts import run_started


async def retrain(context: TelegramContext, caller: Caller, words: str) -> None:
    """Do what the words after the command say."""
    what, _, named = words.partition(" ")
    actor = await authorised(context, caller, "run.start" if what == "now" else "run.view")
    if what == "now":
        name = named.strip() or None
        await context.retraining.start(actor, name)
        await context.say(caller, run_started(name, caller.language))
    elif words in ("", "status", "history"):
        most = 5 if words == "history" else 1
        await context.say(caller, await reports.training_runs(context, caller.language, when, most=most))
    else:
        await context.say(caller, texts.RETRAIN_USAGE.say(caller.language))
