"""What the console's pages share: the frame around them, how errors are shown, and small pieces of look."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from functools import wraps
from html import escape
from typing import Final, ParamSpec

from nicegui import ui

from bot.console import texts
from bot.console.markdown import as_html
from bot.console.pages import GROUPS, PAGES
from bot.console.plain import stylesheet
from bot.console.visitor import LOOKS, Look, Visitor, visitor_of
from bot.disclosure import sentence_for_member
from bot.texts import GENERAL, Text, describe_error
from feedback.errors import ThumbloopError
from feedback.statistics import MOST_COUNTED

Arguments = ParamSpec("Arguments")
Cell = str | Callable[[], object]
"""What stands in a table's cell: a text, or a function that builds it."""

UNDO_EVENT: Final = "tl-undo"
"""What the button in a note sends, with the number of what the note tells of."""
MOST_NOTES: Final = 3
"""So many notes with a button stand at once: who decides fast sees the page behind them."""
_NAVIGATION: Final = "pages"
_LOOK_ICONS: Final[dict[Look, str]] = {"auto": "o_contrast", "light": "o_light_mode", "dark": "o_dark_mode"}
_LOOK_VALUES: Final[dict[Look, bool | None]] = {"auto": None, "light": False, "dark": True}
_MARK: Final = (
    '<svg viewBox="0 0 24 24" width="22" height="22" fill="none" stroke="currentColor" stroke-width="2" '
    'stroke-linecap="round" stroke-linejoin="round" aria-hidden="true">'
    '<path d="M20 12a8 8 0 1 1-2.6-5.9"/><path d="M20.5 2.8v4h-4"/>'
    '<path d="M8.6 12.2l2.4 2.4 4.6-5"/></svg>'
)
# a form, so that signing out is a request of the page's own origin
_SIGN_OUT: Final = """
const form = document.createElement('form');
form.method = 'post';
form.action = document.querySelector('.tl-brand').getAttribute('href').replace(/\\/$/, '') + '/sign-out';
document.body.append(form);
form.submit();
"""
# answers link elsewhere; the page with the conversation stays. Then the buttons that copy code
_LINKS: Final = """
document.addEventListener('click', (event) => {
  const link = event.target.closest('.tl-prose a[href]');
  if (!link) return;
  event.preventDefault();
  window.open(link.href, '_blank', 'noopener,noreferrer');
});
// the clipboard is there on https and on this machine alone; elsewhere the code is selected, for Ctrl+C
document.addEventListener('click', async (event) => {
  const button = event.target.closest('.tl-copy');
  if (!button) return;
  const code = button.nextElementSibling;
  if (navigator.clipboard) {
    await navigator.clipboard.writeText(code.textContent);
    button.dataset.done = 'yes';
  } else {
    getSelection().selectAllChildren(code);
  }
});
"""


MARK_ICON: Final = _MARK.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ').replace(
    "currentColor", "#0f766e"
)
"""The mark as the browser's tab shows it."""


@contextmanager
def frame(visitor: Visitor, active: str, title: Text) -> Iterator[None]:
    """A page with header and footer; its content goes in the block."""
    say = visitor.say
    ui.page_title(f"{say(title)} · Thumbloop")
    ui.add_head_html(f"<style>{stylesheet()}</style><script>{_LINKS}</script>")
    client = ui.context.client
    client.page = copy(client.page)  # which all who look at that page share
    client.page.language = "pl" if visitor.language == "pl" else "en-US"
    client.on_exception(lambda error: _tell_unexpected(visitor, error))
    client.on_delete(_let_go)
    around = client.content.parent_slot
    if around is not None:
        around.parent.props("role=none")  # Quasar's page is a <main>, too, with header and navigation in it
    _link("#content", say(texts.SKIP_TO_CONTENT), "tl-skip")
    with ui.element("header").classes("tl-header"):
        with ui.element("button").classes("tl-menu").props(f'type=button popovertarget="{_NAVIGATION}"'):
            ui.icon("o_menu").props('aria-hidden="true"')
            ui.html(say(texts.MENU), sanitize=False, tag="span")
        with _link("/", "", "tl-brand").props('aria-label="Thumbloop"'):
            ui.html(_MARK, sanitize=False, tag="span")
            ui.html("Thumbloop", sanitize=False, tag="span")
        with ui.element("div").classes("tl-preferences"):
            _language_switch(visitor)
            _look_switch(visitor)
            if visitor.signed_in is not None:
                _sign_out(visitor)
    with ui.element("div").classes("tl-body"):
        _navigation(visitor, active)
        main = ui.element("main").classes(f"tl-main tl-main-{active.strip('/') or 'chat'}")
        with main.props("id=content tabindex=-1"):
            yield
    if visitor.signed_in is None:
        with ui.element("footer").classes("tl-footer"):
            ui.label(say(texts.LOCAL_ONLY))


