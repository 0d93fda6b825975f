"""Where bytes come from: a file, a file in a folder or in a ZIP, gzipped or not, in whatever encoding.

Nothing is read whole. What a ZIP or gzip file expands to is limited, so that a small file cannot fill memory
or disk. Texts are UTF-8 with or without a byte order mark, UTF-16, or Windows-1250, which Polish spreadsheets
still write: the beginning decides.
"""

from __future__ import annotations

import codecs
import gzip
import hashlib
import io
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, BinaryIO, Final

from feedback.errors import UsageError

BEGINNING: Final = 2**16
"""Bytes by which a file is recognised."""
LONGEST_RECORD: Final = 16 * 2**20
"""Bytes that one line may have: thousands of pages, and far less than would hurt."""
MOST_MEMBERS: Final = 200_000
MOST_EXPANDED: Final = 200
"""How many times larger than packed a member may become; chats and JSON reach some thirty."""
ALWAYS_ALLOWED: Final = 64 * 2**20
"""Bytes that a packed file may expand to whatever its ratio."""
_CHUNK: Final = 2**18


@dataclass
class Meter:
    """How many bytes of a source have been read since it was last opened."""

    done: int = 0


@dataclass(frozen=True)
class Source:
    """Bytes with a name: `name` is what people see, `size` how many there are as they lie on the disk."""

    name: str
    size: int
    open_packed: Callable[[], BinaryIO]
    meter: Meter = field(default_factory=Meter, compare=False)

    def open(self) -> BinaryIO:
        """The bytes from their beginning, unpacked. Raises UsageError where they expand without end."""
        self.meter.done = 0
        file = buffered(_Metered(self.open_packed(), self.meter, self.size))
        first = file.read(2)
        file.seek(0)
        if first != b"\x1f\x8b":
            return file
        unpacked = gzip.GzipFile(fileobj=file)
        return buffered(_Limited(unpacked, max(ALWAYS_ALLOWED, MOST_EXPANDED * self.size), self.name))

    def beginning(self) -> bytes:
        """The first BEGINNING bytes."""
        with self.open() as file:
            return file.read(BEGINNING)

    def encoding(self) -> str:
        """The encoding's name, as `codecs` knows it."""
        return encoding_of(self.beginning())

    def text_beginning(self) -> str:
        """The first characters, decoded; what the cut has broken is left out."""
        raw = self.beginning()
        text = codecs.getincrementaldecoder(encoding_of(raw))("replace").decode(raw)
        return text.removeprefix("\ufeff")

    def open_utf8(self) -> BinaryIO:
        """The bytes as UTF-8 without a byte order mark, whatever they are on the disk."""
        encoding = self.encoding()
        file = self.open()
        if encoding == "utf-8":
            return file
        return buffered(_Recoded(file, encoding))


def sources(path: Path) -> list[Source]:
    """The files of a path by name: itself, or what is in the folder or the ZIP. Raises UsageError."""
    if path.is_dir():
        found = sorted(one for one in path.rglob("*") if one.is_file() and not one.name.startswith("."))
        return [_of_file(one, one.relative_to(path).as_posix()) for one in found[:MOST_MEMBERS]]
    if zipfile.is_zipfile(path):
        return _of_zip(path)
    return [_of_file(path, path.name)]


def encoding_of(beginning: bytes) -> str:
    """The encoding of a text that begins so; zeros at every other place are UTF-16 without its mark."""
    if beginning.startswith(codecs.BOM_UTF8):
        return "utf-8-sig"
    if beginning.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    sample = beginning[:1024]
    if b"\0" in sample:
        return "utf-16-le" if sample[1::2].count(0) > sample[::2].count(0) else "utf-16-be"
    try:
        codecs.getincrementaldecoder("utf-8")().decode(beginning)
    except UnicodeDecodeError:
        return "cp1250"
    return "utf-8"


