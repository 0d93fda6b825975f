"""The `thumbloop` command: one file per verb; each parses, calls one function of the core and shows.

`edge` starts and ends a command (settings, logs, errors, exit status), `show` writes to the terminal. Verbs
import what they need when they run, so that help comes at once.
"""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line of this process and exit with its status."""
    from bot.cli.edge import run

    sys.exit(run(sys.argv[1:]))