def _let_go() -> None:
    """Free a page that is left at once, and not in a search for garbage that holds everybody up.

    NiceGUI's elements hold their look in three collections each, which hold themselves by their handlers.
    """
    for element in ui.context.client.elements.values():
        for part in (element.props, element.classes, element.style):
            part._change_handlers.clear()  # nothing public lets them go


def _navigation(visitor: Visitor, active: str) -> None:
    """Links to the pages that the visitor's role opens; on narrow screens the menu button shows them."""
    say, listed = visitor.say, ""
    prefix = ui.context.client.request.scope.get("root_path", "")
    for group, name in GROUPS.items():
        links = "".join(
            f'<li><a class="tl-nav-link" href="{escape(prefix + page.path)}"'
            f"{' aria-current=page' if page.path == active else ''}>"
            f'<i class="q-icon notranslate material-icons-outlined" aria-hidden="true">'
            f"{page.icon.removeprefix('o_')}</i><span>{escape(say(page.name))}</span></a></li>"
            for page in PAGES
            if page.group == group and (not page.needs or visitor.may(page.needs))
        )
        if links and name is not None:
            listed += f'<div class="tl-overline tl-nav-group">{escape(say(name))}</div>'
        listed += f"<ul>{links}</ul>" if links else ""
    place = _html(listed, "nav").classes("tl-nav")
    place.props(f'id={_NAVIGATION} popover=auto aria-label="{say(texts.PAGES)}"')


def showing_errors(
    action: Callable[Arguments, Awaitable[None]],
) -> Callable[Arguments, Awaitable[None]]:
    """An event handler whose refusals are shown as their sentence."""

    @wraps(action)
    async def guarded(*arguments: Arguments.args, **named: Arguments.kwargs) -> None:
        try:
            await action(*arguments, **named)
        except ThumbloopError as error:
            tell(sentence_of(error, visitor_of(ui.context.client.request)), kind="negative")

    return guarded


def sentence_of(error: Exception, visitor: Visitor) -> str:
    """What somebody reads of an error in their language; the operator reads all of what we raised.

    Most errors have no Polish sentence of their own: after the general one an operator reads the original.
    """
    if visitor.actor.role != "operator" or not isinstance(error, ThumbloopError):
        return sentence_for_member(error, visitor.language)
    if visitor.language == "en":
        return str(error)
    said = describe_error(error, visitor.language)
    return f"{said} ({error})" if said in [text.say(visitor.language) for text in GENERAL] else said


def tell(sentence: str, *, kind: str = "positive") -> None:
    """Show a sentence for a moment; screen readers read it out."""
    ui.notify(
        sentence,
        type="negative" if kind == "negative" else None,
        position="bottom",
        classes=f"tl-note tl-{kind}",
    )


def tell_undoable(sentence: str, undo: str, number: int) -> None:
    """Show what was done with a button `undo`, which sends the page UNDO_EVENT with that number."""
    # a handler in a notification can only be given in the browser
    options = json.dumps({"message": sentence, "position": "bottom", "classes": "tl-note", "timeout": 8000})
    label = json.dumps(undo)
    ui.run_javascript(
        f"const notes = (window.tlNotes ??= []); if (notes.length >= {MOST_NOTES}) notes.shift().close(); "
        f"notes.push({{number: {number}, close: Quasar.Notify.create({{...{options}, "
        f"actions: [{{label: {label}, noCaps: true, class: 'tl-note-action', "
        f"handler: () => emitEvent('{UNDO_EVENT}', {number})}}]}})}})"
    )


