"""Where a command starts and ends: arguments in, an exit status out, one sentence for whatever goes wrong.

0 done, 1 refused or failed, 2 asked wrongly, 130 stopped by Ctrl-C, 143 by SIGTERM. What verbs raise ends
here: a ThumbloopError shows itself, anything else shows a reference under which the log explains it.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Final

from bot.cli.start import Invocation
from feedback.errors import ThumbloopError

INTERRUPTED: Final = 128 + signal.SIGINT
TERMINATED: Final = 128 + signal.SIGTERM
FAILED: Final = 1
STOPPED: Final = "Stopped on request; nothing is left half-written."


def run(argv: Sequence[str]) -> int:
    """Run one command line; its exit status. Nothing escapes but what ends the interpreter itself."""
    _tolerate_odd_characters()
    invocation = Invocation()
    with _terminated_like_interrupted(invocation):
        try:
            status = _command(argv, invocation)
        except ThumbloopError as error:
            _say(str(error))
            return error.exit_status
        except KeyboardInterrupt:
            status = INTERRUPTED
        except Exception as error:
            _say(_unexpected(error))
            return FAILED
        if status == INTERRUPTED:
            _say(STOPPED)
            return TERMINATED if invocation.terminated else INTERRUPTED
        return status


def _command(argv: Sequence[str], invocation: Invocation) -> int:
    from typer.main import get_command

    from bot.cli.app import build_app

    try:
        get_command(build_app()).main(args=list(argv), prog_name="thumbloop", obj=invocation)
    except SystemExit as ended:  # this is how typer reports: usage errors, help, a reader that went away
        return ended.code if isinstance(ended.code, int) else FAILED if ended.code else 0
    return 0


def _unexpected(error: Exception) -> str:
    from bot.logs import note_unexpected

    reference, log = note_unexpected(error)
    where = f"the details are in {log}" if log else "the log could not be written"
    return f"Something unexpected went wrong (reference {reference}); {where}. Please report it."


def _say(sentence: str) -> None:
    from bot.cli.visible import visible

    with suppress(OSError, ValueError):  # nobody listens any more
        print(visible(sentence), file=sys.stderr, flush=True)


def _tolerate_odd_characters() -> None:
    """A terminal that cannot show a character, or sends one that is none, must not end the command."""
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace" if stream is sys.stderr else "replace")


@contextmanager
def _terminated_like_interrupted(invocation: Invocation) -> Iterator[None]:
    """SIGTERM stops the work as Ctrl-C does; the invocation remembers which it was."""

    def pass_on(number: int, frame: FrameType | None) -> None:
        if invocation.terminated:  # timeout and supervisors say it twice; that must not cut the tidying short
            return
        invocation.terminated = True
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in what a script starts in the background
            signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.raise_signal(signal.SIGINT)

    former = signal.signal(signal.SIGTERM, pass_on)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former)
