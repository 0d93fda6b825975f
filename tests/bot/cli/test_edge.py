"""Where a command starts and ends: help, usage, errors, exit statuses."""

from __future__ import annotations

import asyncio
import os
import pkgutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.main import get_command

import bot.cli
from bot.cli.app import build_app
from feedback.database import Database
from feedback.tables import Adapter
from tests.bot.cli.conftest import ROOT, Thumbloop

MACHINERY = {"app", "edge", "options", "show", "start", "visible"}
HEAVY = (
    "torch",
    "transformers",
    "nicegui",
    "discord",
    "telegram",
    "sqlmodel",
    "apscheduler",
    "rich.progress",
)


def _verbs() -> dict[tuple[str, ...], str]:
    """Every verb with the module that its function stands in."""
    found: dict[tuple[str, ...], str] = {}

    def walk(command: object, path: tuple[str, ...]) -> None:
        for name, inner in (getattr(command, "commands", None) or {}).items():
            walk(inner, (*path, name))
        if path and not hasattr(command, "commands"):
            found[path] = command.callback.__module__  # type: ignore[attr-defined]

    walk(get_command(build_app()), ())
    return found


@pytest.mark.parametrize("verb", _verbs(), ids=" ".join)
def test_every_verb_explains_itself(verb: tuple[str, ...], thumbloop: Thumbloop) -> None:
    shown = thumbloop(*verb, "--help")
    assert shown.status == 0
    assert f"thumbloop {' '.join(verb)}" in shown.out


def test_every_module_of_the_command_line_has_its_verb() -> None:
    modules = {module.name for module in pkgutil.iter_modules(bot.cli.__path__)} - MACHINERY
    assert {module.removeprefix("bot.cli.") for module in _verbs().values()} == modules


def test_what_a_command_keeps_is_for_its_owner_alone(
    started: Callable[..., subprocess.Popen[str]], data: Path
) -> None:
    former = os.umask(0o022)
    try:
        assert started("db", "upgrade").wait(timeout=60) == 0
    finally:
        os.umask(former)
    kept = [data, *data.rglob("*")]
    assert len(kept) > 1
    assert [path for path in kept if path.stat().st_mode & 0o077] == []


def test_help_imports_nothing_heavy(environment: dict[str, str]) -> None:
    ask_for_all = f"""
import contextlib, io, sys
from bot.cli.edge import run
with contextlib.redirect_stdout(io.StringIO()):
    for verb in {[list(verb) for verb in _verbs()]} + [[]]:
        assert run([*verb, "--help"]) == 0
print([name for name in {HEAVY} if name in sys.modules])
"""
    found = subprocess.run(
        [sys.executable, "-c", ask_for_all], env=environment, capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize("verb", [["adapter", "list"], ["review", "list"]])
def test_lists_need_no_torch(verb: list[str], environment: dict[str, str]) -> None:
    ask = f"import sys; from bot.cli.edge import run; print(run({verb}), 'torch' in sys.modules)"
    found = subprocess.run(
        [sys.executable, "-c", ask], env=environment, capture_output=True, text=True, check=True
    )
    assert found.stdout.strip().endswith("0 False")


def test_help_works_although_the_settings_are_wrong(
    thumbloop: Thumbloop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THUMBLOOP_DEVICE", "abacus")
    assert thumbloop("ask", "--help").status == 0


def test_a_mistyped_verb_is_a_usage_error_with_a_guess(thumbloop: Thumbloop) -> None:
    refused = thumbloop("adaptor")
    assert refused.status == 2
    assert "adapter" in refused.err
    assert refused.out == ""


def test_a_wrong_setting_names_key_value_and_what_is_allowed(
    thumbloop: Thumbloop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THUMBLOOP_DEVICE", "abacus")
    refused = thumbloop("adapter", "list")
    assert refused.status == 2
    assert all(part in refused.err for part in ("THUMBLOOP_DEVICE", "abacus", "cuda"))


def test_the_data_option_goes_before_the_environment(
    thumbloop: Thumbloop, data: Path, tmp_path: Path
) -> None:
    assert thumbloop("--data", tmp_path / "other", "db", "upgrade").status == 0
    assert (tmp_path / "other" / "thumbloop.db").is_file()
    assert not data.exists()


def test_the_unexpected_shows_a_reference_that_the_log_explains(thumbloop: Thumbloop, data: Path) -> None:
    assert thumbloop("db", "upgrade").status == 0
    asyncio.run(_break_the_record(data))
    failed = thumbloop("adapter", "list")
    assert failed.status == 1
    assert failed.err.count("\n") == 1
    assert "Traceback" not in failed.err
    reference = failed.err.partition("reference ")[2].partition(")")[0]
    log = (data / "logs" / "thumbloop.log").read_text()
    assert f"reference {reference}" in log
    assert "Traceback" in log


async def _break_the_record(data: Path) -> None:
    """Metrics that are no measurements: nothing that Thumbloop writes, and nothing that it expects."""
    database = Database(f"sqlite:///{data / 'thumbloop.db'}")
    async with database.session() as session:
        session.add(
            Adapter(
                name="odd",
                version=1,
                folder="adapters/odd/1",
                content_hash="",
                base_model="tiny-llama",
                base_revision="",
                metrics={"candidate": "good"},
            )
        )
    await database.close()


def test_a_password_in_the_database_url_is_shown_nowhere(
    thumbloop: Thumbloop, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THUMBLOOP_RECORD__DATABASE_URL", "postgresql://ada:hunter22@127.0.0.1:1/nowhere")
    failed = thumbloop("adapter", "list")
    examined = thumbloop("doctor")
    log = data / "logs" / "thumbloop.log"
    assert failed.status == 1
    assert "127.0.0.1" in failed.err
    shown = failed.out + failed.err + examined.out + examined.err + (log.read_text() if log.exists() else "")
    assert "hunter22" not in shown


def test_a_reader_that_goes_away_ends_the_command_quietly(environment: dict[str, str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        ended = subprocess.run(
            [sys.executable, "-m", "bot", "adapter", "list", "--json"],
            env=environment,
            stdout=writing,
            stderr=subprocess.PIPE,
            cwd=ROOT,
        )
    finally:
        os.close(writing)
    assert ended.stderr == b""
    assert ended.returncode != 0


@pytest.mark.parametrize("setting", ["THUMBLOOP_WEB__PORT", "THUMBLOOP_API__PORT"])
def test_a_taken_port_is_said_before_anything_is_loaded(
    setting: str, thumbloop: Thumbloop, monkeypatch: pytest.MonkeyPatch, data: Path
) -> None:
    monkeypatch.setenv("THUMBLOOP_MODEL", "no such model")
    monkeypatch.setenv("THUMBLOOP_REMOTE__URL", "http://127.0.0.1:1/v1")  # nobody answers there
    monkeypatch.setenv("THUMBLOOP_WEB__PORT", "0")
    monkeypatch.setenv("THUMBLOOP_API__KEYS", f'["ci:{"0" * 64}"]')
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setenv(setting, str(taken.getsockname()[1]))
        said = thumbloop("serve")
    assert said.status == 1
    assert "Listening on 127.0.0.1" in said.err and setting in said.err
    assert not (data / "thumbloop.db").exists()