def close_undoable(number: int) -> None:
    """Take away the note with that number: what it told of is undone."""
    ui.run_javascript(
        f"for (const note of window.tlNotes ?? []) if (note.number === {number}) note.close(); "
        f"window.tlNotes = window.tlNotes?.filter((note) => note.number !== {number})"
    )


def enable(button: ui.button, enabled: bool, why: str) -> None:
    """Let a button be pressed, or not: then its title says `why`."""
    button.set_enabled(enabled)
    button.props(remove="title") if enabled else button.props(f'title="{escape(why)}"')


def prose(text: str, is_marked: Callable[[str], bool] | None = None) -> ui.html:
    """A text that a model or a person wrote, as Markdown; HTML in it is not interpreted.

    The sentences that `is_marked` says are marked.
    """
    return ui.html(as_html(text, is_marked)).classes("tl-prose")


def action(
    label: str, icon: str, on_click: Callable[[], object], *, kind: str = "quiet", hint: str = ""
) -> ui.button:
    """A button with a label. `kind` is primary, quiet or danger; `hint` a key that does the same."""
    button = ui.button(label, icon=icon, on_click=on_click, color=None)
    button.props("unelevated no-caps").classes(f"tl-button tl-{kind}")
    if hint:
        with button:
            ui.html(hint, sanitize=False, tag="kbd").props('aria-hidden="true"')
        button.props(f'aria-keyshortcuts="{hint}"')
    return button


def icon_button(label: str, icon: str, on_click: Callable[[], object]) -> ui.button:
    """A button that is only an icon; `label` says what it does."""
    button = ui.button(icon=icon, on_click=on_click, color=None)
    return button.props(f'flat round aria-label="{label}" title="{label}"').classes("tl-icon")


def drop_zone(upload: ui.upload, label: str) -> ui.upload:
    """Let `upload` say what to drop on it, with a button that opens files for those who drop nothing."""
    # the framework's own button and field have no names
    upload.add_slot(
        "header",
        f"""<div class="row no-wrap items-center q-pa-sm">
          <div class="q-uploader__title tl-drop-label">{escape(label)}</div>
          <q-btn flat round dense icon="o_add" aria-label="{escape(label)}" @click="props.pickFiles" />
          <label class="tl-unseen"><span>{escape(label)}</span><q-uploader-add-trigger /></label></div>""",
    )
    return upload.props(f'flat bordered role=group aria-label="{escape(label)}"').classes("tl-drop")


def suggestion(question: str, ask: Callable[[str], Awaitable[None]]) -> None:
    """A question that a click asks."""
    with ui.element("button").props("type=button").classes("tl-suggestion") as button:
        ui.label(question)
    button.on("click", lambda: ask(question))


async def confirmed(question: str, more: str, yes: str, no: str) -> bool:
    """Ask back in a dialog whether that shall be done; never once the page has gone."""
    with ui.dialog() as dialog, ui.element("div").classes("tl-card tl-dialog"):
        dialog.props(f'aria-label="{question}"')
        heading(question, 2)
        if more:
            ui.label(more).classes("tl-muted")
        with ui.element("div").classes("tl-actions"):
            action(yes, "o_check", lambda: dialog.submit(True), kind="primary")
            action(no, "o_close", lambda: dialog.submit(False)).props("autofocus")
    return await answered(dialog)


async def answered(dialog: ui.dialog) -> bool:
    """Whether the dialog was confirmed, which it never is once its page has gone; it is closed then."""
    agreed = bool(await dialog)
    if not dialog.is_deleted:
        dialog.delete()
    return agreed


def chip(text: str, kind: str = "plain") -> ui.label:
    """A short word with a background."""
    return ui.label(text).classes(f"tl-chip tl-chip-{kind}")


