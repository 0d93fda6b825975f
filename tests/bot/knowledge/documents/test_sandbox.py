"""Files in their own process: what goes wrong there is one clear error, and nothing outside changes."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.errors import DocumentRefused, Refusal
from bot.knowledge.documents.pieces import ParseLimits
from bot.knowledge.documents.sandbox import Sandbox
from tests.bot.knowledge.documents.made import OPENING, pdf, word

SAMPLES = [
    pdf(OPENING, "Składka wynosi 50 zł.", outline={2: "Składki"}),
    word(),
    f"<html><body><main><h1>Klub</h1><p>{OPENING}</p><table><tr><td>a</td><td>b</td></tr></table></main>".encode(),
    f"# Klub\n\n{OPENING}\n\n| a | b |\n|---|---|\n| 1 | 2 |\n".encode(),
    f"question,answer\nKiedy?,{OPENING}\n".encode(),
    b"<rss><channel><item><link>https://a.example/1</link></item></channel></rss>",
]
LONG = ("# Heading\n\nA sentence of some words. Another one follows it.\n\n" * 40_000).encode()


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox() as made:
        yield made


async def _refusal(sandbox: Sandbox, content: bytes) -> Refusal:
    with pytest.raises(DocumentRefused) as refused:
        await sandbox.parse(content, "rules.md")
    assert "rules.md" in str(refused.value)
    return refused.value.why


def _worker() -> psutil.Process:
    (found,) = [
        one
        for one in psutil.Process().children()
        if "bot.knowledge.documents.parser_process" in one.cmdline()
    ]
    return found


async def test_a_document_comes_out_as_it_was_parsed(sandbox: Sandbox) -> None:
    found = await sandbox.parse(pdf(OPENING, "Składka wynosi 50 zł.", outline={2: "Składki"}), "club.pdf")
    assert found.format == "pdf"
    assert [(piece.titles, piece.text, piece.page) for piece in found.pieces] == [
        ((), OPENING, 1),
        (("Składki",), "Składka wynosi 50 zł.", 2),
    ]


async def test_a_refused_file_leaves_the_next_one_readable(sandbox: Sandbox) -> None:
    assert await _refusal(sandbox, b"\x89PNG\r\n\x1a\n") == "unsupported"
    assert len((await sandbox.parse(b"Hello there.", "hello.txt")).pieces) == 1


async def test_a_file_that_takes_longer_than_allowed_is_given_up() -> None:
    async with Sandbox(ParseLimits(seconds=0.05)) as sandbox:
        assert await _refusal(sandbox, LONG) == "too long"


async def test_a_file_that_takes_more_memory_than_allowed_is_given_up() -> None:
    async with Sandbox(ParseLimits(memory_mib=8)) as sandbox:
        assert await _refusal(sandbox, LONG) == "too much memory"
        assert (await sandbox.parse(b"Hello there.", "hello.txt")).pieces


async def test_a_file_larger_than_allowed_is_not_even_handed_to_a_parser() -> None:
    async with Sandbox(ParseLimits(file_mib=1)) as sandbox:
        assert await _refusal(sandbox, b"a" * (1024 * 1024 + 1)) == "too large"
        assert not [one for one in psutil.Process().children() if "parser_process" in str(one.cmdline())]


async def test_a_parser_that_is_killed_is_one_clear_error_and_a_new_one_takes_over(sandbox: Sandbox) -> None:
    await sandbox.parse(b"Hello there.", "hello.txt")
    worker = _worker()
    worker.suspend()
    asked = asyncio.create_task(sandbox.parse(b"# One more", "rules.md"))
    await asyncio.sleep(0)
    worker.kill()
    with pytest.raises(DocumentRefused) as refused:
        await asked
    assert str(refused.value) == "rules.md made its parser stop. Give it in another format."
    assert (await sandbox.parse(b"Hello there.", "hello.txt")).pieces
    assert _worker().pid != worker.pid


async def test_a_parse_that_nobody_waits_for_any_more_leaves_the_next_answer_its_own(
    sandbox: Sandbox,
) -> None:
    await sandbox.parse(b"Hello there.", "hello.txt")
    _worker().suspend()
    asked = asyncio.create_task(sandbox.parse(b"The first.", "first.txt"))
    await asyncio.sleep(0)
    asked.cancel()
    await asyncio.gather(asked, return_exceptions=True)
    assert (await sandbox.parse(b"The second.", "second.txt")).pieces[0].text == "The second."


@pytest.mark.parametrize(
    "said",
    [
        b"no JSON",
        b'{"parsed": {"format": "a spell", "title": "", "pieces": [], "links": [], "notes": []}}',
        b'{"parsed": {"format": "text", "title": "", "pieces": [{"text": 7}], "links": [], "notes": []}}',
        b'{"refused": "because", "detail": ""}',
    ],
)
async def test_a_parser_that_was_taken_over_is_not_believed(
    said: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "answer").write_bytes(len(said).to_bytes(8, "big") + said)
    taken_over = tmp_path / "python"
    taken_over.write_text(f"#!/bin/sh\ncat {tmp_path}/answer\nexec cat > /dev/null\n")
    taken_over.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(taken_over))
    async with Sandbox() as sandbox:
        assert await _refusal(sandbox, b"Hello there.") == "ended"


async def test_its_processes_end_with_it() -> None:
    async with Sandbox() as sandbox:
        await sandbox.parse(b"Hello there.", "hello.txt")
        worker = _worker()
    assert not worker.is_running()


async def test_several_files_are_parsed_at_once() -> None:
    async with Sandbox(at_once=2) as sandbox:
        found = await asyncio.gather(
            *(sandbox.parse(f"Text {number}.".encode(), f"{number}.txt") for number in range(6))
        )
    assert [one.pieces[0].text for one in found] == [f"Text {number}." for number in range(6)]


async def test_no_secret_of_ours_is_in_its_environment(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THUMBLOOP_TELEGRAM__TOKEN", "s3cret")
    await sandbox.parse(b"Hello there.", "hello.txt")
    assert "s3cret" not in _worker().environ().values()


@pytest.mark.parametrize(
    "deed",
    [
        "import socket; socket.socket()",
        "open('/etc/hostname')",
        "open('made-by-a-parser', 'w')",
        "import os; os.pipe()",
    ],
    ids=["a connection", "a file to read", "a file to write", "a pipe to another process"],
)
def test_a_parser_within_its_limits_can_open_nothing(deed: str) -> None:
    program = f"""
import os, socket
from bot.knowledge.documents import parser_process
from bot.knowledge.documents.pieces import ParseLimits
reading, writing = os.pipe()
if os.fork() == 0:
    os.close(reading)
    parser_process._limit(ParseLimits())
    try:
        {deed}
    except OSError as error:
        os.write(writing, error.strerror.encode())
    os._exit(0)
os.close(writing)
print(os.read(reading, 100).decode())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "Too many open files"


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
async def test_a_file_damaged_anywhere_is_read_or_refused_and_never_a_traceback(
    sandbox: Sandbox, data: st.DataObject
) -> None:
    whole = data.draw(st.sampled_from(SAMPLES))
    damaged = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 8))):
        place = data.draw(st.integers(0, len(damaged) - 1))
        damaged[place : place + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    content = bytes(damaged[: data.draw(st.integers(1, len(damaged)))])
    try:
        found = await sandbox.parse(content, "damaged")
    except DocumentRefused as refused:
        assert str(refused).startswith("damaged ")
    else:
        assert found.pieces or found.links
