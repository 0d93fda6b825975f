"""All slash commands: uploaded only when they changed, their faults reported to the member."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import structlog
from discord import app_commands

from bot.platforms.discord.commands.about import about, stats
from bot.platforms.discord.commands.adapter import adapter
from bot.platforms.discord.commands.ask import ask, mode
from bot.platforms.discord.commands.console import console
from bot.platforms.discord.commands.knowledge import knowledge
from bot.platforms.discord.commands.privacy import privacy
from bot.platforms.discord.commands.rate import rate
from bot.platforms.discord.commands.review import review, review_this
from bot.platforms.discord.commands.settings import settings
from bot.platforms.discord.commands.training import retrain
from bot.platforms.discord.context import PLATFORM, Interaction, say_error
from bot.platforms.discord.texts import Translations
from feedback import platform_state
from feedback.database import Database

log = structlog.get_logger(__name__)


class Tree(app_commands.CommandTree[Any]):
    """Every command of ours."""

    def __init__(self, client: Any) -> None:
        super().__init__(
            client,
            allowed_contexts=app_commands.AppCommandContext(guild=True, dm_channel=True),
            allowed_installs=app_commands.AppInstallationType(guild=True, user=False),
        )
        ours: tuple[app_commands.Command[Any, ..., Any], ...] = (
            ask,
            mode,
            privacy,
            about,
            stats,
            console,
            review,
            rate,
            settings,
        )
        for command in ours:
            self.add_command(command)
        self.add_command(adapter)
        self.add_command(retrain)
        self.add_command(knowledge)
        self.add_command(review_this)

    async def on_error(self, interaction: Interaction, error: app_commands.AppCommandError, /) -> None:
        """Tell the member; the log explains what was not ours to explain."""
        cause = error.original if isinstance(error, app_commands.CommandInvokeError) else error
        await say_error(interaction, cause)


async def sync_if_changed(tree: app_commands.CommandTree[Any], database: Database) -> bool:
    """Upload the commands unless Discord has them already; whether they were uploaded."""
    await tree.set_translator(Translations())
    translator = tree.translator
    assert translator is not None, "it was set a line above"
    commands = sorted(tree.get_commands(), key=lambda command: (command.__class__.__name__, command.name))
    payload = [await command.get_translated_payload(tree, translator) for command in commands]
    told = hashlib.sha256(json.dumps(payload, sort_keys=True).encode()).hexdigest()
    key = f"commands:{tree.client.application_id}"
    async with database.session(read_only=True) as session:
        if await platform_state.recall(session, PLATFORM, key) == told:
            return False
    await tree.sync()
    async with database.session() as session:
        await platform_state.remember(session, PLATFORM, key, told)
    log.info("slash commands told to Discord", commands=len(payload))
    return True
