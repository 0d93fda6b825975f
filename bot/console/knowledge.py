"""The knowledge page: what a community gives its bot to read; adding, looking, reading anew, removing."""

from __future__ import annotations

from functools import partial

from nicegui import events, ui

from bot.chat import documents as shown
from bot.commands import documents
from bot.console import record, texts
from bot.console.context import Console
from bot.console.layout import (
    action,
    chip,
    drop_zone,
    empty_state,
    frame,
    heading,
    prose,
    showing_errors,
    tell,
)
from bot.console.markdown import as_html
from bot.console.visitor import Visitor
from bot.errors import DocumentsOff
from bot.knowledge.documents.catalogue import LISTS, DocumentView
from bot.knowledge.documents.library import Given, Library, Upload
from bot.texts import DOCUMENT_HOLDS, DOCUMENT_REMOVED, NO_DOCUMENTS, PASSAGES, SOURCE_PAGE, describe_error
from feedback import journal


async def knowledge_page(console: Console, visitor: Visitor) -> None:
    """Build the page for one visitor."""
    with frame(visitor, "/knowledge", texts.KNOWLEDGE):
        heading(visitor.say(texts.KNOWLEDGE), 1)
        ui.label(visitor.say(texts.KNOWLEDGE_MORE)).classes("tl-muted")
        if console.library is None:
            empty_state(
                "o_menu_book", visitor.say(texts.KNOWLEDGE), describe_error(DocumentsOff(), visitor.language)
            )
            return
        await _Documents(console, visitor, console.library).show()


class _Documents:
    """The documents of the visitor's community, and what is given to it."""

    def __init__(self, console: Console, visitor: Visitor, library: Library) -> None:
        self._console = console
        self._visitor = visitor
        self._library = library
        self._say = say = visitor.say
        with ui.element("div").classes("tl-card tl-give"):
            upload = ui.upload(
                label=say(texts.DROP_FILES), multiple=True, auto_upload=True, on_upload=self._on_upload
            )
            drop_zone(upload, say(texts.DROP_FILES))
            with ui.element("div").classes("tl-compare-form"):
                self._address = ui.input(say(texts.ADDRESS), placeholder="https://").classes("tl-text")
                self._address.props("outlined").on("keydown.enter", self._on_address)
                action(say(texts.ADD_ADDRESS), "o_add_link", self._on_address, kind="primary")
            self._outcome = ui.html("").classes("tl-prose").props("role=status")
        self._place = ui.element("div").classes("tl-documents")

    async def show(self) -> None:
        """Read the documents and show them."""
        found = await documents.list_documents(self._library, self._visitor.actor, await self._community())
        if self._place.is_deleted:  # the page has gone meanwhile
            return
        self._place.clear()
        with self._place:
            if not found:
                ui.label(self._say(NO_DOCUMENTS)).classes("tl-muted")
            for one in found:
                self._card(one)

    def _card(self, one: DocumentView) -> None:
        say, name = self._say, one.title or one.address
        held = PASSAGES.say(self._visitor.language, passages=one.passages)
        if one.source_kind in LISTS:
            held = DOCUMENT_HOLDS.say(self._visitor.language, documents=one.documents, passages=one.passages)
        with ui.element("article").classes("tl-card"):
            with ui.element("div").classes("tl-meta"):
                heading(name, 3)
                chip(held)
                if one.error is not None:
                    chip(describe_error(one.error, self._visitor.language), "warn")
                ui.label(one.address).classes("tl-muted")
            with ui.element("div").classes("tl-actions"):
                if one.source_kind not in LISTS and one.passages:
                    action(say(texts.READ_DOCUMENT), "o_visibility", partial(self._open, one))
                if one.source_kind != "upload":
                    action(say(texts.REFRESH), "o_refresh", partial(self._refresh, one))
                remove = action(say(texts.REMOVE), "o_delete", partial(self._remove, one), kind="danger")
                remove.props(f'aria-label="{say(texts.REMOVE)}: {one.id}"')

    async def _on_upload(self, event: events.UploadEventArguments) -> None:
        await self._add(Upload(event.file.name, await event.file.read()))

    async def _on_address(self) -> None:
        if address := (self._address.value or "").strip():
            await self._add(address)

    async def _add(self, given: Given) -> None:
        async def once() -> None:
            self._tell(self._say(texts.READING))
            try:
                outcome = await documents.add(
                    self._library, self._visitor.actor, await self._community(), given
                )
            finally:
                self._tell("")
            self._tell(shown.described(outcome, self._visitor.language))
            if not self._address.is_deleted:
                self._address.set_value("")
            await self.show()

        with self._place:
            await showing_errors(once)()

    async def _open(self, one: DocumentView) -> None:
        found = await documents.show(self._library, self._visitor.actor, await self._community(), str(one.id))
        with self._place, ui.dialog() as dialog, ui.element("div").classes("tl-card tl-passages"):
            heading(one.title or one.address, 2)
            for passage in found.passages:
                with ui.element("section").classes("tl-passage"):
                    where = " › ".join(passage.titles)
                    if passage.page is not None:
                        where += f" · {self._say(SOURCE_PAGE, page=passage.page)}"
                    ui.label(where).classes("tl-overline")
                    prose(passage.text)
            action(self._say(texts.CLOSE), "o_close", dialog.close).props("autofocus")
        dialog.on("hide", dialog.delete)
        dialog.open()

    async def _refresh(self, one: DocumentView) -> None:
        async def once() -> None:
            outcomes = await documents.refresh(
                self._library, self._visitor.actor, await self._community(), str(one.id)
            )
            self._tell("\n\n".join(shown.described(one, self._visitor.language) for one in outcomes))
            await self.show()

        with self._place:
            await showing_errors(once)()

    async def _remove(self, one: DocumentView) -> None:
        async def once() -> None:
            gone = await documents.remove(
                self._library, self._visitor.actor, await self._community(), str(one.id)
            )
            self._tell("")  # it may have told that this document is in
            tell(self._say(DOCUMENT_REMOVED, name=gone.title or gone.address))
            await self.show()

        with self._place:
            await showing_errors(once)()

    def _tell(self, text: str) -> None:
        if not self._outcome.is_deleted:
            self._outcome.set_content(as_html(text))

    async def _community(self) -> int:
        """The id of the visitor's community, which is made when it asks for the first time."""
        if self._visitor.actor.community_id is not None:
            return self._visitor.actor.community_id
        home = self._console.home_of(self._visitor)
        database = self._console.core.database
        async with database.session(read_only=True) as session:
            known = await record.community_id(session, home)
        if known is not None:
            return known
        async with database.session() as session:
            made = await journal.community(session, home.platform, home.community, name=home.community_name)
            return made.id or 0
