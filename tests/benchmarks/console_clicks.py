"""How long a click waits while fifty people have pages open and five answers stream.

Run by hand, against a running `thumbloop demo --no-browser`:
`python -m tests.benchmarks.console_clicks [--url URL] [--people N] [--streaming N] [--seconds S] [--json]`.
Each person is a browser of its own as far as the server can tell: a page's HTML and its socket.io connection,
without drawing it. Those who stream ask one question after another; all others click every few seconds on
something that the server answers, most of it from the record. A click is timed from sending its event to the
first that the page hears then; a press on the button of the look needs nothing but the server's attention. Of
a page that streams, messages tell nothing of a click, so its people only ask.
"""

from __future__ import annotations

import argparse
import ast
import asyncio
import json
import random
import re
import secrets
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

import httpx
import socketio

GOAL_MS: Final = 200.0
PAUSE_S: Final = 3.0
"""Between two clicks of a person, on average."""
ESCAPED: Final = (("&#36;", "$"), ("&#96;", "`"), ("&gt;", ">"), ("&lt;", "<"), ("&amp;", "&"))
"""What the framework writes for these characters in a page's elements."""
QUESTIONS: Final = (
    "Why does a LoRA adapter use so little memory?",
    "What is the rank of an adapter good for, and when is a larger one better?",
    "How do I know that my adapter has learnt too much by heart?",
)

Element = dict[str, Any]


