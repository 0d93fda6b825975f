"""/adapter: which adapters there are, which one answers here, changing that and going back."""

from __future__ import annotations

from bot.chat import adapters
from bot.chat.adapters import Card
from bot.chat.button_codes import ButtonCode
from bot.platforms.telegram import texts
from bot.platforms.telegram.buttons import rows
from bot.platforms.telegram.context import Caller, TelegramContext, when
from bot.platforms.telegram.permissions import authorised


async def adapter(context: TelegramContext, caller: Caller, words: str) -> None:
    """Do what the word after the command says."""
    await authorised(context, caller, "adapter.view")
    place, language = context.place(caller.chat), caller.language
    what, _, label = words.partition(" ")
    label = label.strip()
    if what in ("", "list"):
        await _say_list(context, caller)
    elif what == "info" and label:
        await context.say(caller, _drawn(await adapters.card_of(context, label, language)))
    elif what == "switch" and label:
        proposal = await adapters.propose(context, label, language)
        text = f"{proposal.question}\n\n{_drawn(proposal.card)}"
        await context.say(caller, text, rows(proposal.buttons))
    elif what == "rollback":
        actor = await authorised(context, caller, "adapter.switch")
        done = await adapters.roll_back(context, place, actor)
        await context.say(caller, adapters.rolled_back(done, language))
    else:
        await context.say(caller, texts.ADAPTER_USAGE.say(language))


async def listed(context: TelegramContext, caller: Caller, code: ButtonCode) -> None:
    """The button of an announcement: the adapters that there are."""
    await authorised(context, caller, "adapter.view")
    await context.toast(caller)
    await _say_list(context, caller)


async def _say_list(context: TelegramContext, caller: Caller) -> None:
    lines = await adapters.list_lines(context, context.place(caller.chat), caller.language)
    await context.say(caller, "\n".join(lines))


async def switched(context: TelegramContext, caller: Caller, code: ButtonCode) -> None:
    """Switch, from the next question on; everybody in the chat sees it."""
    actor = await authorised(context, caller, "adapter.switch")
    await context.toast(caller)
    done = await adapters.switch_by_button(context, context.place(caller.chat), actor, code)
    await context.change(caller, adapters.switched(done, caller.language))


def _drawn(card: Card) -> str:
    made = " · ".join(
        part for part in (when(card.created_at) if card.created_at else "", card.dataset) if part
    )
    warning = f"⚠️ {card.warning}" if card.warning else ""
    lines = [f"**{card.label}** · {card.facts}", *card.figures, made, warning]
    return "\n".join(line for line in lines if line)
