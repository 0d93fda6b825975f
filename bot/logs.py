"""Logs: everything into `<data>/logs/thumbloop.log` as JSON lines, what matters to stderr for people.

Our own records and those of libraries go the same way. Secrets never get in: values of telling names, known
secret values and passwords in URLs are masked, in tracebacks too. Several processes may share the file.
"""

from __future__ import annotations

import json
import logging
import re
import secrets
import sys
from collections.abc import Iterable, Mapping, MutableMapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from logging.handlers import WatchedFileHandler
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import quote

import structlog

Level = Literal["debug", "info", "warning", "error"]

OURS: Final = ("bot", "training", "feedback")
MASK: Final = "********"
MOST_BYTES: Final = 20_000_000
"""Size above which the log is put aside: when the program starts, and daily while it runs."""

_TELLING = re.compile(
    r"(^|[_-])(token|secret|password|passwd|api[_-]?key|pseudonym_key|authorization|cookie|database_url)$",
    re.IGNORECASE,
)
_URL_PASSWORD = re.compile(r"(?<=://)([^\s/:@]*):[^\s/@]+@")
_SHORTEST_SECRET: Final = 4  # masking shorter ones would tear holes into every line


class Redactor:
    """A structlog processor that masks secrets wherever they stand in a record."""

    def __init__(self, known: Iterable[str] = ()) -> None:
        # as it is, as it stands in a URL, and as repr and JSON write it
        written = {
            form
            for text in known
            if len(text) >= _SHORTEST_SECRET
            for form in (
                text,
                quote(text, safe=""),
                repr(text)[1:-1],
                json.dumps(text)[1:-1],
                json.dumps(text, ensure_ascii=False)[1:-1],
            )
        }
        longest_first = sorted(written, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

    def __call__(
        self, logger: Any, method: str, record: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        """The record without secrets."""
        return {
            self.text(key): MASK if _TELLING.search(key) and value else self._masked(value)
            for key, value in record.items()
        }

    def text(self, text: str) -> str:
        """`text` without secrets."""
        if self._known is not None:
            text = self._known.sub(MASK, text)
        return _URL_PASSWORD.sub(rf"\1:{MASK}@", text)

    def _masked(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return self(None, "", {str(key): inner for key, inner in value.items()})
        if isinstance(value, list | tuple | set):
            return [self._masked(inner) for inner in value]
        return value if isinstance(value, int | float | bool | None) else self.text(str(value))


def log_file(data: Path) -> Path:
    """Where the log of a data folder lies."""
    return data / "logs" / "thumbloop.log"


def configure(
    data: Path, *, level: Level = "info", to_stderr: Level = "warning", known_secrets: Iterable[str] = ()
) -> None:
    """Set logging up for this process: `level` and above into the file, `to_stderr` and above to stderr.

    Nothing is written before the first record. A log that cannot be written never stops the work. Of
    libraries, only errors reach stderr. Calling it again replaces what was set up before.
    """
    redact = Redactor(known_secrets)
    before: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *before,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    in_file = _LogFile(log_file(data))
    in_file.setLevel(level.upper())
    in_file.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=before,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                redact,
                structlog.processors.JSONRenderer(ensure_ascii=False, default=str),
            ],
        )
    )
    for_people = _Stderr()
    for_people.setLevel(to_stderr.upper())
    for_people.addFilter(lambda record: record.name.split(".")[0] in OURS or record.levelno >= logging.ERROR)
    for_people.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=before,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _without_traceback,
                redact,
                structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=0),
            ],
        )
    )
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, _LogFile | _Stderr)]:
        root.removeHandler(handler)
        handler.close()
    root.addHandler(in_file)
    root.addHandler(for_people)
    root.setLevel(min(in_file.level, for_people.level))
    for name in ("httpx", "httpcore", "aiosqlite", "filelock", "urllib3", "asyncio", "fsspec"):
        logging.getLogger(name).setLevel(max(root.level, logging.WARNING))
    logging.captureWarnings(True)


def prune(data: Path, keep_for: timedelta, keep_bytes: int, moment: datetime) -> list[Path]:
    """Put a log aside that has grown large, and delete what was put aside too long ago, or is too much.

    Of what was put aside the newest stay, up to `keep_bytes` together. Returns what was deleted. Processes
    that write on open the new file by themselves.
    """
    place = log_file(data)
    with suppress(OSError):
        if place.stat().st_size > MOST_BYTES:
            place.replace(aside(place, moment))
    deleted: list[Path] = []
    kept = 0
    for old in sorted(place.parent.glob(f"{place.name}.*"), key=_age, reverse=True):
        with suppress(OSError):
            about = old.stat()
            kept += about.st_size
            if kept > keep_bytes or about.st_mtime < (moment - keep_for).timestamp():
                old.unlink()
                deleted.append(old)
    return deleted


def aside(place: Path, moment: datetime) -> Path:
    """Where a log goes that is put aside at that moment."""
    return place.with_name(f"{place.name}.{moment:%Y%m%dT%H%M%S}")


def _age(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:  # another process deleted it meanwhile
        return 0.0


def note_unexpected(error: BaseException) -> tuple[str, Path | None]:
    """Log an unexpected error with its traceback.

    Returns the reference to show, and the log's file unless writing to it failed.
    """
    reference = secrets.token_hex(4)
    # not to stderr: the edge shows the reference there, and a traceback is for the log
    written: Path | None = None
    for handler in logging.getLogger().handlers:
        if isinstance(handler, _LogFile):
            exc_info = (type(error), error, error.__traceback__)
            record = logging.LogRecord(
                "bot", logging.ERROR, __file__, 0, "unexpected error, reference %s", (reference,), exc_info
            )
            handler.handle(record)
            written = None if handler.failed else Path(handler.baseFilename)
    return reference, written


class _LogFile(WatchedFileHandler):
    """The file, its folder made at the first record; `failed` while the disk refuses."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, encoding="utf-8", delay=True, errors="backslashreplace")
        self.failed = False

    def emit(self, record: logging.LogRecord) -> None:
        self.failed = False
        try:
            if self.stream is None:
                self._begin()
            super().emit(record)
        except OSError:
            self.failed = True
        if self.failed and self.stream is not None:
            # what is buffered would be tried again and again; the next record starts with a file opened anew
            stream, self.stream = self.stream, None
            with suppress(OSError, ValueError):
                stream.close()

    def handleError(self, record: logging.LogRecord) -> None:
        """A full disk must not fill the terminal as well."""
        self.failed = True

    def _begin(self) -> None:
        path = Path(self.baseFilename)
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and path.stat().st_size > MOST_BYTES:
            path.replace(aside(path, datetime.now(UTC)))


class _Stderr(logging.StreamHandler[Any]):
    """Today's `sys.stderr`, not the one of import time."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> Any:
        return sys.stderr


def _without_traceback(
    logger: Any, method: str, record: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    record.pop("exc_info", None)
    record.pop("stack_info", None)
    return record
