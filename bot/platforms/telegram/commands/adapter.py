"""/adapter: which adapters there are, which one answers here, changing that and going back."""

from __future__ import annotations

from bot.chat.button_codes import ButtonCode
from bot.commands import adapter as adapters
from bot.commands.adapter import AdapterSummary
from bot.platforms.telegram import texts
from bot.platforms.telegram.buttons import button, rows
from bot.platforms.telegram.context import Caller, TelegramContext
from bot.platforms.telegram.permissions import refused_administration
from bot.texts import (
    ALREADY,
    CANCEL,
    FIGURE,
    FIGURE_AGAINST,
    FILES_ARE_DAMAGED,
    LET_ANSWER,
    NOT_EXAMINED,
    ROLLED_BACK,
    SERVES_HERE,
    SWITCH,
    SWITCHED,
)
from feedback.errors import NotFound
from feedback.tables import Adapter
from feedback.words import Language
from training.adapters import registry

MOST_LISTED = 15


async def adapter(context: TelegramContext, caller: Caller, words: str) -> None:
    """Do what the word after the command says."""
    if await refused_administration(context, caller):
        return
    what, _, label = words.partition(" ")
    label = label.strip()
    if what in ("", "list"):
        await _list(context, caller)
    elif what == "info" and label:
        await context.say(caller, await _card(context, label, caller.language))
    elif what == "switch" and label:
        await _ask_to_switch(context, caller, label)
    elif what == "rollback":
        await _rollback(context, caller)
    else:
        await context.say(caller, texts.ADAPTER_USAGE.say(caller.language))


async def switched(context: TelegramContext, caller: Caller, code: ButtonCode) -> None:
    """Switch, from the next question on; everybody in the chat sees it."""
    if await refused_administration(context, caller):
        return
    await context.toast(caller)
    assistant = context.assistant
    label = registry.BASE
    if code.turn_id:
        async with context.core.database.session(read_only=True) as session:
            wanted = await session.get(Adapter, code.turn_id)
        if wanted is None:
            raise NotFound("adapter", code.turn_id)
        await assistant.make_ready(wanted)
        label = registry.label(wanted)
    done = await adapters.switch(
        context.core.database,
        context.core.data,
        label,
        base_model=context.core.model.base_model,
        base_revision=context.core.model.base_revision,
        by=context.actor(caller.member),
        community=str((await context.community(caller.chat)).community_id),
    )
    context.forget_settings()
    text = SWITCHED if done.changed else ALREADY
    parts = {"before": done.before} if done.changed else {}
    await context.change(caller, text.say(caller.language, adapter=f"**{done.now}**", **parts))


async def _list(context: TelegramContext, caller: Caller) -> None:
    here = (await context.community(caller.chat)).adapter
    listed = await adapters.list_adapters(context.core.database)
    lines = [_line(one, one.label == here, caller.language) for one in listed[:MOST_LISTED]]
    if len(listed) > MOST_LISTED:
        lines.append(f"… +{len(listed) - MOST_LISTED}")
    await context.say(caller, "\n".join(lines))


async def _ask_to_switch(context: TelegramContext, caller: Caller, label: str) -> None:
    language = caller.language
    async with context.core.database.session(read_only=True) as session:
        wanted = await registry.find(session, label)
    name = registry.label(wanted) if wanted else registry.BASE
    yes = button(ButtonCode("switch", wanted.id or 0 if wanted else 0), SWITCH.say(language))
    no = button(ButtonCode("cancel", 0), CANCEL.say(language))
    question = LET_ANSWER.say(language, adapter=f"**{name}**")
    await context.say(caller, f"{question}\n\n{await _card(context, name, language)}", rows([yes, no]))


async def _rollback(context: TelegramContext, caller: Caller) -> None:
    """Go back at once: whoever does this is in a hurry."""
    done = await adapters.rollback(
        context.core.database,
        context.core.data,
        base_model=context.core.model.base_model,
        base_revision=context.core.model.base_revision,
        by=context.actor(caller.member),
        community=str((await context.community(caller.chat)).community_id),
    )
    context.forget_settings()
    await context.say(caller, ROLLED_BACK.say(caller.language, adapter=f"**{done.now}**", before=done.before))


async def _card(context: TelegramContext, label: str, language: Language) -> str:
    """All about an adapter that this chat may know: other communities' names stay theirs."""
    details = await adapters.show(context.core.database, context.core.data, label)
    if details is None:
        return f"**{registry.BASE}** · `{context.core.model.base_model}`"
    lines = [
        f"**{details.label}** · {details.state} · `{details.base_model}`",
        *(_figures(details.metrics, language) or [NOT_EXAMINED.say(language)]),
        f"{details.created_at:%Y-%m-%d %H:%M} UTC · {details.dataset}".rstrip(" ·"),
    ]
    if details.fault:
        lines.append(f"⚠️ {FILES_ARE_DAMAGED.say(language)}")
    return "\n".join(lines)


def _line(one: AdapterSummary, here: bool, language: Language) -> str:
    examined = _figures(one.metrics, language)
    parts = [f"**{one.label}**", one.state, examined[0] if examined else ""]
    if one.label != registry.BASE and not examined:
        parts.append(NOT_EXAMINED.say(language))
    if here:
        parts.append(f"✅ {SERVES_HERE.say(language)}")
    return " · ".join(part for part in parts if part)


def _figures(metrics: dict[str, object], language: Language) -> list[str]:
    return [
        FIGURE.say(language, name=one.name, adapter=one.adapter)
        if one.base is None
        else FIGURE_AGAINST.say(language, name=one.name, adapter=one.adapter, base=one.base)
        for one in adapters.figures(metrics)
    ]
