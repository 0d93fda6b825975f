"""What is written, and how, on a terminal and elsewhere."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
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


def test_an_answer_reads_on_the_moderators_terminal_as_it_is_kept(thumbloop: Thumbloop, data: Path) -> None:
    thumbloop("db", "upgrade")
    asyncio.run(_answer(data, "run\u202efdp.exe\u200b"))
    assert "run\\u202efdp.exe\\u200b" in thumbloop("review", "list").out
    assert "run\\u202efdp.exe\\u200b" in thumbloop("review", "list", "--json").out


def test_lines_of_an_answer_end_between_words_on_a_terminal() -> None:
    script = "from bot.cli import show\nfor piece in {pieces!r}: show.write(piece)"
    pieces = ["Basil is wat", "ered in the mor", "ning.\n", "x" * 25, " end\n"]
    screen, terminal = pty.openpty()
    try:
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 20, 0, 0))
        environment = {**os.environ, "COLUMNS": "20", "TERM": "xterm"}
        command = [sys.executable, "-c", script.format(pieces=pieces)]
        subprocess.run(command, stdout=terminal, env=environment, check=True, timeout=60)
        os.set_blocking(screen, False)
        drawn = os.read(screen, 10_000).decode().replace("\r\n", "\n")
    finally:
        os.close(terminal)
        os.close(screen)
    assert drawn == f"Basil is watered in \nthe morning.\n{'x' * 25} end\n"


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
