"""The import page: files are dropped, looked at and brought in; earlier imports, and taking them back."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Final

from nicegui import events, ui

from bot.commands import imports
from bot.commands.data import Imported
from bot.commands.imports import FileFound, ImportView, Preview, Result, TalkImported
from bot.console import texts
from bot.console.context import Console
from bot.console.importing import UnderWay
from bot.console.layout import action, chip, drop_zone, frame, heading, sentence_of, showing_errors, tell
from bot.console.visitor import Visitor
from bot.texts import CANCEL, Text
from feedback.errors import ThumbloopError
from feedback.imports.recognising import UnknownRows
from feedback.imports.records import Options
from training.run import erasure

WATCH_S: Final = 1.0
"""How often it is looked how far the import is."""
_LONGEST_EXAMPLE: Final = 150


async def import_page(console: Console, visitor: Visitor) -> None:
    """Build the page for one visitor."""
    with frame(visitor, "/import", texts.IMPORT):
        heading(visitor.say(texts.IMPORT), 1)
        ui.label(visitor.say(texts.IMPORT_MORE)).classes("tl-muted")
        await _Page(console, visitor).show()


class _Page:
    """What is uploaded, looked at, under way and in."""

    def __init__(self, console: Console, visitor: Visitor) -> None:
        self._console = console
        self._visitor = visitor
        self._importing = console.importing
        self._say = say = visitor.say
        self._shown_end: UnderWay | None = None
        with ui.element("div").classes("tl-card tl-give"):
            self._upload = ui.upload(
                label=say(texts.DROP_EXPORT), multiple=True, auto_upload=True, on_multi_upload=self._on_upload
            )
            drop_zone(self._upload, say(texts.DROP_EXPORT))
            self._status = ui.label().classes("tl-thinking").props("role=status")
            self._status.set_visibility(False)
        self._place = ui.element("div").classes("tl-documents")
        self._progress = ui.element("div").classes("tl-documents")
        with ui.element("section").classes("tl-section"):
            heading(say(texts.IMPORTS), 2).classes("tl-h2")
            self._list = ui.element("div").classes("tl-documents")
        self._confirming = ui.element("div")
        self._timer = ui.timer(WATCH_S, self._watch, immediate=False)

    async def show(self) -> None:
        """Show what waits, what is under way, and what is in."""
        under_way = self._importing.latest
        if under_way is not None and not under_way.has_ended:
            self._show_progress(under_way)
        elif waiting := self._importing.uploads.waiting():
            await self._look(waiting[0], Options())
        await self._show_imports()

    # what is dropped

    async def _on_upload(self, event: events.MultiUploadEventArguments) -> None:
        async def once() -> None:
            self._upload.reset()
            files = [(file.name, file.save) for file in event.files]
            await self._look(await self._importing.uploads.keep(files), Options())

        with self._place:
            await showing_errors(once)()

    async def _look(self, path: Path, options: Options) -> None:
        """Show what an upload is, or ask which key is which."""
        say = self._say
        self._place.clear()
        self._leave_the_last()
        self._tell(say(texts.LOOKING))
        try:
            preview = await asyncio.to_thread(imports.look, path, options)
        except UnknownRows as error:
            self._show_keys(path, error.keys)
        except ThumbloopError as error:
            with self._place, ui.element("div").classes("tl-card"):
                said = sentence_of(error, self._visitor).replace(str(path), path.name)
                ui.label(said).classes("tl-refusal").props("role=alert")
                with ui.element("div").classes("tl-actions"):
                    self._discard_button(path)
        else:
            self._show_preview(path, options, preview)
        finally:
            self._tell("")

    def _leave_the_last(self) -> None:
        """Show no longer what came of the import before."""
        if (latest := self._importing.latest) is not None and latest.has_ended:
            self._shown_end = latest
            self._progress.clear()

    def _tell(self, sentence: str) -> None:
        if not self._status.is_deleted:
            self._status.set_text(sentence)
            self._status.set_visibility(bool(sentence))

    def _show_keys(self, path: Path, keys: tuple[str, ...]) -> None:
        say, chosen = self._say, {}
        offered = {"": say(texts.NO_KEY), **{key: key for key in keys}}
        with self._place, ui.element("div").classes("tl-card"):
            heading(say(texts.WHICH_KEYS), 2)
            ui.label(say(texts.WHICH_KEYS_MORE, name=path.name)).classes("tl-muted")
            with ui.element("div").classes("tl-mapping"):
                for name, label in texts.IMPORT_FIELDS.items():
                    chosen[name] = ui.select(offered, value="", label=say(label)).classes("tl-text tl-choice")
                    chosen[name].props("outlined dense popup-content-class=tl-popup")
            with ui.element("div").classes("tl-actions"):
                action(
                    say(texts.LOOK_AGAIN),
                    "o_search",
                    lambda: self._look(
                        path, Options({name: one.value for name, one in chosen.items() if one.value})
                    ),
                    kind="primary",
                )
                self._discard_button(path)

    def _show_preview(self, path: Path, options: Options, preview: Preview) -> None:
        say = self._say
        with self._place, ui.element("article").classes("tl-card"):
            heading(f"{say(texts.FOUND)}: {path.name}", 2)
            for one in preview.files:
                self._show_file(one)
            for name in preview.unknown:
                ui.label(say(texts.NOT_READ, name=name)).classes("tl-muted")
            if preview.broken:
                self._show_broken(preview.broken)
            community = ui.input(say(texts.IMPORT_COMMUNITY)).classes("tl-text tl-mapping")
            community.props(f'outlined dense hint="{say(texts.IMPORT_COMMUNITY_HINT)}"')
            agreed = ui.checkbox(say(texts.AGREED)).classes("tl-agreed")
            agreed.set_visibility(preview.needs_agreement)
            with ui.element("div").classes("tl-actions"):
                start = action(
                    say(texts.START_IMPORT),
                    "o_move_to_inbox",
                    lambda: self._start(path, options, community.value, agreed.value),
                    kind="primary",
                )
                if preview.needs_agreement:
                    start.bind_enabled_from(agreed, "value")
                self._discard_button(path)

    def _show_file(self, one: FileFound) -> None:
        say = self._say
        known = texts.IMPORT_FORMATS.get(one.format)
        with ui.element("section").classes("tl-found"):
            with ui.element("div").classes("tl-meta"):
                heading(one.name, 3)
                chip(say(known) if known else one.title, "serving")
                chip(
                    say(texts.RECORDS, records=one.records)
                    if one.is_whole
                    else say(texts.RECORDS_AND_MORE, records=one.records, size=_size(one.size))
                )
                if one.community:
                    ui.label(say(texts.FROM_COMMUNITY, community=one.community)).classes("tl-muted")
            for example in one.examples:
                text = " ".join(example.split())
                ui.label(text[:_LONGEST_EXAMPLE]).classes("tl-muted tl-example")
            self._show_left_out(one.left_out)

    def _show_left_out(self, left_out: Mapping[str, int]) -> None:
        if left_out:
            said = (
                f"{self._say(texts.LEFT_OUT[name]) if name in texts.LEFT_OUT else name} {count:,}"
                for name, count in left_out.items()
            )
            ui.label(f"{self._say(texts.LEFT_OUT_ARE)}: {', '.join(said)}").classes("tl-muted")

    def _show_broken(self, broken: tuple[str, ...]) -> None:
        with ui.element("details").classes("tl-source tl-broken"):
            with ui.element("summary"):
                ui.label(f"{self._say(texts.BROKEN_RECORDS)} ({len(broken)})")
            for one in broken:
                ui.label(one).classes("tl-example")

    def _discard_button(self, path: Path) -> None:
        action(self._say(texts.DISCARD), "o_delete", partial(self._discard, path), kind="danger")

    def _discard(self, path: Path) -> None:
        self._importing.uploads.discard(path)
        self._place.clear()
        with self._confirming:
            tell(self._say(texts.DISCARDED))

    # what is under way

    async def _start(self, path: Path, options: Options, community: str, agreed: bool) -> None:
        async def once() -> None:
            self._importing.start(
                path,
                self._visitor.actor,
                self._visitor.language,
                options=options,
                community=community.strip() or None,
                agreed=agreed,
            )
            self._place.clear()
            await self._watch()

        with self._confirming:  # the pressed button goes with the preview
            await showing_errors(once)()

    async def _watch(self) -> None:
        under_way = self._importing.latest
        if under_way is None or under_way is self._shown_end:
            return
        self._show_progress(under_way)
        if under_way.has_ended:
            self._shown_end = under_way
            await self._show_imports()

    def _show_progress(self, under_way: UnderWay) -> None:
        say = self._say
        self._progress.clear()
        with self._progress, ui.element("article").classes("tl-card"):
            if under_way.refusal:
                ui.label(under_way.refusal).classes("tl-refusal").props("role=alert")
            elif under_way.results is not None:
                for result in under_way.results:
                    self._show_result(result)
                if self._visitor.may("review"):
                    ui.link(say(texts.TO_REVIEW), "/review").classes(
                        "tl-button tl-primary tl-link-button tl-next"
                    )
            else:
                heading(say(texts.IMPORTING_NAME, name=under_way.name), 2)
                step, done, total = under_way.step, under_way.done, under_way.total
                bar = ui.linear_progress(done / total if total else 0.0, show_value=False, color=None)
                bar.props(
                    f'rounded aria-label="{say(texts.IMPORT_STEPS[step])}"'
                    + ("" if total else " indeterminate")
                )
                bar.classes("tl-bar")
                with ui.element("div").classes("tl-meta tl-progress").props("role=status"):
                    ui.label(say(texts.IMPORT_STEPS[step])).classes("tl-strong")
                    for fact in self._facts(under_way):
                        ui.label(fact)

    def _facts(self, under_way: UnderWay) -> list[str]:
        done, total, rate = under_way.done, under_way.total, under_way.per_second()
        if not done:
            return []
        if under_way.step == "reading":
            facts = [f"{_size(done)} / {_size(total)}", f"{_size(rate)}/s"]
        else:
            facts = [f"{done:,} / {total:,}", f"{rate:,.0f} {self._say(texts.UNITS[under_way.step])}"]
        if (left_s := under_way.seconds_left()) is not None:
            facts.append(self._say(texts.TIME_LEFT, time=_in_words(left_s)))
        return facts

    def _show_result(self, result: Result) -> None:
        say = self._say
        if isinstance(result, Imported):
            sentence = say(
                texts.PAIRS_ARE_IN, pairs=result.new, community=result.community, known=result.known
            )
            ui.label(sentence).classes("tl-strong")
            if result.waiting:
                ui.label(say(texts.PAIRS_WAIT, waiting=result.waiting))
            broken = result.broken
        else:
            self._show_talk(result)
            broken = result.broken_at
        if broken:
            self._show_broken(broken)

    def _show_talk(self, talk: TalkImported) -> None:
        say = self._say
        if talk.before:
            name = Path(talk.file).name
            ui.label(say(texts.IMPORTED_BEFORE, name=name, when=talk.before, number=talk.import_id))
            return
        ui.label(
            say(
                texts.TALK_IS_IN,
                messages=talk.messages,
                community=talk.community,
                questions=talk.questions,
                threads=talk.threads,
            )
        )
        ui.label(
            say(texts.CANDIDATES_WAIT, cards=talk.cards, phrasings=talk.phrasings, known=talk.known)
        ).classes("tl-strong")
        self._show_left_out(talk.left_out)

    # what is in

    async def _show_imports(self) -> None:
        found = await imports.imports(self._console.core.database, self._visitor.actor)
        if self._list.is_deleted:  # the page has gone meanwhile
            return
        self._list.clear()
        with self._list:
            if not found:
                ui.label(self._say(texts.NO_IMPORTS)).classes("tl-muted")
                return
            with ui.element("div").classes("tl-card tl-table-card"), ui.element("table").classes("tl-table"):
                with ui.element("thead"), ui.element("tr"):
                    for column in (*texts.IMPORT_COLUMNS, None):
                        with ui.element("th").props("scope=col"):
                            ui.label(self._say(column) if column else "")
                with ui.element("tbody"):
                    for one in found:
                        self._row(one)

    def _row(self, one: ImportView) -> None:
        say = self._say
        known = texts.IMPORT_FORMATS.get(one.format)
        _, community, turns, by, when, state = texts.IMPORT_COLUMNS
        with ui.element("tr"):
            with ui.element("th").props("scope=row"):
                ui.label(f"{one.import_id} · {one.source}")
                ui.label(say(known) if known else one.format).classes("tl-muted tl-example")
            for column, value in (
                (community, one.community),
                (turns, f"{one.turns:,}"),
                (by, one.by),
                (when, f"{one.started_at:%Y-%m-%d %H:%M} UTC"),
            ):
                with self._cell(column):
                    ui.label(value)
            with self._cell(state):
                named = texts.IMPORT_STATES.get(one.state)
                chip(say(named) if named else one.state, "warn" if one.state == "running" else "plain")
            with ui.element("td"):
                if one.state != "undone":
                    button = action(
                        say(texts.TAKE_BACK), "o_undo", partial(self._confirm, one), kind="danger"
                    )
                    button.props(f'aria-label="{say(texts.TAKE_BACK)}: {one.import_id}"')

    def _cell(self, column: Text) -> ui.element:
        return ui.element("td").props(f'data-label="{self._say(column)}"')

    async def _confirm(self, one: ImportView) -> None:
        say, question = self._say, self._say(texts.TAKE_BACK_QUESTION, number=one.import_id)
        with self._confirming:
            with ui.dialog() as dialog, ui.element("div").classes("tl-card tl-dialog"):
                dialog.props(f'aria-label="{question}"')
                heading(question, 2)
                ui.label(say(texts.TAKE_BACK_MORE, turns=one.turns)).classes("tl-muted")
                with ui.element("div").classes("tl-actions"):
                    action(say(texts.TAKE_BACK), "o_undo", lambda: dialog.submit(True), kind="danger")
                    action(say(CANCEL), "o_close", lambda: dialog.submit(False)).props("autofocus")
            sure = await dialog
            dialog.delete()
            if sure:
                await showing_errors(self._take_back)(one.import_id)

    async def _take_back(self, import_id: int) -> None:
        core = self._console.core
        turns = await imports.undo(core.database, import_id, self._visitor.actor)
        await erasure.carry_out(core.database, core.data)
        tell(self._say(texts.TAKEN_BACK, number=import_id, turns=turns))
        await self._show_imports()


def _size(size: float) -> str:
    return f"{size / 2**20:,.1f} MiB" if size >= 2**20 else f"{size / 2**10:,.0f} KiB"


def _in_words(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{max(1, round(seconds))} s"
