"""The pages of datasets: their versions, what rules left out, contradictions, and one version from inside."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

from fastapi import FastAPI
from nicegui import ui
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from bot.commands import dataset as datasets
from bot.commands.dataset import ContradictionView, DatasetView
from bot.console import texts
from bot.console.context import Console
from bot.console.layout import (
    action,
    chip,
    data_table,
    empty_state,
    frame,
    heading,
    link,
    prose,
    showing_errors,
    tell,
)
from bot.console.reports import not_found
from bot.console.visitor import Visitor
from feedback.errors import NotFound, ThumbloopError
from feedback.tables import Dataset
from training.data.dataset import SPLITS
from training.data.exceptions import OVERRULABLE
from training.data.hygiene.rule_texts import reason_said, rule_said
from training.data.pair_files.reading import read_pairs
from training.data.pair_files.writing import write_pairs

KINDS: Final = ("jsonl", "csv", "parquet")
"""What a split is downloaded as."""
SHOWN: Final = 50
"""Versions on one page."""
_DIFFERING: Final = 20
"""Questions named of each kind of difference."""


async def datasets_page(console: Console, visitor: Visitor) -> None:
    """Build the list of versions for one visitor, with the contradictions that wait to be settled."""
    say = visitor.say
    found = await datasets.list_datasets(console.core.database)
    with frame(visitor, "/datasets", texts.DATASETS):
        with ui.element("div").classes("tl-head tl-head-stacked"):
            heading(say(texts.DATASETS), 1)
            ui.label(say(texts.DATASETS_MORE)).classes("tl-muted")
        if not found:
            with empty_state("o_dataset", say(texts.NO_DATASETS), say(texts.NO_DATASETS_MORE)):
                link("/review", say(texts.REVIEW)).classes("tl-button tl-primary tl-link-button")
        else:
            columns = (
                texts.DATASET,
                texts.PAIRS,
                texts.LEFT_OUT_COUNT,
                texts.LANGUAGES_COLUMN,
                texts.CREATED,
            )
            with ui.element("div").classes("tl-card tl-table-card"):
                data_table([say(name) for name in columns], [_version(visitor, one) for one in found[:SHOWN]])
        _Contradictions(console, visitor)


def _version(visitor: Visitor, one: DatasetView) -> list[str | Callable[[], object]]:
    dropped = sum(found["dropped"] for found in one.hygiene.values())
    return [
        lambda: link(f"/datasets/{one.label}", one.label).classes("tl-inline-link"),
        " · ".join(f"{number} {visitor.say(texts.SPLITS[split])}" for split, number in one.pairs.items()),
        f"{dropped + sum(n for why, n in one.left_out.items() if why != 'hygiene')}",
        ", ".join(f"{language} {number}" for language, number in one.languages.items()),
        f"{one.created_at:%Y-%m-%d %H:%M} UTC",
    ]


class _Contradictions:
    """Approved answers that contradict one another, and the button that keeps one of them."""

    def __init__(self, console: Console, visitor: Visitor) -> None:
        self._console = console
        self._visitor = visitor
        self._say = visitor.say
        with ui.element("section").classes("tl-section"):
            heading(self._say(texts.CONTRADICTIONS), 2)
            ui.label(self._say(texts.CONTRADICTIONS_MORE)).classes("tl-muted")
            self._place = ui.element("div").classes("tl-documents")
            # only when asked: every approved answer is read
            with self._place, ui.element("div").classes("tl-actions"):
                self._look = action(
                    self._say(texts.LOOK_FOR_CONTRADICTIONS), "o_search", showing_errors(self._find)
                )

    async def _find(self) -> None:
        self._look.props("loading")
        console = self._console
        found = await datasets.contradictions(
            console.core.database, console.retraining.settings, console.assistant.options.persona
        )
        if self._place.is_deleted:
            return
        self._place.clear()
        with self._place:
            if not found:
                ui.label(self._say(texts.NO_CONTRADICTIONS)).classes("tl-muted").props("role=status")
            for one in found:
                self._card(one)

    def _card(self, one: ContradictionView) -> None:
        with ui.element("article").classes("tl-card"):
            heading(one.answers[0].question, 3)
            with ui.element("div").classes("tl-sides"):
                for side in one.answers:
                    with ui.element("div").classes("tl-side"):
                        ui.label(self._say(texts.TURN, number=side.turn)).classes("tl-overline")
                        prose(side.answer)
                        others = [other.turn for other in one.answers if other.turn != side.turn]
                        keep = partial(showing_errors(self._settle), side.turn, others)
                        button = action(self._say(texts.KEEP_THIS), "o_check", keep)
                        button.props(f'aria-label="{self._say(texts.KEEP_THIS)}: {side.turn}"')

    async def _settle(self, keep: int, against: list[int]) -> None:
        await datasets.settle(self._console.core.database, self._visitor.actor, keep=keep, against=against)
        tell(self._say(texts.SETTLED, turn=keep, others=", ".join(map(str, against))))
        with self._place:
            await self._find()


async def dataset_page(console: Console, visitor: Visitor) -> None:
    """Build the page of the version that the address names; `?split=`, `?at=`, `?search=`, `?against=`."""
    say, database = visitor.say, console.core.database
    try:
        row = await datasets.find(database, visitor.address.get("dataset", ""))
    except NotFound:
        with (
            frame(visitor, "/datasets", texts.DATASETS),
            empty_state("o_dataset", say(texts.NO_SUCH_DATASET), say(texts.NO_SUCH_DATASET_MORE)),
        ):
            link("/datasets", say(texts.ALL_DATASETS)).classes("tl-button tl-primary tl-link-button")
        return
    one = datasets.view(row)
    with frame(visitor, "/datasets", texts.DATASETS):
        with ui.element("div").classes("tl-head"):
            heading(one.label, 1)
            ui.label(f"{one.created_at:%Y-%m-%d %H:%M} UTC").classes("tl-muted")
            link("/datasets", say(texts.ALL_DATASETS)).classes("tl-inline-link tl-push")
        _downloads(visitor, one)
        await _Rules(console, visitor, one).show()
        await _difference(console, visitor, row)
        await _browse(console, visitor, row)


def _downloads(visitor: Visitor, one: DatasetView) -> None:
    say = visitor.say
    with ui.element("section").classes("tl-card"):
        heading(say(texts.DOWNLOAD), 2)
        with ui.element("ul").classes("tl-parts tl-downloads"):
            for split, number in one.pairs.items():
                with ui.element("li"):
                    name = say(texts.SPLITS[split])
                    ui.label(f"{name} ({number})").classes("tl-strong")
                    for kind in KINDS:
                        file = link(f"/datasets/{one.label}/{split}.{kind}", kind.upper())
                        file.classes("tl-inline-link").props(
                            f'download aria-label="{say(texts.DOWNLOAD)}: {name}, {kind.upper()}"'
                        )


class _Rules:
    """What each rule left out or changed, and the buttons that overrule it."""

    def __init__(self, console: Console, visitor: Visitor, one: DatasetView) -> None:
        self._database = console.core.database
        self._visitor = visitor
        self._say = visitor.say
        self._one = one
        with ui.element("section").classes("tl-section"):
            heading(self._say(texts.WHAT_RULES_DID), 2)
            ui.label(self._say(texts.WHAT_RULES_DID_MORE)).classes("tl-muted")
            self._place = ui.element("div").classes("tl-documents")

    async def show(self, opened: str = "") -> None:
        """Read what is overruled by now, and show all rules that did something, one of them `opened`."""
        overruled = await datasets.overruled(self._database)
        self._place.clear()
        with self._place:
            if not self._one.hygiene:
                ui.label(self._say(texts.NO_RULE_DID_ANYTHING)).classes("tl-muted")
            for rule, found in self._one.hygiene.items():
                with ui.element("details").classes("tl-card tl-sample") as details:
                    if rule == opened:
                        details.props("open")
                    with ui.element("summary"):
                        ui.label(rule_said(rule, self._visitor.language))
                        for key, name in (("dropped", texts.DROPPED), ("changed", texts.CHANGED)):
                            if found[key]:
                                chip(self._say(name, count=found[key]))
                    for why, number in found["why"].items():
                        said = reason_said(why, self._visitor.language)
                        ui.label(f"{said}: {number}").classes("tl-muted")
                    for example in found["examples"]:
                        turn = int(example["key"])
                        self._example(rule, example, is_kept=rule in overruled.get(turn, ()))

    def _example(self, rule: str, example: dict[str, str], *, is_kept: bool) -> None:
        turn = int(example["key"])
        with ui.element("div").classes("tl-side tl-gap"):
            why = reason_said(example["why"], self._visitor.language)
            ui.label(f"{self._say(texts.TURN, number=turn)} · {why}").classes("tl-overline")
            ui.label(example["question"]).classes("tl-strong")
            ui.label(example["answer"]).classes("tl-muted")
            if rule not in OVERRULABLE:
                ui.label(self._say(texts.NEVER_OVERRULED)).classes("tl-muted")
                return
            if is_kept:
                chip(self._say(texts.IS_KEPT), "serving")
            name = texts.DROP_AGAIN if is_kept else texts.KEEP_ANYWAY
            change = partial(showing_errors(self._overrule), turn, rule, not is_kept)
            button = action(self._say(name), "o_undo" if is_kept else "o_add_task", change)
            button.props(f'aria-label="{self._say(name)}: {turn}"')

    async def _overrule(self, turn: int, rule: str, keep: bool) -> None:
        await datasets.overrule(self._database, self._visitor.actor, turn, rule, keep=keep)
        said = rule_said(rule, self._visitor.language)
        tell(self._say(texts.KEPT if keep else texts.DROPPED_AGAIN, turn=turn, rule=said))
        with self._place:
            await self.show(opened=rule)


async def _difference(console: Console, visitor: Visitor, row: Dataset) -> None:
    """How this version differs from the one that the address names, or from the one before it."""
    say, database = visitor.say, console.core.database
    against = visitor.address.get("against", f"{row.name}@{row.version - 1}")
    with ui.element("section").classes("tl-section"):
        heading(say(texts.DATASET_DIFFERENCE), 2)
        try:
            older = await datasets.find(database, against)
        except NotFound:
            ui.label(say(texts.FIRST_VERSION)).classes("tl-muted")
            return
        found = await datasets.difference(database, older, row, shown=_DIFFERING)
        ui.label(say(texts.DIFFERENCE_MORE, other=against)).classes("tl-muted")
        for name, turns in (
            (texts.ADDED, found.added),
            (texts.REMOVED, found.removed),
            (texts.CHANGED_PAIRS, found.changed),
        ):
            with ui.element("details").classes("tl-behind"):
                with ui.element("summary"):
                    ui.label(say(name, count=len(turns)))
                with ui.element("ul").classes("tl-list"):
                    for turn in turns[:_DIFFERING]:
                        with ui.element("li"):
                            ui.label(f"{turn}: {found.questions.get(turn, '')}")


async def _browse(console: Console, visitor: Visitor, row: Dataset) -> None:
    """The pairs of one split in their order, a page at a time, those that hold a word if asked."""
    say, address = visitor.say, visitor.address
    split, containing = address.get("split", SPLITS[0]), address.get("search", "")
    at = int(address["at"]) if address.get("at", "").isascii() and address.get("at", "").isdigit() else 0
    label = f"{row.name}@{row.version}"

    def there(**more: object) -> str:
        return f"/datasets/{label}?" + urlencode({"split": split, "search": containing, **more})

    with ui.element("section").classes("tl-section"):
        with ui.element("div").classes("tl-head"):
            heading(say(texts.BROWSE), 2)
            with ui.element("div").classes("tl-choices").props("role=group"):
                for one in SPLITS:
                    choice = link(f"/datasets/{label}?split={one}", say(texts.SPLITS[one]))
                    if one == split:
                        choice.props("aria-current=true")
            search = ui.input(say(texts.SEARCH), value=containing).classes("tl-text tl-search tl-push")
            search.props("outlined dense clearable")
            search.on("keydown.enter", lambda: ui.navigate.to(there(search=search.value or "")))
        try:
            path = datasets.split_file(console.core.data, row, split)
            page = await asyncio.to_thread(datasets.pairs, path, at=at, containing=containing)
        except (ThumbloopError, ValueError):  # a place in the file that is the beginning of no line
            ui.label(say(texts.NO_SUCH_PLACE)).classes("tl-refusal")
            return
        if not page.pairs:
            ui.label(say(texts.NOTHING_FOUND)).classes("tl-muted")
        for pair in page.pairs:
            with ui.element("details").classes("tl-card tl-sample"):
                with ui.element("summary"):
                    ui.label(pair.question)
                with ui.element("div").classes("tl-meta"):
                    chip(pair.task_type)
                    chip(pair.language)
                    chip(say(texts.TURN, number=pair.turn) if pair.turn else say(texts.PACKAGED))
                prose(pair.answer)
        if page.next_at is not None:
            with ui.element("div").classes("tl-actions"):
                link(there(at=page.next_at), say(texts.NEXT_PAIRS)).classes("tl-button tl-link-button")


def serve_downloads(app: FastAPI, console: Console) -> None:
    """Let `app` answer /datasets/NAME@VERSION/SPLIT.KIND with the pairs of a frozen split."""

    @app.get("/datasets/{dataset}/{split}.{kind}", response_model=None)
    async def download(request: Request, dataset: str, split: str, kind: str) -> Response:
        try:
            row = await datasets.find(console.core.database, dataset)
            frozen = datasets.split_file(console.core.data, row, split)
            if kind not in KINDS:
                raise NotFound("kind of file", kind, f"There are {', '.join(KINDS)}.")
            name = f"{row.name}-{row.version}-{split}.{kind}"
            if kind == "jsonl":
                return FileResponse(frozen, filename=name)
            folder = tempfile.TemporaryDirectory(prefix="thumbloop-download-")
            file = Path(folder.name, name)
            await asyncio.to_thread(lambda: write_pairs(file, read_pairs(frozen)))
        except ThumbloopError as error:
            return not_found(request, error)
        return FileResponse(file, filename=name, background=BackgroundTask(folder.cleanup))
