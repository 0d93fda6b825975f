"""How long documents take to read, and how much memory: a folder of files, a long PDF, twice each.

Run by hand: `python -m tests.benchmarks.documents FOLDER [--pages N] [--json]`. The files of FOLDER are
copied and added to a fresh SQLite record, then read anew unchanged, and again with every tenth file changed;
the PDF is made first. Embedding is left out: what is measured is reading, parsing apart, cutting and writing.
Memory is what this process grew by, and the most of a parsing process. `seconds` say as much about the
machine's other load as about us, `cpu_s` (parsers included) less; `floor` is parsing alone, in this process.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from bot.knowledge.documents.chunking import Chunker
from bot.knowledge.documents.fetching import Fetcher
from bot.knowledge.documents.folders import documents_in
from bot.knowledge.documents.library import Library, Outcome
from bot.knowledge.documents.parsing import parse
from bot.knowledge.documents.pieces import ParseLimits, Unreadable
from bot.knowledge.documents.sandbox import Sandbox
from feedback import journal
from feedback.database import Database

PAGES: Final = 500
LINES: Final = 40


def main(arguments: Sequence[str]) -> None:
    """Measure, and print what was found."""
    wanted = argparse.ArgumentParser()
    wanted.add_argument("folder", type=Path)
    wanted.add_argument("--pages", type=int, default=PAGES)
    wanted.add_argument("--json", action="store_true")
    chosen = wanted.parse_args(arguments)
    with tempfile.TemporaryDirectory() as place:
        figures = asyncio.run(_measured(Path(place), chosen.folder, chosen.pages))
    if chosen.json:
        print(json.dumps(figures, indent=2))
        return
    for name, values in figures.items():
        print(f"{name}: {', '.join(f'{key} {value}' for key, value in values.items())}")


async def _measured(place: Path, folder: Path, pages: int) -> dict[str, dict[str, Any]]:
    given = place / "given"
    shutil.copytree(folder, given)
    manual = place / "manual.pdf"
    _write_pdf(manual, pages)
    database = Database(f"sqlite:///{place / 'record.db'}")
    await database.upgrade()
    async with database.session() as session:
        community_id = (await journal.community(session, "discord", "benchmark")).id or 0
    before = _grown(resource.RUSAGE_SELF)

    async def add(path: Path) -> dict[str, Any]:
        began, cpu = time.perf_counter(), _cpu()
        # its parsers' time is known when they have ended
        async with Sandbox(at_once=2) as sandbox, Fetcher() as fetcher:
            library = Library(database, sandbox, fetcher, None)
            outcome = await library.add(community_id, path, by="benchmark")
        return _figures(outcome, time.perf_counter() - began, _cpu() - cpu)

    figures = {"folder": await add(given), "folder, unchanged": await add(given)}
    for file in documents_in(given).files[::10]:
        file.write_bytes(file.read_bytes() + b"\n\nOne more paragraph.\n")
    figures["folder, a tenth changed"] = await add(given)
    figures["pdf"] = await add(manual)
    figures["memory"] = {
        "this_process_mib": _grown(resource.RUSAGE_SELF) - before,
        "largest_parser_mib": _grown(resource.RUSAGE_CHILDREN),
    }
    await database.close()
    figures["floor"] = {"folder_cpu_s": _floor(documents_in(given).files), "pdf_cpu_s": _floor([manual])}
    return figures


def _figures(outcome: Outcome, seconds: float, cpu: float) -> dict[str, Any]:
    documents = outcome.added + outcome.changed + outcome.unchanged + len(outcome.refused)
    return {
        "documents": documents,
        "refused": len(outcome.refused),
        "passages": outcome.passages,
        "seconds": round(seconds, 2),
        "cpu_s": round(cpu, 2),
    }


def _floor(files: Sequence[Path]) -> float:
    """Processor seconds of parsing alone."""
    chunker, limits = Chunker(ParseLimits().piece_characters), ParseLimits()
    began = time.process_time()
    for file in files:
        try:
            parse(file.read_bytes(), limits, chunker)
        except Unreadable:
            continue
    return round(time.process_time() - began, 2)


def _cpu() -> float:
    """Processor seconds of this process and those that it waited for."""
    used = [resource.getrusage(of) for of in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def _grown(of: int) -> int:
    """The most memory (MiB) that this process, or one that it waited for, has had."""
    return resource.getrusage(of).ru_maxrss // 1024


def _write_pdf(file: Path, pages: int) -> None:
    import matplotlib
    from fpdf import FPDF

    made = FPDF()
    made.add_font("DejaVu", fname=Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf")
    made.set_font("DejaVu", size=9)
    for page in range(1, pages + 1):
        made.add_page()
        if page % 10 == 1:
            made.start_section(f"Rozdział {page // 10 + 1}")
        for line in range(LINES):
            words = (
                f"Strona {page}, zdanie {line}: żółw i źrebię idą przez łąkę, numer {page * LINES + line}."
            )
            made.cell(text=words, new_x="LMARGIN", new_y="NEXT")
    made.output(str(file))


if __name__ == "__main__":
    main(sys.argv[1:])
