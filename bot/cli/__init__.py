"""The `thumbloop` command: one file per verb; each parses, calls one function of the core and shows.

`edge` starts and ends a command (settings, logs, errors, exit status), `show` writes to the terminal. Verbs
import what they need when they run, so that help comes at once.
"""

from __future__ import annotations

import os
import sys
from typing import Final

PRIVATE: Final = 0o077
"""Files are for their owner alone, for they hold what people said; those that are there stay as they are."""


def main() -> None:
    """Run the command line of this process and exit with its status."""
    # before torch is loaded: threads that spin while they wait starve the other processes of a full machine,
    # and an answering and a training process side by side then take ten times as long; so training sleeps,
    # while answering, which needs its threads again at once, may spin
    if "retrain" in sys.argv[1:]:
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

    # before NumPy is loaded: products that are shared out wait for the cores that answers use
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

    os.umask(PRIVATE)

    from bot.cli.edge import run

    sys.exit(run(sys.argv[1:]))
