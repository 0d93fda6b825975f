"""What /about, /stats and /retrain say, in Markdown; each platform writes dates its own way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from typing import Final

from bot.chat.context import ChatContext
from bot.commands import about as facts
from bot.commands import training as runs
from bot.commands.training import RunView
from bot.questions import Place
from bot.texts import (
    ANSWERS_HERE,
    BASE_MODEL_IS,
    LEARNED_FROM,
    MAY_NOT_TRAIN,
    MAY_TRAIN,
    NO_RUNS,
    RUN,
    SINCE,
    STATS,
    STATS_OF_ADAPTER,
)
from feedback.words import Language

MOST_VERDICT: Final = 300
"""Characters shown of a verdict."""

When = Callable[[datetime], str]
"""Writes a moment for members."""


async def about(context: ChatContext, place: Place, language: Language, when: When) -> str:
    """Which adapter answers at `place`, since when, and what it learned from."""
    found = await facts.about(context.core.database, place, base_model=context.core.model.base_model)
    lines = [ANSWERS_HERE.say(language, adapter=f"**{found.adapter}**")]
    if found.since is not None:
        lines.append(SINCE.say(language, since=when(found.since)))
    if found.pairs:
        lines.append(LEARNED_FROM.say(language, pairs=found.pairs))
    lines.append(BASE_MODEL_IS.say(language, base_model=found.base_model))
    lines.append((MAY_TRAIN if found.training_allowed else MAY_NOT_TRAIN).say(language))
    return " ".join(lines)


async def stats(context: ChatContext, place: Place, language: Language) -> str:
    """The counts of the community at `place`, and how each adapter did there."""
    found = await facts.stats(context.core.database, place)
    lines = [STATS.say(language, new_pairs=found.new_pairs, **asdict(found.counts))]
    lines += [
        STATS_OF_ADAPTER.say(
            language,
            adapter=f"**{label}**",
            answered=one.answered,
            votes_up=one.votes_up,
            votes_down=one.votes_down,
            first=one.median_first_token_s,
            whole=one.median_total_s,
        )
        for label, one in found.by_adapter.items()
    ]
    return "\n".join(lines)


async def training_runs(context: ChatContext, language: Language, when: When, *, most: int) -> str:
    """The last runs, newest first, a line each."""
    found = await runs.history(context.core.database, limit=most)
    return "\n".join(_run(run, language, when) for run in found) or NO_RUNS.say(language)


def _run(run: RunView, language: Language, when: When) -> str:
    parts = [RUN.say(language, run=run.run, state=f"**{run.state}**")]
    if run.state == "running":
        done, total = run.progress.get("done"), run.progress.get("total")
        parts.append(f"{run.step} {done}/{total}" if total else run.step)
    parts += [run.adapter, when(run.finished_at or run.started_at), run.said[language][:MOST_VERDICT]]
    return " · ".join(part for part in parts if part)
