"""The program that parses: it loads the parsers once, then forks for every file, and the fork has limits.

    read a request from stdin ─► fork ─► limits set, parsed, answer written into a pipe, gone
                                   └──► wait for the answer, or kill ─► pass it on to stdout

Started by `sandbox`, as `python -m bot.knowledge.documents.parser_process LIMITS`, which are JSON. A fork may
open nothing any more, neither a file nor a connection (RLIMIT_NOFILE is 0 there, so all modules are loaded
before), it can't start processes or write files, and does not outlive its time. Tried on Linux only; other
systems may ignore the bound on memory. A request is 8 bytes of length and the file; an answer 8 bytes of
length and JSON.
"""

from __future__ import annotations

import encodings
import gc
import importlib
import json
import os
import pkgutil
import resource
import select
import signal
import sys
import time
from dataclasses import asdict
from typing import Any, Final

from bot.knowledge.documents.chunking import Chunker
from bot.knowledge.documents.parsing import parse
from bot.knowledge.documents.pieces import ParseLimits, Unreadable
from bot.knowledge.documents.recognition import MIB

LENGTH_BYTES: Final = 8
_CHUNK: Final = MIB
_ANSWER_BYTES_A_CHARACTER: Final = 8
"""JSON of a piece with the titles above it, generously; the bound keeps a parser from filling our memory."""
_ANSWER_BYTES_AT_LEAST: Final = 16 * MIB


def main() -> None:
    """Answer requests until stdin ends."""
    limits = ParseLimits(**json.loads(sys.argv[1]))
    chunker = Chunker(limits.piece_characters)
    for module in pkgutil.iter_modules(encodings.__path__):
        if module.name not in ("cp65001", "mbcs", "oem"):  # Windows only
            importlib.import_module(f"encodings.{module.name}")
    gc.collect()
    gc.freeze()
    while True:
        head = _read(LENGTH_BYTES)
        if len(head) < LENGTH_BYTES:
            return
        content = _read(int.from_bytes(head, "big"))
        answer = _answer(content, limits, chunker)
        _write(1, len(answer).to_bytes(LENGTH_BYTES, "big") + answer)


def _answer(content: bytes, limits: ParseLimits, chunker: Chunker) -> bytes:
    """What a fork makes of the file, or why it did not."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _child(content, limits, chunker, writing)
    os.close(writing)
    try:
        answer, in_time = _collect(reading, limits)
    finally:
        os.close(reading)
        os.kill(child, signal.SIGKILL)  # it may still run, and nobody listens
        _, status = os.waitpid(child, 0)
    if not in_time:
        return _refusal("too long")
    if os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0 and answer:
        return answer
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU:
        return _refusal("too long")
    return _refusal("ended")


def _collect(pipe: int, limits: ParseLimits) -> tuple[bytes, bool]:
    """All that a fork writes, and whether it ended in time; one that writes without end gets nothing."""
    until = time.monotonic() + limits.seconds
    most = max(_ANSWER_BYTES_AT_LEAST, limits.characters * _ANSWER_BYTES_A_CHARACTER)
    parts: list[bytes] = []
    total = 0
    while True:
        ready, _, _ = select.select([pipe], [], [], max(0.0, until - time.monotonic()))
        if not ready:
            return b"", False
        part = os.read(pipe, _CHUNK)
        if not part:
            return b"".join(parts), True
        total += len(part)
        if total > most:
            return b"", True
        parts.append(part)


def _child(content: bytes, limits: ParseLimits, chunker: Chunker, pipe: int) -> None:
    """Parse within the limits, say what came of it, and go; never returns."""
    status = 1
    try:
        _limit(limits)
        _write(pipe, _parsed(content, limits, chunker))
        status = 0
    finally:
        os._exit(status)


def _limit(limits: ParseLimits) -> None:
    silence = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(silence, stream)
    os.close(silence)
    bounds = {
        resource.RLIMIT_AS: _address_space() + limits.memory_mib * MIB,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_NOFILE: 0,
        resource.RLIMIT_NPROC: 0,
    }
    # the soft bound ends the process by SIGXCPU, which says why
    seconds = max(1, round(limits.seconds))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    for bound, most in bounds.items():
        resource.setrlimit(bound, (most, most))


def _address_space() -> int:
    """Bytes of address space that this process has now."""
    try:
        with open("/proc/self/statm", encoding="ascii") as pages:
            return int(pages.read().split()[0]) * resource.getpagesize()
    except OSError:  # no such file elsewhere than on Linux
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _parsed(content: bytes, limits: ParseLimits, chunker: Chunker) -> bytes:
    try:
        return _json({"parsed": asdict(parse(content, limits, chunker))})
    except Unreadable as error:
        return _refusal(error.reason, error.detail)
    except MemoryError:
        return _refusal("too much memory")
    except RecursionError:
        return _refusal("broken", "nested too deeply")
    except Exception as error:  # the outermost edge: libraries raise what they like over what they can't read
        return _refusal("broken", type(error).__name__)


def _refusal(reason: str, detail: str = "") -> bytes:
    return _json({"refused": reason, "detail": detail})


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")


def _read(size: int) -> bytes:
    """So many bytes of stdin, fewer only at its end; unbuffered, for forks share what is buffered."""
    parts: list[bytes] = []
    while size:
        part = os.read(0, min(size, _CHUNK))
        if not part:
            break
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _write(stream: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(stream, view) :]


if __name__ == "__main__":
    main()
