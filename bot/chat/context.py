"""What every chat platform works with."""

from __future__ import annotations

from dataclasses import dataclass, field

from bot.assistant import Assistant
from bot.chat.communities import CommunityCache
from bot.chat.cooldown import Cooldowns
from bot.chat.keyed_lock import KeyedLock
from bot.chat.live_answers import LiveAnswers
from bot.chat.record_waits import RecordWaits
from bot.commands.training import Retraining
from bot.core import Core
from bot.knowledge.documents.library import Library


@dataclass(kw_only=True)
class ChatContext:
    """The assistant and the state that every chat platform keeps; each adds its own client.

    `library` keeps the documents of communities; None where this process takes none.
    """

    core: Core
    assistant: Assistant
    retraining: Retraining
    library: Library | None = None
    answers: LiveAnswers = field(init=False)
    communities: CommunityCache = field(init=False)
    cooldowns: Cooldowns = field(default_factory=Cooldowns)
    keyed_lock: KeyedLock = field(default_factory=KeyedLock)
    record_waits: RecordWaits = field(default_factory=RecordWaits)

    def __post_init__(self) -> None:
        self.answers = LiveAnswers(self.core, self.assistant, self.record_waits)
        self.communities = CommunityCache(self.core.database)