def content_hash(every: list[Source]) -> str:
    """The SHA-256 of a file as it lies on the disk, of several that of their names and hashes."""
    hashes = []
    for source in every:
        with source.open_packed() as file:
            digest = hashlib.sha256()
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
            hashes.append(digest.hexdigest())
    if len(hashes) == 1:
        return hashes[0]
    named = [f"{source.name} {found}" for source, found in zip(every, hashes, strict=True)]
    return hashlib.sha256("\n".join(named).encode()).hexdigest()


def lines(source: Source) -> Iterator[tuple[int, str | None]]:
    """The lines of a text with their numbers, from 1; None for one that is longer than LONGEST_RECORD.

    A line that the encoding of the beginning does not fit is taken as Windows-1250.
    """
    with source.open_utf8() as file:
        number = 0
        while raw := file.readline(LONGEST_RECORD + 1):
            number += 1
            if len(raw) > LONGEST_RECORD:
                while raw and not raw.endswith(b"\n"):
                    raw = file.readline(LONGEST_RECORD)
                yield number, None
                continue
            try:
                yield number, raw.decode("utf-8")
            except UnicodeDecodeError:
                yield number, raw.decode("cp1250", "replace")


def _of_file(path: Path, name: str) -> Source:
    return Source(name, path.stat().st_size, lambda: path.open("rb"))


def _of_zip(path: Path) -> list[Source]:
    with zipfile.ZipFile(path) as archive:
        members = [one for one in archive.infolist() if not one.is_dir()]
    if len(members) > MOST_MEMBERS:
        raise UsageError(
            f"{path} holds {len(members):,} files.", f"Unpack it, at most {MOST_MEMBERS:,} at once."
        )
    return [
        Source(one.filename, one.file_size, _opener(path, one))
        for one in sorted(members, key=lambda member: member.filename)
        if not one.filename.startswith("__MACOSX/")
    ]


def _opener(path: Path, member: zipfile.ZipInfo) -> Callable[[], BinaryIO]:
    def opened() -> BinaryIO:
        archive = zipfile.ZipFile(path)
        limit = max(ALWAYS_ALLOWED, MOST_EXPANDED * member.compress_size)
        return buffered(_Limited(archive.open(member), limit, f"{path.name}: {member.filename}", archive))

    return opened


class _Metered(io.RawIOBase):
    """Bytes that are counted as they are read; of packed ones no more than there are on the disk."""

    def __init__(self, file: BinaryIO, meter: Meter, size: int) -> None:
        self._file = file
        self._meter = meter
        self._size = size

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        self._meter.done = min(self._size, self._meter.done + len(data))
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()


class _Limited(io.RawIOBase):
    """Unpacked bytes, up to a limit. Raises UsageError beyond it, and when the packed bytes are damaged."""

    def __init__(
        self,
        file: IO[bytes] | gzip.GzipFile,
        limit: int,
        name: str,
        archive: zipfile.ZipFile | None = None,
    ) -> None:
        self._file = file
        self._limit = limit
        self._name = name
        self._archive = archive

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        try:
            data = self._file.read(len(buffer))
        except (EOFError, OSError, zipfile.BadZipFile, zlib.error) as error:
            raise UsageError(f"{self._name} is damaged ({error}).", "Export or copy it again.") from error
        if self.tell() > self._limit:
            raise UsageError(
                f"{self._name} expands to more than {self._limit // 2**20:,} MiB, more than texts do.",
                "Unpack it yourself and look at what it holds.",
            )
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed and self._archive is not None:
            self._archive.close()
        super().close()


class _Recoded(io.RawIOBase):
    """Text of another encoding as UTF-8; what cannot be decoded becomes the replacement character."""

    def __init__(self, file: BinaryIO, encoding: str) -> None:
        self._file = file
        self._decoder = codecs.getincrementaldecoder(encoding)("replace")
        self._left = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        while not self._left:
            raw = self._file.read(_CHUNK)
            self._left = self._decoder.decode(raw, final=not raw).encode()
            if not raw:
                break
        data, self._left = self._left[: len(buffer)], self._left[len(buffer) :]
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()


def buffered(raw: io.RawIOBase) -> BinaryIO:
    """A file that reads `raw` in large pieces."""
    return io.BufferedReader(raw, _CHUNK)
