"""What a community is set to: read it, change it, all audited; and each member's own mode."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, cast, get_args

from sqlmodel.ext.asyncio.session import AsyncSession

from bot.access.actor import Actor
from bot.access.rights import require
from bot.questions import Place
from feedback import journal
from feedback.database import Database
from feedback.errors import UsageError
from feedback.tables import Community
from feedback.words import LANGUAGES, MODES, Language, Mode
from training.adapters import deployments, registry
from training.data.language import language_of
from training.model.personas import PERSONAS

CommunityLanguage = Literal["auto", "en", "pl"]

MOST_COOLDOWN: Final = 3600
MOST_PERSONA: Final = 2000


@dataclass(frozen=True)
class CommunitySettings:
    """What a community is set to; `adapter` is the label of what answers there, or `base`."""

    community_id: int
    name: str
    adapter: str
    persona: str
    language: CommunityLanguage
    default_mode: Mode
    training_allowed: bool
    own_channels: tuple[str, ...]
    moderator_roles: tuple[str, ...]
    log_channel: str
    cooldown_seconds: int


@dataclass(frozen=True)
class Changes:
    """What to change; None leaves a setting as it is, "" empties one."""

    persona: str | None = None
    language: str | None = None
    default_mode: str | None = None
    training_allowed: bool | None = None
    own_channels: tuple[str, ...] | None = None
    moderator_roles: tuple[str, ...] | None = None
    log_channel: str | None = None
    cooldown_seconds: int | None = None


async def view(database: Database, place: Place) -> CommunitySettings:
    """The settings of the community at `place`, which is written down on first sight."""
    async with database.session() as session:
        row = await journal.community(session, place.platform, place.community, name=place.community_name)
        return await view_of(session, row)


async def view_of(session: AsyncSession, row: Community) -> CommunitySettings:
    """The settings of that community; one that is not in the record has what is set for everybody."""
    serving = await deployments.serving(session, row.id)
    return CommunitySettings(
        community_id=row.id or 0,
        name=row.name,
        adapter=registry.label(serving) if serving else registry.BASE,
        persona=row.persona,
        language=cast(CommunityLanguage, row.language),
        default_mode=cast(Mode, row.default_mode),
        training_allowed=row.training_allowed,
        own_channels=tuple(row.own_channels),
        moderator_roles=tuple(row.moderator_roles),
        log_channel=row.log_channel,
        cooldown_seconds=row.cooldown_seconds,
    )


async def change(database: Database, place: Place, changes: Changes, *, by: Actor) -> CommunitySettings:
    """Change settings, all of them or none; the settings now. Raises UsageError saying what is allowed."""
    wanted = {name: value for name, value in vars(changes).items() if value is not None}
    _refuse_wrong(changes)
    async with database.session() as session:
        row = await journal.community(session, place.platform, place.community, name=place.community_name)
        require(by, "settings.change", row.id)
        changed = {}
        for name, value in wanted.items():
            new = list(value) if isinstance(value, tuple) else value
            if getattr(row, name) != new:
                setattr(row, name, new)
                # a persona is somebody's words, which stay out of the audit
                changed[name] = new if name != "persona" else f"{len(str(new))} characters"
        if changed:
            session.add(row)
            journal.audit(session, by.name, "settings.change", f"community {row.id}", **changed)
        return await view_of(session, row)


async def set_member_mode(database: Database, place: Place, member: Actor, mode: Mode) -> None:
    """Answer this member in that mode from now on, wherever the platform's communities ask."""
    async with database.session() as session:
        row = await journal.member(session, place.platform, member.pseudonym)
        row.default_mode = mode
        session.add(row)


def language_for(setting: str, text: str) -> Language:
    """The language of what is said in public: the community's, or (auto) that of `text`."""
    return setting if setting in LANGUAGES else language_of(text)


def _refuse_wrong(changes: Changes) -> None:
    if changes.language is not None and changes.language not in get_args(CommunityLanguage):
        raise UsageError(f"The language {changes.language!r} is unknown.", "Use auto, en or pl.")
    if changes.default_mode is not None and changes.default_mode not in MODES:
        raise UsageError(f"The mode {changes.default_mode!r} is unknown.", f"Use {', '.join(MODES)}.")
    if changes.cooldown_seconds is not None and not 0 <= changes.cooldown_seconds <= MOST_COOLDOWN:
        raise UsageError(
            f"A cooldown of {changes.cooldown_seconds} seconds is not possible.", f"Use 0 to {MOST_COOLDOWN}."
        )
    if changes.persona is not None and len(changes.persona) > MOST_PERSONA:
        raise UsageError(
            f"The persona has {len(changes.persona):,} characters, and at most {MOST_PERSONA:,} are taken.",
            f"Shorten it, or name one of {', '.join(PERSONAS)}.",
        )
