"""/retrain: start a training run, see how far it is, and those before it. For operators only."""

from __future__ import annotations

from bot.commands import training as runs
from bot.commands.training import RunView
from bot.platforms.telegram import texts
from bot.platforms.telegram.context import Caller, TelegramContext
from bot.platforms.telegram.permissions import refused_operation
from bot.texts import NO_RUNS, RUN, run_started
from feedback.words import Language

VERDICT = 300


async def retrain(context: TelegramContext, caller: Caller, words: str) -> None:
    """Do what the words after the command say."""
    if await refused_operation(context, caller):
        return
    what, _, named = words.partition(" ")
    if what == "now":
        name = named.strip() or None
        await context.retraining.start(context.actor(caller.member), name)
        await context.say(caller, run_started(name, caller.language))
    elif words in ("", "status", "history"):
        found = await runs.history(context.core.database, limit=5 if words == "history" else 1)
        lines = [_line(run, caller.language) for run in found]
        await context.say(caller, "\n".join(lines) or NO_RUNS.say(caller.language))
    else:
        await context.say(caller, texts.RETRAIN_USAGE.say(caller.language))


def _line(run: RunView, language: Language) -> str:
    parts = [RUN.say(language, run=run.run, state=f"**{run.state}**")]
    if run.state == "running":
        done, total = run.progress.get("done"), run.progress.get("total")
        parts.append(f"{run.step} {done}/{total}" if total else run.step)
    parts += [
        run.adapter,
        f"{run.finished_at or run.started_at:%Y-%m-%d %H:%M} UTC",
        run.verdict[:VERDICT],
    ]
    return " · ".join(part for part in parts if part)
