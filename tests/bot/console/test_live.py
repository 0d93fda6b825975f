"""An answer under way that is stopped, without a page."""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path

import pytest

from bot.assistant import Place, Question
from bot.console.context import Console
from bot.console.live import LiveAnswer
from bot.console.visitor import Visitor
from feedback.database import Database
from tests.bot.assembly import Assembly
from tests.conftest import SQLITE
from tests.doubles.retrainer import Retrainer

PLACE = Place("web", "web", "talk")


@SQLITE
async def test_stop_pressed_again_and_again_is_no_fault(
    database: Database, model_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assembly = Assembly(database, tmp_path, model_folder)
    console = Console(assembly.core, assembly.assistant, PLACE, "operator", Retrainer())
    visitor = Visitor("ada", "talk", "en", "auto")
    moments, through = 1, False
    while not through:  # before it is stopped
        moments += 1 + moments // 5
        live = LiveAnswer(console, visitor, Question(PLACE, "ada", f"{moments}", "What is LoRA?"))
        for _ in range(moments):
            await asyncio.sleep(0)
        through = live.task.done()
        while not live.task.done():
            live.stop()
            await asyncio.sleep(0)
    await assembly.answerer.close()
    await database.close()
    gc.collect()
    assert not [entry for entry in caplog.records if entry.levelname == "ERROR"]
