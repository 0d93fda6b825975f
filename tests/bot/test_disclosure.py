"""What members and callers of the API read of errors: no path, no address, no setting, no command line."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

import bot.errors
import training.errors
from bot.api.errors import api_error
from bot.disclosure import sentence_for_member
from bot.errors import AdapterRefused, AnsweringFailed, BeingAnswered, PortTaken
from feedback.errors import Conflict, DatabaseError, NotFound, ThumbloopError, UsageError
from feedback.words import LANGUAGES, AdapterVersion, Language
from training.errors import AdapterError, NotEnoughPairs, RunUnderWay

INTERNALS = {
    "a path": "/srv/loop/data/thumbloop.db cannot be read",
    "a database": "postgresql://ada@db.internal:5432/loop has been locked",
    "a file database": "sqlite:////srv/loop/thumbloop.db has been locked",
    "a server": "http://gpu-box:8000/v1 does not answer",
    "a setting": "set THUMBLOOP_REMOTE__URL",
    "a command": "`thumbloop adapter switch` chooses one",
    "a flag": "start it with --lora-modules",
}
HIDDEN = re.compile(r"/srv|loop/|://|THUMBLOOP|`thumbloop|--lora")
ROOT = Path(__file__).parents[2]


def _all_classes(of: type[ThumbloopError] = ThumbloopError) -> Iterator[type[ThumbloopError]]:
    yield of
    for branch in of.__subclasses__():
        yield from _all_classes(branch)


CLASSES = sorted(
    {one for one in _all_classes() if one.__module__.endswith(".errors")}, key=lambda c: c.__name__
)


_OUR_OWN = {"reason": "its rank is above the server's", "reference": "0badcafe"}


def _made(kind: type[ThumbloopError], text: str) -> ThumbloopError:
    """An error of that class, with `text` wherever a text is taken that is not said to be public."""
    by_annotation: dict[str, Any] = {
        "int": 7,
        "bool": True,
        "int | None": 7,
        "AdapterVersion": AdapterVersion("support", 3),
        "ReviewState": "approved",
        "Mapping[str, int]": {text: 3},
        "Mapping[str, int] | None": {text: 3},
        "Sequence[str]": (text,),
        "object": text,
        "str": text,
        "str | None": text,
        "Refusal": "broken",
        "Obstacle": "private",
    }
    wanted = inspect.signature(kind).parameters.values()
    values = {one.name: by_annotation[str(one.annotation)] for one in wanted if one.name != "public"}
    # what the raising code makes itself, or vouches for
    values |= {name: value for name, value in _OUR_OWN.items() if name in values and kind is not PortTaken}
    return kind(**values)


@pytest.mark.parametrize("text", INTERNALS.values(), ids=INTERNALS.keys())
@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_no_error_of_ours_shows_internals_to_anybody_but_the_operator(
    kind: type[ThumbloopError], text: str
) -> None:
    error = _made(kind, text)
    said = [api_error(error).message, *(sentence_for_member(error, language) for language in LANGUAGES)]
    assert all(said)
    assert not [one for one in said if HIDDEN.search(one)]


def test_every_class_of_errors_was_among_them() -> None:
    assert {one.__name__ for one in CLASSES} >= {
        name
        for module in (bot.errors, training.errors)
        for name, kind in vars(module).items()
        if isinstance(kind, type) and issubclass(kind, ThumbloopError)
    }


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_is_withheld_is_in_the_log_under_the_reference_that_is_told(language: Language) -> None:
    error = DatabaseError("sqlite:////srv/thumbloop.db is locked.")
    with structlog.testing.capture_logs() as logged:
        said = sentence_for_member(error, language)
    (record,) = logged
    assert record["reference"] in said and record["exc_info"] is error


def test_the_api_says_in_general_what_is_the_matter_and_where_the_rest_is_found() -> None:
    told = api_error(DatabaseError("postgresql://ada@db.internal/loop is read-only.", "Grant writing to it."))
    assert told.status == 503
    assert re.fullmatch(
        r"The service cannot read or write its record at the moment\. Try again; if it goes on, tell the "
        r"operator the reference [0-9a-f]{8}\.",
        told.message,
    )


def test_the_operator_reads_everything() -> None:
    error = AdapterError("The adapter in /srv/adapters/support/3 is damaged.", "Restore it.")
    assert str(error) == "The adapter in /srv/adapters/support/3 is damaged. Restore it."


@pytest.mark.parametrize(
    ("error", "en"),
    [
        (UsageError("The mode 'x' is unknown.", "Use tldr."), "The mode 'x' is unknown. Use tldr."),
        (NotFound("turn", 7, "`thumbloop review list` shows those that wait."), "There is no turn 7."),
        (Conflict("Turn 7 was erased."), "Turn 7 was erased."),
        (BeingAnswered(), "This is being answered already."),
        (
            NotEnoughPairs(3, 20),
            "3 approved pairs are ready, and a training run needs at least 20. "
            "`/review` shows the answers that wait for approval.",
        ),
        (RunUnderWay(4, 4711), "Run 4 is already training. Wait for it to finish."),
        (
            AdapterRefused(AdapterVersion("support", 3), "its rank 32 is above the 16", detail="start --x"),
            "The adapter support@3 cannot be served: its rank 32 is above the 16. "
            "The former one goes on serving.",
        ),
    ],
)
def test_what_is_about_the_request_is_said_in_a_chats_own_words_and_needs_no_log(
    error: ThumbloopError, en: str
) -> None:
    with structlog.testing.capture_logs() as logged:
        assert sentence_for_member(error, "en") == en
        polish = sentence_for_member(error, "pl")
    assert polish != en
    assert logged == []


def test_a_fault_that_has_a_reference_already_keeps_it() -> None:
    said = sentence_for_member(AnsweringFailed("It broke.", reference="0badcafe"), "en")
    assert "0badcafe" in said


def test_no_edge_towards_members_or_callers_says_an_error_as_the_operator_reads_it() -> None:
    """`str(error)` of ours belongs to the command line, the terminal, the console and the log."""
    edges = [
        *(ROOT / "bot/platforms").rglob("*.py"),
        *(ROOT / "bot/api").glob("*.py"),
        *(ROOT / "bot/chat").glob("*.py"),
    ]
    shown = set()
    for file in edges:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.ExceptHandler) or "ThumbloopError" not in ast.dump(node.type or node):
                continue
            if any(isinstance(one, ast.Name) and one.id == "str" for one in ast.walk(node)):
                shown.add(str(file.relative_to(ROOT)))
    assert shown <= {"bot/platforms/terminal.py"}, "the operator's own"
