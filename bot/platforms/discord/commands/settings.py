"""/settings: one panel that shows how the server is set, and changes each setting by a tap.

What it changes is checked and audited by `bot.commands.settings`. Defaults are safe: answers only when
asked, no training until it is switched on, which members are told.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final, Self, cast

import discord
from discord import SelectDefaultValueType as DefaultKind
from discord import app_commands, ui

from bot.access.actor import Actor
from bot.chat.button_codes import ButtonCode
from bot.chat.settings import LANGUAGE_NAMES, public_language, training_announcement
from bot.commands.settings import Changes, CommunitySettings
from bot.platforms.discord import texts
from bot.platforms.discord.buttons import Form
from bot.platforms.discord.context import (
    Answered,
    DiscordContext,
    Interaction,
    language_of,
    place_in,
    say,
    say_errors_of,
)
from bot.platforms.discord.permissions import ADMINISTERS, authorised
from bot.platforms.discord.texts import localised
from bot.texts import MODES, NOT_A_NUMBER, OPERATORS_PERSONA, OPT_IN, TRAINING_SWITCH_OFF, Text
from feedback.words import Language

TEXT_CHANNELS: Final = [discord.ChannelType.text, discord.ChannelType.news]


@app_commands.command(name=localised(texts.SETTINGS), description=localised(texts.SETTINGS_ABOUT))
@app_commands.guild_only()
@app_commands.default_permissions(ADMINISTERS)
async def settings(interaction: Interaction) -> None:
    """Show the panel."""
    context = DiscordContext.of(interaction)
    await authorised(context, interaction, "settings.change")
    context.communities.forget(place_in(interaction.guild).community)
    panel = _panel(await context.community(interaction.guild), language_of(interaction))
    await interaction.response.send_message(view=panel, ephemeral=True)


class SettingControl(ui.DynamicItem[ui.Item[Any]], template=r"tl1set:(?P<name>[a-z_]+)"):
    """A menu or button of the panel; it outlives restarts like every other."""

    def __init__(self, item: ui.Item[Any], name: str) -> None:
        super().__init__(item)
        self.name = name

    @classmethod
    async def from_custom_id(cls, interaction: Interaction, item: ui.Item[Any], match: re.Match[str]) -> Self:
        """The control that was used."""
        return cls(item, match["name"])

    async def callback(self, interaction: Interaction) -> None:
        """Change the setting, or open the form for it."""
        await say_errors_of(interaction, self._change(DiscordContext.of(interaction), interaction))

    async def _change(self, context: DiscordContext, interaction: Interaction) -> None:
        actor = await authorised(context, interaction, "settings.change")
        data: dict[str, Any] = dict(interaction.data or {})
        chosen = tuple(str(value) for value in data.get("values", ()))
        now = await context.community(interaction.guild)
        if self.name in ("persona", "cooldown"):
            await interaction.response.send_modal(_form(self.name, now, language_of(interaction)))
        elif self.name == "training":
            await _apply(context, interaction, actor, Changes(training_allowed=not now.training_allowed))
            await _tell_members(context, interaction, now, allowed=not now.training_allowed)
        elif self.name in ("own_channels", "moderator_roles"):
            await _apply(context, interaction, actor, Changes(**cast(Any, {self.name: chosen})))
        elif self.name in ("language", "default_mode", "log_channel"):
            await _apply(context, interaction, actor, Changes(**cast(Any, {self.name: "".join(chosen[:1])})))


async def sent(
    context: DiscordContext, interaction: Interaction, code: ButtonCode, answered: Answered
) -> None:
    """Change what a form of the panel was about."""
    actor = await authorised(context, interaction, "settings.change")
    value = answered[code.action][0].strip()
    if code.action == "persona":
        await _apply(context, interaction, actor, Changes(persona=value))
    elif value.isascii() and value.isdigit():
        await _apply(context, interaction, actor, Changes(cooldown_seconds=int(value)))
    else:
        await say(interaction, NOT_A_NUMBER.say(language_of(interaction)))


async def _apply(context: DiscordContext, interaction: Interaction, actor: Actor, changes: Changes) -> None:
    changed = await context.communities.change(place_in(interaction.guild), changes, by=actor)
    await interaction.response.edit_message(view=_panel(changed, language_of(interaction)))


async def _tell_members(
    context: DiscordContext, interaction: Interaction, now: CommunitySettings, *, allowed: bool
) -> None:
    """Say in public, here and in our own channels, whether what is said may train the bot."""
    text = training_announcement(now, allowed=allowed)
    await interaction.followup.send(text, ephemeral=False)
    for channel in now.own_channels:
        if channel != str(interaction.channel_id):
            try:
                await context.client.get_partial_messageable(int(channel)).send(text)
            except discord.HTTPException:
                refused = texts.MAY_NOT_WRITE.say(public_language(now), channel=f"<#{channel}>")
                await say(interaction, refused)


def _panel(now: CommunitySettings, language: Language) -> ui.LayoutView:
    """The panel: what is set in a few lines, a menu for each choice, and buttons for the rest."""
    on = now.training_allowed
    persona = now.persona or OPERATORS_PERSONA.say(language)
    facts = [
        f"## {texts.PANEL.say(language, name=now.name)}",
        texts.PANEL_ADAPTER.say(language, adapter=now.adapter),
        texts.PANEL_PERSONA.say(language, persona=persona if len(persona) < 200 else persona[:200] + "…"),
        texts.PANEL_COOLDOWN.say(language, seconds=now.cooldown_seconds),
        (texts.PANEL_TRAINING_ON if on else texts.PANEL_TRAINING_OFF).say(language),
    ]
    languages = [
        discord.SelectOption(
            label=LANGUAGE_NAMES.get(value) or texts.LANGUAGE_AUTO.say(language),
            value=value,
            default=now.language == value,
        )
        for value in ("auto", "en", "pl")
    ]
    modes = [
        discord.SelectOption(label=text.say(language), value=mode, default=now.default_mode == mode)
        for mode, text in MODES.items()
    ]
    training = TRAINING_SWITCH_OFF if on else OPT_IN
    buttons = [
        _control("persona", ui.Button(label=texts.PERSONA.say(language))),
        _control("cooldown", ui.Button(label=texts.COOLDOWN.say(language))),
        _control(
            "training",
            ui.Button(
                label=training.say(language),
                style=discord.ButtonStyle.danger if on else discord.ButtonStyle.success,
            ),
        ),
    ]
    menus: list[tuple[Text, str, ui.Item[Any]]] = [
        (texts.LANGUAGE, "language", ui.Select(options=languages)),
        (texts.DEFAULT_MODE, "default_mode", ui.Select(options=modes)),
        (texts.OWN_CHANNELS, "own_channels", _channels(now.own_channels, most=25)),
        (
            texts.MODERATOR_ROLES,
            "moderator_roles",
            ui.RoleSelect(
                min_values=0,
                max_values=25,
                default_values=[_default(role, DefaultKind.role) for role in now.moderator_roles],
            ),
        ),
        (texts.LOG_CHANNEL, "log_channel", _channels([now.log_channel] if now.log_channel else [], most=1)),
    ]
    container: ui.Container[Any] = ui.Container(ui.TextDisplay("\n".join(facts)))
    for title, name, menu in menus:
        container.add_item(ui.TextDisplay(f"**{title.say(language)}**"))
        container.add_item(ui.ActionRow(_control(name, menu)))
    container.add_item(ui.ActionRow(*buttons))
    view = ui.LayoutView(timeout=None)
    view.add_item(container)
    return view


def _control(name: str, item: Any) -> SettingControl:
    item.custom_id = f"tl1set:{name}"
    return SettingControl(item, name)


def _channels(chosen: Iterable[str], *, most: int) -> ui.ChannelSelect[Any]:
    return ui.ChannelSelect(
        channel_types=TEXT_CHANNELS,
        min_values=0,
        max_values=most,
        default_values=[_default(channel, DefaultKind.channel) for channel in chosen],
    )


def _default(snowflake: str, kind: DefaultKind) -> discord.SelectDefaultValue:
    return discord.SelectDefaultValue(id=int(snowflake), type=kind)


def _form(name: str, now: CommunitySettings, language: Language) -> Form:
    if name == "persona":
        label, value, style, most = texts.PERSONA_LABEL, now.persona, discord.TextStyle.paragraph, 2000
    else:
        seconds = str(now.cooldown_seconds)
        label, value, style, most = texts.COOLDOWN_LABEL, seconds, discord.TextStyle.short, 5
    field: ui.Label[Any] = ui.Label(
        text=label.say(language)[:45],
        component=ui.TextInput(
            custom_id=name, style=style, default=value or None, required=name == "cooldown", max_length=most
        ),
    )
    code = ButtonCode("persona" if name == "persona" else "cooldown")
    return Form(code, label.say(language), field)
