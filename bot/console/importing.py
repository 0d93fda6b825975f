"""The import that the console carries out: one at a time, whoever looks at it.

It goes on when its page is closed. What a restart interrupts goes on where it was when it is started again:
the uploaded files wait for that.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from bot.access.actor import Actor
from bot.commands import imports
from bot.commands.imports import Result
from bot.core import Core
from bot.disclosure import sentence_for_member
from bot.uploads import Uploads
from feedback.consent import pseudonym
from feedback.errors import Conflict, ThumbloopError
from feedback.imports.records import Options
from feedback.words import Language
from training.progress import Pace


@dataclass
class UnderWay:
    """How far an import is: `done` of `total` bytes read, then of pairs or candidates written."""

    name: str
    step: str = ""
    done: int = 0
    total: int = 0
    results: list[Result] | None = None
    refusal: str = ""
    _since_s: float = field(default_factory=time.monotonic)
    _pace: Pace = field(default_factory=Pace)

    @property
    def has_ended(self) -> bool:
        """Whether it is in, or was refused."""
        return self.results is not None or bool(self.refusal)

    def reach(self, step: str, done: int, total: int) -> None:
        """Take in how far it is; called from whichever thread works."""
        if step != self.step:
            self.step, self._since_s = step, time.monotonic()
        self.done, self.total = done, total

    def per_second(self) -> float:
        """Bytes, pairs or candidates a second in this step."""
        return self.done / max(0.001, time.monotonic() - self._since_s)

    def seconds_left(self) -> float | None:
        """Until this step ends; None while that is not known."""
        return self._pace.seconds_left((self.step, self.total), self.done, self.total)


class Importing:
    """What was uploaded, and the import under way or the last that ended."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self.uploads = Uploads(core.data)
        self.latest: UnderWay | None = None

    def start(
        self,
        path: Path,
        actor: Actor,
        language: Language,
        *,
        options: Options,
        community: str | None,
        agreed: bool,
    ) -> None:
        """Begin to import what `uploads.keep` gave. Raises Conflict while another import is under way."""
        if self.latest is not None and not self.latest.has_ended:
            raise Conflict("An import is under way.", "Wait until it has ended.")
        self.latest = UnderWay(path.name)
        self._core.supervisor.watch(
            "Import", partial(self._run, self.latest, path, actor, language, options, community, agreed)
        )

    async def _run(
        self,
        under_way: UnderWay,
        path: Path,
        actor: Actor,
        language: Language,
        options: Options,
        community: str | None,
        agreed: bool,
    ) -> None:
        try:
            results = await imports.bring_in(
                self._core.database,
                path,
                imported_by=actor,
                pseudonym=partial(pseudonym, key=self._core.pseudonym_key),
                data_folder=self._core.data,
                options=options,
                community=community,
                agreed=agreed,
                apart=True,
                on_progress=under_way.reach,
            )
        except ThumbloopError as error:
            under_way.refusal = str(error)
        except Exception as error:  # the outermost edge of this task: tried again unseen, it would fail again
            under_way.refusal = sentence_for_member(error, language)
        else:
            self.uploads.discard(path)
            under_way.results = results
