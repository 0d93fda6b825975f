"""Adapters as chats and the console show and switch them: list, card, switch, and the way back."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from bot.access.actor import Actor
from bot.chat.button_codes import ButtonCode
from bot.chat.buttons import Button
from bot.chat.context import ChatContext
from bot.commands import adapter as adapters
from bot.commands.adapter import EVERYWHERE, AdapterSummary, Switched
from bot.questions import Place
from bot.texts import (
    ALREADY,
    CANARY,
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
from feedback import journal
from feedback.errors import NotFound
from feedback.tables import Adapter
from feedback.words import Language
from training.adapters import deployments, registry, rollout
from training.examination.comparisons import Counts

MOST_LISTED: Final = 15


@dataclass(frozen=True)
class Card:
    """All about an adapter that any community may know: other communities' names stay theirs.

    `facts` say what it is made for, `figures` what its examination found, `everywhere_since` since when it
    serves every community (None: it does not), `warning` what is wrong with its files.
    """

    label: str
    facts: str
    figures: tuple[str, ...] = ()
    dataset: str = ""
    created_at: datetime | None = None
    everywhere_since: datetime | None = None
    warning: str = ""


@dataclass(frozen=True)
class Proposal:
    """The question whether an adapter shall answer from now on, its card, and yes and no."""

    question: str
    card: Card
    buttons: tuple[Button, Button]


async def list_lines(context: ChatContext, place: Place, language: Language) -> list[str]:
    """A line for each adapter, in Markdown: its state, the figure that decided, whether it answers here."""
    here = (await context.communities.settings(place)).adapter
    listed = await adapters.list_adapters(context.core.database)
    canary = await _canary(context, place, language)
    lines = [
        f"{_line(one, one.label == here, language)}{canary.get(one.label, '')}"
        for one in listed[:MOST_LISTED]
    ]
    return [*lines, f"… +{len(listed) - MOST_LISTED}"] if len(listed) > MOST_LISTED else lines


async def labels(context: ChatContext, typed: str, language: Language) -> dict[str, str]:
    """The adapters whose label holds what was typed, each with a line that describes it."""
    listed = await adapters.list_adapters(context.core.database)
    return {
        one.label: " · ".join(
            part for part in (one.label, one.state, *_figures(one.metrics, language)[:1]) if part
        )
        for one in listed
        if typed.casefold() in one.label
    }


async def card_of(context: ChatContext, label: str, language: Language) -> Card:
    """The card of one adapter, or of the base model. Raises NotFound, saying what there is."""
    details = await adapters.show(context.core.database, context.core.data, label)
    if details is None:
        return Card(registry.BASE, context.core.model.base_model)
    everywhere = [one for one in details.deployments if one.whom == EVERYWHERE and one.until is None]
    return Card(
        label=details.label,
        facts=f"{details.base_model} · {details.state}",
        figures=tuple(_figures(details.metrics, language)) or (NOT_EXAMINED.say(language),),
        dataset=details.dataset,
        created_at=details.created_at,
        everywhere_since=everywhere[0].since if everywhere else None,
        warning=FILES_ARE_DAMAGED.say(language) if details.fault else "",
    )


async def propose(context: ChatContext, label: str, language: Language) -> Proposal:
    """Ask whether that adapter shall answer. Raises as `card_of`."""
    async with context.core.database.session(read_only=True) as session:
        wanted = await registry.find(session, label)
    name = registry.label(wanted) if wanted else registry.BASE
    yes = ButtonCode("switch", adapter_id=(wanted.id or 0) if wanted else 0)
    return Proposal(
        LET_ANSWER.say(language, adapter=f"**{name}**"),
        await card_of(context, name, language),
        (Button(yes, SWITCH.say(language)), Button(ButtonCode("cancel"), CANCEL.say(language))),
    )


async def switch(context: ChatContext, place: Place, actor: Actor, label: str) -> Switched:
    """Load an adapter, then let it answer where the actor decides; what cannot be loaded is refused first.

    Raises as `bot.commands.adapter.switch`, and AdapterRefused when the model does not take it.
    """
    await _make_ready(context, label)
    done = await adapters.switch(
        context.core.database,
        context.core.data,
        label,
        model=context.core.model,
        by=actor,
        community=_community(actor),
    )
    context.communities.forget(place.community)
    return done


async def _make_ready(context: ChatContext, label: str) -> None:
    """Load that adapter. Raises NotFound, and AdapterRefused when the model does not take it."""
    async with context.core.database.session(read_only=True) as session:
        wanted = await registry.find(session, label)
    if wanted is not None:
        await context.assistant.make_ready(wanted)


async def begin_canary(context: ChatContext, place: Place, actor: Actor, label: str, share: float) -> float:
    """Load an adapter, then let it answer a share of the conversations where the actor decides; that share.

    Raises as `bot.commands.adapter.begin_canary`, and AdapterRefused when the model does not take it.
    """
    await _make_ready(context, label)
    begun = await adapters.begin_canary(
        context.core.database,
        context.core.data,
        label,
        share,
        model=context.core.model,
        by=actor,
        community=_community(actor),
    )
    context.communities.forget(place.community)
    return begun


async def switch_by_button(context: ChatContext, place: Place, actor: Actor, code: ButtonCode) -> Switched:
    """Switch to what the button of a proposal names. Raises as `switch`, and NotFound."""
    label = registry.BASE
    if code.adapter_id:
        async with context.core.database.session(read_only=True) as session:
            wanted = await session.get(Adapter, code.adapter_id)
        if wanted is None:
            raise NotFound("adapter", code.adapter_id)
        label = registry.label(wanted)
    return await switch(context, place, actor, label)


async def roll_back(context: ChatContext, place: Place, actor: Actor) -> Switched:
    """Let what answered before answer again, at once: whoever does this is in a hurry.

    Raises as `bot.commands.adapter.rollback`.
    """
    done = await adapters.rollback(
        context.core.database,
        context.core.data,
        model=context.core.model,
        by=actor,
        community=_community(actor),
    )
    context.communities.forget(place.community)
    return done


def switched(done: Switched, language: Language) -> str:
    """What a switch did, in Markdown."""
    if not done.changed:
        return ALREADY.say(language, adapter=f"**{done.now}**")
    return SWITCHED.say(language, adapter=f"**{done.now}**", before=done.before)


def rolled_back(done: Switched, language: Language) -> str:
    """What a rollback did, in Markdown."""
    return ROLLED_BACK.say(language, adapter=f"**{done.now}**", before=done.before)


async def _canary(context: ChatContext, place: Place, language: Language) -> dict[str, str]:
    """How the canary stands that answers in a share of this community's conversations, by its label."""
    core = context.core
    async with core.database.session(read_only=True) as session:
        community = await journal.community_of(session, place.platform, place.community)
        row = await deployments.canary_here(session, community.id if community else None)
        if row is None:
            return {}
        standing = await rollout.look(session, row, core.rollout, core.clock())
    found = standing.difference
    told = CANARY.say(
        language,
        share=f"{row.share:.0%}",
        judged=standing.judged,
        before=standing.judged_predecessor,
        rival=standing.predecessor,
        lower=round(100 * found.lower),
        upper=round(100 * found.upper),
    )
    return {standing.adapter: f" · 🐤 {told}"}


def _community(actor: Actor) -> str | None:
    return None if actor.community_id is None else str(actor.community_id)


def _line(one: AdapterSummary, here: bool, language: Language) -> str:
    examined = _figures(one.metrics, language)
    parts = [f"**{one.label}**", one.state, examined[0] if examined else ""]
    if one.label != registry.BASE and not examined:
        parts.append(NOT_EXAMINED.say(language))
    if here:
        parts.append(f"✅ {SERVES_HERE.say(language)}")
    return " · ".join(part for part in parts if part)


def _figures(metrics: dict[str, object], language: Language) -> list[str]:
    counts = Counts.kept(metrics)
    counted = [counts.say(language)] if counts else []
    return counted + [
        FIGURE.say(language, name=one.name, adapter=one.adapter)
        if one.base is None
        else FIGURE_AGAINST.say(language, name=one.name, adapter=one.adapter, base=one.base)
        for one in adapters.figures(metrics)
    ]
