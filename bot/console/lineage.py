"""The pages of lineage: an adapter with all that is behind it, and a turn with what became of it.

Drawn as stations along the loop, in both directions; each leads to its own page.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from nicegui import ui

from bot.commands import adapter as adapters
from bot.commands import lineage
from bot.commands.adapter import EVERYWHERE, AdapterDetails
from bot.commands.lineage import TurnStory
from bot.console import texts
from bot.console.context import Console
from bot.console.layout import chip, data_table, empty_state, frame, heading, link
from bot.console.reports import MOST_ID, why
from bot.console.visitor import Visitor
from bot.texts import ANSWER, Text
from feedback.errors import NotFound, UsageError
from training.adapters.lineage import AdapterLineage
from training.adapters.registry import BASE


@dataclass(frozen=True)
class Station:
    """One stop: what it is, which one, more about it, and where it leads ("" is nowhere)."""

    name: Text
    which: str
    more: str = ""
    path: str = ""


async def adapter_page(console: Console, visitor: Visitor) -> None:
    """Build the page of the adapter that the address names."""
    say, core = visitor.say, console.core
    label = visitor.address.get("adapter", "")
    try:
        line = await lineage.of_adapter(core.database, visitor.actor, label)
    except (NotFound, UsageError):
        _nothing(visitor, "/adapters", texts.ADAPTERS, texts.NO_SUCH_ADAPTER, texts.ALL_ADAPTERS)
        return
    own = visitor.actor.community_id
    details = await adapters.show(core.database, core.data, line.adapter, only_of=own)
    assert details is not None, "what has a lineage is no base model"
    with frame(visitor, "/adapters", texts.ADAPTERS):
        with ui.element("div").classes("tl-head"):
            heading(line.adapter, 1)
            known = texts.STATES.get(line.state)
            chip(say(known) if known else line.state, line.state)
            link("/adapters", say(texts.ALL_ADAPTERS)).classes("tl-inline-link tl-push")
        if details.fault:
            ui.label(details.fault).classes("tl-refusal")
        heading(say(texts.WHERE_FROM), 2)
        _drawn(visitor, _behind(visitor, line))
        _served(visitor, details)
        _origins(visitor, line)


async def turn_page(console: Console, visitor: Visitor) -> None:
    """Build the page of the turn that the address names."""
    say, asked = visitor.say, visitor.address.get("turn", "")
    number = int(asked) if asked.isascii() and asked.isdigit() and len(asked) < 11 else 0
    try:
        if number > MOST_ID:
            raise NotFound("turn", number)
        story = await lineage.of_turn(console.core.database, visitor.actor, number)
    except NotFound:
        _nothing(visitor, "/review", texts.TURN_TITLE, texts.NO_SUCH_TURN, texts.REVIEW)
        return
    with frame(visitor, "/review", texts.TURN_TITLE):
        with ui.element("div").classes("tl-head"):
            heading(say(texts.TURN_HEADING, number=story.lineage.turn), 1)
            ui.label(story.lineage.community).classes("tl-muted")
        heading(say(texts.WHAT_ANSWERED), 2)
        _drawn(visitor, _answered_by(visitor, story))
        heading(say(texts.WHAT_BECAME), 2)
        _drawn(visitor, _became(visitor, story))


def _behind(visitor: Visitor, line: AdapterLineage) -> list[Station]:
    """From an adapter back to the turns."""
    say = visitor.say
    may_see = visitor.may("dataset.view")
    stations = [Station(texts.ADAPTER, line.adapter, line.base_model, f"/adapters/{line.adapter}")]
    stations += [Station(texts.CONTINUES, one, "", f"/adapters/{one}") for one in line.continues]
    if line.run is not None:
        state = texts.RUN_STATES.get(line.run.state)
        named = say(texts.RUN, number=line.run.run)
        stations.append(
            Station(texts.RUN_COLUMN, named, say(state) if state else line.run.state, f"/runs/{line.run.run}")
        )
    for one in line.datasets:
        pairs = say(texts.PAIRS_COUNT, count=sum(one.pairs.values()))
        stations.append(
            Station(texts.DATASET, one.dataset, pairs, f"/datasets/{one.dataset}" if may_see else "")
        )
    reviewers = dict.fromkeys(origin.reviewer for origin in line.origins)
    stations.append(Station(texts.REVIEW, ", ".join(reviewers) or "–"))
    stations.append(Station(texts.TURNS, say(texts.MEMBERS_COUNT, count=len(line.members))))
    return stations


def _answered_by(visitor: Visitor, story: TurnStory) -> list[Station]:
    say, found = visitor.say, story.lineage
    turn = Station(texts.TURN_TITLE, f"{found.turn}")
    if not found.adapter and not found.base_model:
        return [turn, Station(ANSWER, say(texts.WRITTEN_BY_PEOPLE))]
    if not found.adapter:
        return [turn, Station(texts.ADAPTER, say(texts.BASE_MODEL), found.base_model)]
    stations = [turn, Station(texts.ADAPTER, found.adapter, found.base_model, f"/adapters/{found.adapter}")]
    if story.run is not None:
        stations.append(Station(texts.RUN_COLUMN, say(texts.RUN, number=story.run), "", f"/runs/{story.run}"))
    return stations + [
        Station(texts.DATASET, one.dataset, one.adapter, f"/datasets/{one.dataset}") for one in found.behind
    ]


def _became(visitor: Visitor, story: TurnStory) -> list[Station]:
    say, found = visitor.say, story.lineage
    stations = [Station(texts.TURN_TITLE, f"{found.turn}", found.imported)]
    for one in story.decisions:
        more = one.reviewer if one.stands else f"{one.reviewer} · {say(texts.UNDONE)}"
        stations.append(Station(texts.REVIEW, _decided(visitor, one.decision), more))
    stations += [
        Station(texts.DATASET, one.dataset, say(texts.SPLITS[one.split]), f"/datasets/{one.dataset}")
        for one in found.datasets
    ]
    stations += [Station(texts.LEARNT_BY, one, "", f"/adapters/{one}") for one in found.adapters]
    if not found.adapters:
        stations.append(Station(texts.LEARNT_BY, say(texts.NOBODY_YET)))
    return stations


def _drawn(visitor: Visitor, stations: Sequence[Station]) -> None:
    """The stations in order, an arrow between each two."""
    with ui.element("ol").classes("tl-lineage"):
        for one in stations:
            with ui.element("li"):
                place = link(one.path, "") if one.path else ui.element("div")
                with place.classes("tl-tile"):
                    ui.label(visitor.say(one.name)).classes("tl-overline")
                    ui.label(one.which).classes("tl-strong")
                    if one.more:
                        ui.label(one.more).classes("tl-muted")


def _served(visitor: Visitor, details: AdapterDetails) -> None:
    say = visitor.say
    with ui.element("section").classes("tl-section"):
        heading(say(texts.SERVED), 2)
        if not details.deployments:
            ui.label(say(texts.NEVER_SERVED)).classes("tl-muted")
            return
        columns = (texts.WHOM, texts.SINCE, texts.UNTIL_COLUMN, texts.DECIDED_BY, texts.WHY)
        with ui.element("div").classes("tl-card tl-table-card"):
            data_table(
                [say(name) for name in columns],
                [
                    [
                        say(texts.EVERYBODY) if one.whom == EVERYWHERE else one.whom,
                        f"{one.since:%Y-%m-%d %H:%M} UTC",
                        f"{one.until:%Y-%m-%d %H:%M} UTC" if one.until else say(texts.STILL),
                        one.decided_by,
                        why(visitor, one.reason, one.decided_by),
                    ]
                    for one in details.deployments
                ],
            )


def _origins(visitor: Visitor, line: AdapterLineage) -> None:
    """Some of the pairs, each with its review and turn."""
    say = visitor.say
    if not line.origins:
        return
    with ui.element("section").classes("tl-section"):
        heading(say(texts.SOME_PAIRS), 2)
        with ui.element("div").classes("tl-card tl-table-card"):
            data_table(
                [say(name) for name in (texts.QUESTIONS, texts.REVIEW, texts.DATASET, texts.TURN_TITLE)],
                [
                    [
                        one.question,
                        f"{_decided(visitor, one.decision)} · {one.reviewer}",
                        f"{one.dataset} · {say(texts.SPLITS[one.split])}",
                        partial(_turn_link, one.turn),
                    ]
                    for one in line.origins
                ],
            )


def _decided(visitor: Visitor, decision: str) -> str:
    known = texts.DECISIONS.get(decision)
    return visitor.say(known) if known else decision


def _turn_link(turn: int) -> None:
    link(f"/turns/{turn}", f"{turn}").classes("tl-inline-link")


def _nothing(visitor: Visitor, path: str, title: Text, what: Text, back: Text) -> None:
    with frame(visitor, path, title), empty_state("o_account_tree", visitor.say(what), ""):
        link(path, visitor.say(back)).classes("tl-button tl-primary tl-link-button")


def name_link(visitor: Visitor, label: str) -> None:
    """An adapter's name, leading to its page; the base model has none."""
    if label == BASE:
        ui.label(visitor.say(texts.BASE_MODEL))
    else:
        link(f"/adapters/{label}", label).classes("tl-inline-link")
