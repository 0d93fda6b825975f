"""The settings of a community, with the instructions that its answers begin from, as they would be.

Whether answers may train is switched on where members are told of it, on their platform; off here, too.
"""

from __future__ import annotations

from typing import Final

from nicegui import ui
from sqlmodel import col, select

from bot.commands import settings
from bot.commands.settings import MOST_COOLDOWN, Changes, CommunitySettings
from bot.console import texts
from bot.console.context import Console
from bot.console.layout import action, empty_state, enable, frame, heading, showing_errors, tell
from bot.console.visitor import Visitor
from bot.questions import Place
from bot.texts import MODES
from feedback.tables import Community
from feedback.words import Language, Mode, Platform
from training.model.personas import PERSONAS, system_text

TOLD_THERE: Final = ("discord", "telegram")
"""Platforms that tell their members when answers may train from now on."""
MOST_COMMUNITIES: Final = 200


async def settings_page(console: Console, visitor: Visitor) -> None:
    """Build the page for one visitor."""
    with frame(visitor, "/settings", texts.SETTINGS):
        heading(visitor.say(texts.SETTINGS), 1)
        await _Settings(console, visitor).begin()


class _Settings:
    """One visitor's open page."""

    def __init__(self, console: Console, visitor: Visitor) -> None:
        self._console = console
        self._visitor = visitor
        self._say = visitor.say
        self._place: Place | None = None
        self._chooser = ui.element("div")
        self._form = ui.element("div")

    async def begin(self) -> None:
        """Show the visitor's community; who is responsible for all of them chooses one."""
        found = select(Community).order_by(col(Community.id)).limit(MOST_COMMUNITIES)
        own = self._visitor.actor.community_id
        if own is not None:
            found = found.where(Community.id == own)
        async with self._console.core.database.session(read_only=True) as session:
            rows = list((await session.exec(found)).all())
        if not rows:
            with self._form:
                empty_state("o_settings", self._say(texts.NO_COMMUNITY), self._say(texts.NO_COMMUNITY_MORE))
            return
        places = {row.id or 0: Place(_platform(row), row.external_id, "", row.name) for row in rows}
        if len(rows) > 1:
            names = {row.id or 0: row.name or f"{row.platform}:{row.external_id}" for row in rows}
            with self._chooser:
                chosen = ui.select(names, value=rows[0].id, label=self._say(texts.COMMUNITY), with_input=True)
                chosen.props("outlined dense popup-content-class=tl-popup").classes("tl-text tl-choice")

            async def choose() -> None:
                await self._show(places[chosen.value])

            chosen.on_value_change(showing_errors(choose))
        await self._show(places[rows[0].id or 0])

    async def _show(self, place: Place) -> None:
        self._place = place
        now = await settings.view(self._console.core.database, place)
        self._form.clear()
        with self._form:
            self._make(now)

    def _make(self, now: CommunitySettings) -> None:
        say = self._say
        with (
            ui.element("section").classes("tl-card tl-settings").props(f'aria-label="{say(texts.SETTINGS)}"')
        ):
            persona = ui.textarea(say(texts.PERSONA), value=now.persona).props(
                "outlined autogrow debounce=200"
            )
            persona.classes("tl-text")
            ui.label(say(texts.PERSONA_MORE, names=", ".join(PERSONAS))).classes("tl-muted")
            with ui.element("div").classes("tl-labels"):
                languages = {"auto": say(texts.LANGUAGE_AUTO)} | {
                    code: say(name) for code, name in texts.LANGUAGES.items()
                }
                language = self._choice(languages, now.language, say(texts.LANGUAGE))
                modes: dict[str, str] = {mode: say(name) for mode, name in MODES.items()}
                mode = self._choice(modes, now.default_mode, say(texts.MODE))
                cooldown = ui.number(
                    say(texts.COOLDOWN), value=now.cooldown_seconds, min=0, max=MOST_COOLDOWN, precision=0
                )
                cooldown.props("outlined dense").classes("tl-text tl-kind")
            training = ui.switch(say(texts.TRAINING_ALLOWED), value=now.training_allowed)
            told_there = self._place is not None and self._place.platform in TOLD_THERE
            if told_there and not now.training_allowed:
                training.disable()
                ui.label(say(texts.TRAINING_THERE)).classes("tl-muted")
            ui.label(
                say(
                    texts.SET_THERE,
                    channels=len(now.own_channels),
                    roles=len(now.moderator_roles),
                    log=say(texts.YES if now.log_channel else texts.NO),
                )
            ).classes("tl-muted")
            heading(say(texts.PREVIEW), 2).classes(replace="tl-overline")
            preview = ui.label("").classes("tl-diff").props("role=status")

            def show_preview() -> None:
                said = persona.value or self._console.assistant.options.persona
                spoken: Language = "pl" if language.value == "pl" else "en"
                chosen: Mode = mode.value
                preview.set_text(system_text(said, chosen, spoken))
                changed = any(
                    (
                        persona.value != now.persona,
                        language.value != now.language,
                        mode.value != now.default_mode,
                        int(cooldown.value or 0) != now.cooldown_seconds,
                        training.value != now.training_allowed,
                    )
                )
                enable(save, changed, say(texts.NOTHING_CHANGED))

            async def change() -> None:
                if self._place is None:
                    return
                wanted = Changes(
                    persona=persona.value or "",
                    language=language.value,
                    default_mode=mode.value,
                    training_allowed=bool(training.value),
                    cooldown_seconds=int(cooldown.value or 0),
                )
                await settings.change(
                    self._console.core.database, self._place, wanted, by=self._visitor.actor
                )
                tell(say(texts.SETTINGS_SAVED, name=now.name or self._place.community))
                await self._show(self._place)

            with ui.element("div").classes("tl-actions"):
                save = action(say(texts.SAVE), "o_check", showing_errors(change), kind="primary")
            for field in (persona, language, mode, cooldown, training):
                field.on_value_change(show_preview)
            show_preview()

    def _choice(self, options: dict[str, str], value: str, label: str) -> ui.select:
        made = ui.select(options, value=value, label=label).classes("tl-text tl-choice tl-kind")
        return made.props("outlined dense popup-content-class=tl-popup")


def _platform(row: Community) -> Platform:
    platform: Platform = row.platform  # type: ignore[assignment]
    return platform