def main() -> None:
    """Click, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:8321")
    parser.add_argument("--people", type=int, default=50)
    parser.add_argument("--streaming", type=int, default=5, help="of them")
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--json", action="store_true")
    told = parser.parse_args()
    found = asyncio.run(_clicked(told.url, told.people, told.streaming, told.seconds))
    print(json.dumps(found, indent=1)) if told.json else _print(found)


@dataclass(frozen=True)
class Click:
    """What is clicked: its name, the path of its page, which element and event, and what the event says."""

    name: str
    path: str
    is_it: Callable[[Element], bool]
    event: str = "click"
    argument: Any = None


def _labelled(label: str) -> Callable[[Element], bool]:
    return lambda one: label in (one.get("props", {}).get("label"), one.get("props", {}).get("aria-label"))


def _key(name: str) -> dict[str, Any]:
    held = dict.fromkeys(("altKey", "ctrlKey", "metaKey", "shiftKey"), False)
    return {"action": "keydown", "repeat": False, "key": name, "code": name, "location": 0} | held


CLICKS: Final = (
    Click("chat: conversations", "/", _labelled("Conversations")),
    Click("review: look on", "/review", lambda one: _listens(one, "key"), "key", _key("ArrowRight")),
    Click("list: search", "/review/list", _labelled("Search")),
    *(
        Click(f"{path.strip('/')}: look", path, lambda one: "Look: " in one["props"].get("aria-label", ""))
        for path in ("/overview", "/runs", "/adapters", "/datasets", "/knowledge", "/audit")
    ),
)


def _listens(one: Element, event: str) -> bool:
    return any(listener["type"] == event for listener in one.get("events", ()))


@dataclass
class Person:
    """An open page of the console, as its browser holds it."""

    url: str
    path: str
    elements: dict[str, Element] = field(default_factory=dict)
    client_id: str = ""
    updated: asyncio.Event = field(default_factory=asyncio.Event)

    async def open(self, http: httpx.AsyncClient) -> None:
        """Load the page and connect its socket."""
        answer = await http.get(self.path, headers={"Accept": "text/html", "Accept-Language": "en"})
        answer.raise_for_status()
        raw = re.search(r"parseElements\(String\.raw`(.*?)`\)", answer.text, re.DOTALL)
        query = re.search(r"query: (\{.*?\}),\n", answer.text)
        assert raw is not None and query is not None, "the framework writes its pages otherwise by now"
        text = raw.group(1)
        for written, meant in ESCAPED:
            text = text.replace(written, meant)
        self.elements = json.loads(text)
        told = ast.literal_eval(query.group(1))
        self.client_id = told["client_id"]
        self.socket = socketio.AsyncClient(reconnection=False)
        self.socket.on("*", self._on_message)
        told |= {"document_id": secrets.token_hex(8), "tab_id": secrets.token_hex(8)}
        told["implicit_handshake"] = "true"
        cookies = "; ".join(f"{name}={value}" for name, value in answer.cookies.items())
        await self.socket.connect(
            self.url + "?" + "&".join(f"{name}={value}" for name, value in told.items()),
            headers={"Cookie": cookies},
            transports=["websocket"],
            socketio_path="/_nicegui_ws/socket.io",
            wait_timeout=60,
        )

    def _on_message(self, kind: str, told: dict[str, Any]) -> None:
        if kind == "update":
            self.elements |= {number: one for number, one in told.items() if isinstance(one, dict)}
        self.updated.set()

    def find(self, is_it: Callable[[Element], bool]) -> tuple[str, Element]:
        """The element that is it, with its number."""
        return next((number, one) for number, one in self.elements.items() if "props" in one and is_it(one))

    async def send(self, number: str, element: Element, event: str, argument: Any) -> None:
        """Send an event of an element."""
        listener = next(one for one in element["events"] if one["type"] == event)
        await self.socket.emit(
            "event",
            {
                "id": int(number),
                "client_id": self.client_id,
                "listener_id": listener["listener_id"],
                "args": [json.dumps(argument)],
            },
        )

    async def click(self, click: Click) -> float:
        """Milliseconds from the event to the first message that follows."""
        number, element = self.find(click.is_it)
        self.updated.clear()
        began = time.perf_counter()
        await self.send(number, element, click.event, click.argument)
        async with asyncio.timeout(60):
            await self.updated.wait()
        return (time.perf_counter() - began) * 1000

    async def ask(self, question: str) -> None:
        """Ask, and wait until the answer is whole."""
        number, field_ = self.find(lambda one: _listens(one, "keydown"))
        await self.send(number, field_, "keydown", question)
        while True:
            await self.updated.wait()
            self.updated.clear()
            answers = [one for one in self.elements.values() if "tl-answer" in one.get("class", ())]
            if answers and answers[-1]["props"].get("aria-busy") == "false":
                return


async def _clicked(url: str, people: int, streaming: int, seconds: float) -> dict[str, Any]:
    taken: dict[str, list[float]] = defaultdict(list)
    answers: list[float] = []
    end = time.perf_counter() + seconds
    async with asyncio.TaskGroup() as group:
        for number in range(people):
            click = None if number < streaming else CLICKS[number % len(CLICKS)]
            group.create_task(_person(url, click, end, taken, answers))
    return {
        "people": people,
        "streaming": streaming,
        "answers": len(answers),
        "clicks": {name: _figures(sorted(times)) for name, times in sorted(taken.items())},
        "all": _figures(sorted(one for times in taken.values() for one in times)),
    }


async def _person(
    url: str, click: Click | None, end: float, taken: dict[str, list[float]], answers: list[float]
) -> None:
    async with httpx.AsyncClient(base_url=url, timeout=120) as http:
        person = Person(url, click.path if click else "/")
        await person.open(http)
        try:
            await asyncio.sleep(random.uniform(0, PAUSE_S))
            while time.perf_counter() < end:
                if click is None:
                    began = time.perf_counter()
                    with suppress(TimeoutError):
                        async with asyncio.timeout(end - began):
                            await person.ask(random.choice(QUESTIONS))
                            answers.append(time.perf_counter() - began)
                else:
                    taken[click.name].append(await person.click(click))
                    await asyncio.sleep(random.expovariate(1 / PAUSE_S))
        finally:
            await person.socket.disconnect()


def _figures(ordered: list[float]) -> dict[str, float]:
    if not ordered:
        return {"clicks": 0}
    return {
        "clicks": len(ordered),
        **{
            name: round(ordered[min(int(share * len(ordered)), len(ordered) - 1)], 1)
            for name, share in (("p50_ms", 0.5), ("p95_ms", 0.95), ("max_ms", 1.0))
        },
    }


def _print(found: dict[str, Any]) -> None:
    print(f"{found['people']} people, {found['streaming']} of them asking: {found['answers']} answers")
    for name, figures in {**found["clicks"], "all": found["all"]}.items():
        over = "  over the goal" if figures.get("max_ms", 0.0) > GOAL_MS else ""
        print(f"  {name:28}" + "".join(f"{value:>10}" for value in figures.values()) + over)


if __name__ == "__main__":
    main()
