"""The Dockerfile's steps in a clean Debian, without a container engine, until the service is ready.

By hand, as root on Debian 12: `python -m tests.clean_root FOLDER`. A missing or empty FOLDER is filled by
debootstrap, with this Python where the base image has its own. What is then run, copied and started is read
from `deploy/Dockerfile`, so neither can change without the other. Not tried: layers, volumes, limits, the
image's size.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

REPOSITORY: Final = Path(__file__).parent.parent
DOCKERFILE: Final = REPOSITORY / "deploy" / "Dockerfile"
PYTHON_NEEDS: Final = (
    "ca-certificates,netbase,tzdata,libssl3,libffi8,libsqlite3-0,zlib1g,libbz2-1.0,liblzma5,libreadline8,"
    "libncursesw6,libexpat1,libuuid1"
)
READY_S: Final = 270  # the start period, and three health checks in vain after it
STOPPED_S: Final = 40  # the compose file's grace period


def instructions(text: str) -> Iterator[tuple[str, str]]:
    """The words of a Dockerfile with what follows them, in order."""
    kept = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    for line in kept.replace("\\\n", " ").splitlines():
        if line.strip():
            word, _, rest = line.strip().partition(" ")
            yield word.upper(), rest.strip()


@dataclass
class Image:
    """A root that instructions are carried out in, and what they said about starting it."""

    root: Path
    user: str = "root"
    folder: str = "/"
    environment: dict[str, str] = field(
        default_factory=lambda: {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"}
    )
    entrypoint: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    health: list[str] = field(default_factory=list)
    stop: signal.Signals = signal.SIGTERM

    def carry_out(self, word: str, rest: str, ignored: str) -> None:
        """Do what one instruction says. Raises ValueError for one that is not known here."""
        if word == "RUN":
            print(f"RUN {rest}", flush=True)
            subprocess.run(self._inside(["/bin/sh", "-c", rest]), env=self.environment, check=True)
        elif word == "COPY":
            *sources, target = rest.split()
            for source in sources:
                self._copy(source, target, ignored)
        elif word in ("ENV", "ARG"):
            for pair in shlex.split(rest):
                name, _, value = pair.partition("=")
                self.environment.setdefault(name, value) if word == "ARG" else self.environment.update(
                    {name: value}
                )
        elif word == "WORKDIR":
            self.folder = rest
            (self.root / rest.lstrip("/")).mkdir(parents=True, exist_ok=True)
        elif word == "USER":
            self.user = rest
        elif word == "ENTRYPOINT":
            self.entrypoint = json.loads(rest)
        elif word == "CMD":
            self.command = json.loads(rest)
        elif word == "HEALTHCHECK":
            self.health = json.loads(rest.partition("CMD ")[2])
        elif word == "STOPSIGNAL":
            self.stop = signal.Signals[rest]
        elif word not in ("FROM", "VOLUME"):
            raise ValueError(f"{DOCKERFILE} says {word}, which this does not know")

    def start(self, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
        """The entry point with its command, in a process namespace of its own, as `docker run` does."""
        return subprocess.Popen(
            ["unshare", "--pid", "--fork", *self._inside([*self.entrypoint, *self.command])],
            env={**self.environment, **environment},
        )

    def is_ready(self, environment: Mapping[str, str]) -> bool:
        """Whether the health check says so."""
        asked = self._inside(self.health)
        return not subprocess.run(
            asked, env={**self.environment, **environment}, capture_output=True
        ).returncode

    def _inside(self, command: list[str]) -> list[str]:
        place = ["chroot", f"--userspec={self.user}", str(self.root)]
        return [*place, "/bin/sh", "-c", f'cd {self.folder} && exec "$@"', "sh", *command]

    def _copy(self, source: str, target: str, ignored: str) -> None:
        if f"!{source}" not in ignored.splitlines():
            raise ValueError(f".dockerignore keeps {source} out, which the Dockerfile copies")
        place = self.root / self.folder.lstrip("/") / target
        if (REPOSITORY / source).is_dir():
            without = shutil.ignore_patterns("__pycache__", "*.so")
            shutil.copytree(REPOSITORY / source, place, ignore=without, dirs_exist_ok=True)
        else:
            shutil.copy(REPOSITORY / source, place)


def fill(root: Path, suite: str, python: str) -> None:
    """What the base image brings: Debian, and its Python in `/usr/local`. Raises ValueError for another."""
    if not sys.version.startswith(f"{python}."):
        raise ValueError(f"the Dockerfile wants Python {python}; run this with that one")
    subprocess.run(["debootstrap", "--variant=minbase", f"--include={PYTHON_NEEDS}", suite, root], check=True)
    ours, theirs = Path(sys.base_prefix), root / "usr" / "local"
    for folder in (f"lib/python{python}", f"include/python{python}"):
        without = shutil.ignore_patterns("site-packages", "test", "__pycache__")
        shutil.copytree(ours / folder, theirs / folder, ignore=without, symlinks=True)
    for library in ours.glob("lib/libpython*.so*"):
        shutil.copy(library, theirs / "lib")
    shutil.copy(ours / "bin" / f"python{python}", theirs / "bin")
    (theirs / "bin" / "python").symlink_to(f"python{python}")
    subprocess.run(["chroot", root, "ldconfig"], check=True)
    subprocess.run(["chroot", root, "/usr/local/bin/python", "-m", "ensurepip"], check=True)
    (theirs / "bin" / "pip").symlink_to(f"pip{python}")


@contextmanager
def mounted(root: Path, folders: list[Path]) -> Iterator[None]:
    """Of this machine only the kernel's view, names of hosts, and `folders`."""
    with ExitStack() as stack:
        for folder in (Path("/proc"), Path("/dev/shm"), *folders):
            place = root / folder.relative_to("/")
            place.mkdir(parents=True, exist_ok=True)
            subprocess.run(["mount", "--bind", folder, place], check=True)
            stack.callback(subprocess.run, ["umount", "--lazy", place], check=True)
        shutil.copy("/etc/resolv.conf", root / "etc")
        yield


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--bind", type=Path, action="append", default=[], help="a folder that pip needs, too")
    asked = parser.parse_args()
    root: Path = asked.folder.resolve()
    steps = list(instructions(DOCKERFILE.read_text(encoding="utf-8")))
    base = re.fullmatch(r"python:([\d.]+)-slim-(\w+)", steps[0][1])
    if steps[0][0] != "FROM" or base is None:
        raise ValueError(f"{DOCKERFILE} begins with {steps[0]}, which this does not know")
    if not root.exists() or not any(root.iterdir()):
        fill(root, base[2], base[1])
    image = Image(root)
    image.environment |= {
        name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_"))
    }
    with socket.create_server(("127.0.0.1", 0)) as free:
        own = {"THUMBLOOP_WEB__PORT": str(free.getsockname()[1])}
    with mounted(root, asked.bind):
        ignored = (REPOSITORY / ".dockerignore").read_text(encoding="utf-8")
        for word, rest in steps:
            image.carry_out(word, rest, ignored)
        began = time.monotonic()
        running = image.start(own)
        try:
            while not image.is_ready(own):
                if running.poll() is not None or time.monotonic() > began + READY_S:
                    sys.exit("The service did not become ready.")
                time.sleep(1)
            print(f"ready after {time.monotonic() - began:.0f} s")
            asked_to_stop = time.monotonic()
            os.kill(_inner(running), image.stop)
            status = running.wait(STOPPED_S)
            print(f"stopped after {time.monotonic() - asked_to_stop:.0f} s with exit status {status}")
        finally:
            if running.poll() is None:
                os.kill(_inner(running), signal.SIGKILL)
    sys.exit(status)


def _inner(unsharing: subprocess.Popen[bytes]) -> int:
    """The process that `unshare` waits for, which is the first of its namespace."""
    return int(Path(f"/proc/{unsharing.pid}/task/{unsharing.pid}/children").read_text().split()[0])


if __name__ == "__main__":
    main()
