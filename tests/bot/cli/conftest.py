"""The real command line, in this process or one of its own, over a temporary data folder and a tiny model."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from bot.cli.edge import run
from feedback.database import Database
from tests.doubles.tiny_model import write_tiny_model
from training.adapters import registry

ROOT = Path(__file__).parents[3]


@dataclass(frozen=True)
class Result:
    """How a command ended and what it wrote."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it wrote to stdout, which must be JSON and nothing else."""
        return json.loads(self.out)


Thumbloop = Callable[..., Result]


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model that says something; tests read it and never write to it.

    As it comes it repeats the line break that its prompt ends with, because its embeddings are tied; with the
    last norm turned round that is the token least likely.
    """
    from transformers import AutoModelForCausalLM

    folder = write_tiny_model(tmp_path_factory.mktemp("models") / "tiny-llama", seed=3)
    model = AutoModelForCausalLM.from_pretrained(folder)
    model.model.norm.weight.data.neg_()
    model.save_pretrained(folder)
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The data folder of the test; nothing is in it before a command is run."""
    return tmp_path / "data"


@pytest.fixture
def environment(
    tmp_path: Path, data: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    """What the command finds: an empty current folder, and data folder and model in the variables."""
    for name in [name for name in os.environ if name.startswith("THUMBLOOP_")]:
        monkeypatch.delenv(name)
    for name, value in {
        "THUMBLOOP_DATA": str(data),
        "THUMBLOOP_MODEL": str(tiny_model),
        "THUMBLOOP_DEVICE": "cpu",
        "THUMBLOOP_PRECISION": "fp32",
        "THUMBLOOP_ANSWERING__MAX_NEW_TOKENS": "8",
        "THUMBLOOP_TRAINING__NICENESS": "0",  # what steps back once never comes forward again
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "USER": "ada",
        "LOGNAME": "ada",
        "PYTHONPATH": str(ROOT),
    }.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return dict(os.environ)


@pytest.fixture
def thumbloop(
    environment: dict[str, str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Thumbloop]:
    """Run `thumbloop …`; `stdin` is what is typed."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level

    def call(*arguments: object, stdin: str = "") -> Result:
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        capsys.readouterr()
        status = run([str(argument) for argument in arguments])
        return Result(status, *capsys.readouterr())

    yield call
    logging.captureWarnings(False)
    for handler in [handler for handler in root.handlers if handler not in handlers]:
        root.removeHandler(handler)
        handler.close()
    root.setLevel(level)


@pytest.fixture
def started(environment: dict[str, str]) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start `thumbloop …` as a process of its own; it does not outlive the test."""
    processes: list[subprocess.Popen[str]] = []

    def start(*arguments: str, **options: Any) -> subprocess.Popen[str]:
        pipes: dict[str, Any] = {name: subprocess.PIPE for name in ("stdin", "stdout", "stderr")}
        process = subprocess.Popen(
            [sys.executable, "-m", "bot", *arguments], text=True, env=environment, **(pipes | options)
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture
def pairs_file(tmp_path: Path) -> Callable[[int], Path]:
    """Write a .jsonl file of so many different pairs."""

    def write(count: int) -> Path:
        file = tmp_path / f"pairs-{count}.jsonl"
        rows = [{"instruction": f"What is {n}?", "output": f"It is the number {n}."} for n in range(count)]
        file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return file

    return write


@pytest.fixture(scope="session")
def tiny_adapter(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA adapter of the tiny model that changes what it says."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    folder = tmp_path_factory.mktemp("adapters") / "tiny"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = get_peft_model(
            AutoModelForCausalLM.from_pretrained(tiny_model),
            LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False),
        )
    model.save_pretrained(folder)
    return folder


@pytest.fixture
def adapter(thumbloop: Thumbloop, data: Path, tiny_adapter: Path) -> str:
    """An adapter of the tiny model in the registry, its verdict passed."""
    thumbloop("db", "upgrade")
    staged = data / "staged"
    shutil.copytree(tiny_adapter, staged)
    return asyncio.run(_add(data, staged))


async def _add(data: Path, staged: Path) -> str:
    database = Database(f"sqlite:///{data / 'thumbloop.db'}")
    try:
        async with database.session() as session:
            added = await registry.add(
                session, data, staged, name="tiny", base_model="tiny-llama", base_revision="r"
            )
            added.state = "promoted"
            session.add(added)
            return registry.label(added)
    finally:
        await database.close()


@contextmanager
def answering(body: str) -> Iterator[int]:
    """A web server that says that to whatever it is asked; its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()
