"""What is written, and how, on a terminal and elsewhere."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from feedback.database import Database
from tests.bot.cli.conftest import Thumbloop
from tests.chronicle import ANSWER, Chronicle


def test_an_answer_cannot_steer_the_moderators_terminal(thumbloop: Thumbloop, data: Path) -> None:
    thumbloop("db", "upgrade")
    asyncio.run(_answer(data, "\x1b]0;owned\x07\x1b[2Jrest\x9b31m"))
    shown = thumbloop("review", "list")
    assert "]0;owned[2Jrest31m" in shown.out
    assert not any(character in shown.out for character in "\x1b\x07\x9b")


def test_markup_in_an_answer_is_text_like_any_other(thumbloop: Thumbloop, data: Path) -> None:
    thumbloop("db", "upgrade")
    asyncio.run(_answer(data, "Use [bold]x[/bold] :smile: in rich."))
    assert "Use [bold]x[/bold] :smile: in rich." in thumbloop("review", "list").out


def test_a_long_line_stays_one_line_where_nobody_looks(thumbloop: Thumbloop, data: Path) -> None:
    thumbloop("db", "upgrade")
    asyncio.run(_answer(data, "word " * 200 + "end"))
    line = next(line for line in thumbloop("review", "list").out.splitlines() if "word" in line)
    assert line.endswith("end")
    assert len(line) > 1000


def test_long_work_writes_plain_lines_with_time_left_elsewhere_than_on_a_terminal(
    thumbloop: Thumbloop, pairs_file: Callable[[int], Path]
) -> None:
    said = thumbloop("import", pairs_file(1200)).err.splitlines()
    assert said[0].startswith("importing 500/1200")
    assert "pairs/s" in said[0]
    assert "left" in said[0]
    assert said[-1].startswith("importing 1200/1200")


def test_long_work_draws_a_bar_on_a_terminal(
    started: Callable[..., subprocess.Popen[str]], pairs_file: Callable[[int], Path]
) -> None:
    screen, terminal = os.openpty()
    try:
        importing = started("import", str(pairs_file(600)), stderr=terminal)
        importing.communicate(timeout=60)
        os.set_blocking(screen, False)
        drawn = os.read(screen, 1_000_000).decode()
    finally:
        os.close(terminal)
        os.close(screen)
    assert importing.returncode == 0
    assert "600/600" in drawn
    assert "\x1b[" in drawn


async def _answer(data: Path, text: str) -> None:
    database = Database(f"sqlite:///{data / 'thumbloop.db'}")
    chronicle = await Chronicle(database).open()
    await chronicle.answered(answer=replace(ANSWER, answer=text))
    await database.close()
