"""What the record can be told; composed into the whole by `bot.settings`.

The folder of the SQLite file and of the pseudonym key is the product's data folder, decided there.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, SecretStr

RetentionDays = Annotated[int, Field(ge=0, le=36_500)]


class RecordSettings(BaseModel):
    """Where the record is kept, for how long, and how its queue behaves."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    database_url: SecretStr = Field(
        default=SecretStr(""),
        description="URL of the database: postgresql://user:password@host/name, or sqlite:///path. "
        "Empty (the default) is the SQLite file thumbloop.db in the data folder, enough for one machine.",
    )
    pseudonym_key: SecretStr = Field(
        default=SecretStr(""),
        description="Secret that turns members' platform ids into pseudonyms, at least 32 random characters. "
        "Empty (the default) makes one in the data folder; set it where several machines share a database.",
    )
    retention_days: int = Field(
        default=0,
        ge=0,
        le=36_500,
        description="Days after which the texts of turns that nobody approved are erased; 0 (the default) "
        "keeps them, because a queue that empties itself surprises moderators.",
    )
    retention_days_of: dict[str, RetentionDays] = Field(
        default={},
        description="The same of single communities, in place of the general one: days by number or "
        'platform:id, such as {"discord:1234": 90, "telegram:-5678": 0}. A JSON object in the environment.',
    )
    claim_minutes: int = Field(
        default=15,
        ge=1,
        le=1440,
        description="Minutes for which a turn belongs to the moderator who opened it (15: long enough to "
        "write an answer, short enough that a closed laptop blocks nothing).",
    )
    auto_approve_min_votes: int = Field(
        default=0,
        ge=0,
        le=10_000,
        description="Votes that a turn needs before the automatic-approval rule looks at it; 0 (the default) "
        "turns the rule off, because votes alone train nothing until somebody decides so.",
    )
    auto_approve_min_score: int = Field(
        default=3,
        ge=1,
        le=10_000,
        description="Up votes minus down votes from which the automatic-approval rule approves (3: more "
        "than a pair of friends).",
    )
