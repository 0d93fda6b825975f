"""The documentation and the code say the same: what one of them forgets, a test names."""

from __future__ import annotations

import re
from pathlib import Path

import typer.main
from discord import app_commands

from bot.cli.app import build_app
from bot.platforms.discord import command_tree
from bot.platforms.telegram.menu import commands_for
from training.examination.metrics import METRICS

ROOT = Path(__file__).parent.parent
PAGES = {page.name: page.read_text(encoding="utf-8") for page in (ROOT / "docs").glob("*.md")}
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def test_every_command_of_discord_is_documented() -> None:
    ours = [
        one
        for one in vars(command_tree).values()
        if isinstance(one, app_commands.Command | app_commands.Group)
    ]
    missing = [one.name for one in ours if f"/{one.name}" not in PAGES["discord.md"]]
    assert len(ours) > 5 and not missing


def test_every_command_of_telegram_is_documented() -> None:
    names = [
        name
        for private in (True, False)
        for name, _ in commands_for(private=private, admin=True, operator=True)
    ]
    missing = [name for name in names if f"/{name}" not in PAGES["telegram.md"]]
    assert len(names) > 5 and not missing


def test_every_verb_of_the_command_line_is_documented() -> None:
    verbs = typer.main.get_command(build_app()).commands  # type: ignore[attr-defined]
    everything = README + "".join(PAGES.values())
    missing = [verb for verb in verbs if f"thumbloop {verb}" not in everything]
    assert len(verbs) > 10 and not missing


def test_every_figure_of_an_examination_is_documented() -> None:
    missing = [name for name in METRICS if f"`{name}`" not in PAGES["training.md"]]
    assert not missing


def test_every_path_that_the_guide_for_contributors_names_exists() -> None:
    named = re.findall(r"`((?:bot|training|feedback|tests|docs)/[\w./]*)`", CONTRIBUTING)
    missing = [path for path in named if not (ROOT / path).exists()]
    assert len(named) > 20 and not missing


def test_every_room_that_the_picture_names_exists() -> None:
    named, package = [], ""
    for line in PAGES["architecture.md"].splitlines():
        cells = re.findall(r"`([\w./]+)`", line.split("|")[1]) if line.startswith("| `") else []
        package = cells[0] if "what it is for" in line else package
        named += [f"{package}{cell}" for cell in cells if "what it is for" not in line]
    missing = [path for path in named if not (ROOT / path).exists()]
    assert len(named) > 20 and not missing


def test_every_room_stands_in_the_picture() -> None:
    rooms = [
        folder.relative_to(ROOT).as_posix().partition("/")[2] + "/"
        for package in ("bot", "training", "feedback")
        for folder in (ROOT / package).iterdir()
        if (folder / "__init__.py").exists()
    ]
    missing = [room for room in rooms if f"`{room}`" not in PAGES["architecture.md"]]
    assert len(rooms) > 10 and not missing