def empty_state(icon: str, title: str, more: str) -> ui.element:
    """What a page says when it has nothing to show, and what to do about it; buttons may go in its block."""
    with ui.element("div").classes("tl-empty") as place:
        ui.icon(icon).props('aria-hidden="true"')
        heading(title, 2)
        ui.label(more).classes("tl-muted")
    return place


def link(path: str, text: str) -> ui.link:
    """A link within the console, without a look of its own."""
    return _link(path, text, "")


def data_table(columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
    """A table whose rows become cards on narrow screens; a cell is a text, or a function that builds it.

    Texts are HTML at once: the framework takes as long for an element as for a whole table of text.
    """
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in columns)
    with ui.element("table").classes("tl-table"):
        _html(f"<tr>{head}</tr>", "thead")
        if all(isinstance(cell, str) for row in rows for cell in row):
            _html("".join(f"<tr>{_text_cells(columns, row)}</tr>" for row in rows), "tbody")
            return
        with ui.element("tbody"):
            for row in rows:
                with ui.element("tr"):
                    for tag, attributes, cell in _cells(columns, row):
                        if isinstance(cell, str):
                            _html(f"<div>{escape(cell)}</div>", tag).props(attributes)
                        else:
                            with ui.element(tag).props(attributes):
                                cell()


def _cells(columns: Sequence[str], row: Sequence[Cell]) -> Iterator[tuple[str, str, Cell]]:
    """Each cell with its element and attributes; the first names its row."""
    for number, (column, cell) in enumerate(zip(columns, row, strict=True)):
        named = f'data-label="{escape(column)}"'
        yield ("td", named, cell) if number else ("th", f"{named} scope=row", cell)


def _text_cells(columns: Sequence[str], row: Sequence[Cell]) -> str:
    return "".join(
        f"<{tag} {attributes}><div>{escape(str(cell))}</div></{tag}>"
        for tag, attributes, cell in _cells(columns, row)
    )


def as_count(number: int, most: int = MOST_COUNTED) -> str:
    """A number that was counted as far as `most`."""
    return f"{number}" if number < most else f"{most}+"


def heading(text: str, level: int = 2) -> ui.html:
    """A heading of one of our texts."""
    return ui.html(text, sanitize=False, tag=f"h{level}").classes(f"tl-h{level}")


def _html(content: str, tag: str) -> ui.html:
    """HTML of our own making."""
    return ui.html(content, sanitize=False, tag=tag)


def _link(path: str, text: str, classes: str) -> ui.link:
    return ui.link(text, path).classes(replace=classes)


def _language_switch(visitor: Visitor) -> None:
    other = visitor.say(texts.OTHER_LANGUAGE)
    button = ui.button(
        "PL" if visitor.language == "en" else "EN",
        on_click=lambda: visitor.choose_language("pl" if visitor.language == "en" else "en"),
        color=None,
    )
    button.props(f'flat no-caps aria-label="{other}" title="{other}"').classes("tl-icon")


def _sign_out(visitor: Visitor) -> None:
    label = visitor.say(texts.SIGN_OUT)
    icon_button(label, "o_logout", lambda: ui.run_javascript(_SIGN_OUT))


def _look_switch(visitor: Visitor) -> None:
    dark = ui.dark_mode(_LOOK_VALUES[visitor.look])

    def show() -> None:
        label = visitor.say(texts.LOOK[visitor.look])
        button.props(f'icon={_LOOK_ICONS[visitor.look]} aria-label="{label}" title="{label}"')

    def change() -> None:
        visitor.choose_look(LOOKS[(LOOKS.index(visitor.look) + 1) % len(LOOKS)])
        dark.set_value(_LOOK_VALUES[visitor.look])
        show()

    button = icon_button("", _LOOK_ICONS[visitor.look], change)
    show()


def _tell_unexpected(visitor: Visitor, error: Exception) -> None:
    tell(sentence_for_member(error, visitor.language), kind="negative")
