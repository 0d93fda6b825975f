"""When a job runs, as the settings write it (nightly, weekly, cron fields, an interval), and in words again.

Days, weeks and hours are counted on the clock of the schedule's zone, so that a job keeps its hour when
clocks change. Leaves to others: which jobs there are, and running them (`schedule`).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

from bot.settings import ScheduleSettings
from feedback.errors import SettingsError
from feedback.plural import counted
from training.settings import TrainingSettings

_EVERY = re.compile(r"every (\d{1,4}) ?(m|h|d|w)")
_DAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_DAY_NAMES: Final = {
    "mon": "Mondays",
    "tue": "Tuesdays",
    "wed": "Wednesdays",
    "thu": "Thursdays",
    "fri": "Fridays",
    "sat": "Saturdays",
    "sun": "Sundays",
}
_NUMBERED_DAYS: Final = re.compile(r"^(?P<first>[0-7])(-(?P<last>[0-7])(/(?P<step>[1-7]))?)?$")
_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
NEVER: Final = datetime.min.replace(tzinfo=UTC)
"""When something was done last that was never done."""
_FIRST_DAY: Final = datetime(2024, 1, 1)
"""A Monday. Intervals count from a fixed day, so that a restart does not put the next run off."""
_ALLOWED: Final = (
    "Use nightly, weekly, biweekly, off, five cron fields such as '0 3 * * 1', or 'every 12h' (m, h, d, w)."
)


def is_time(last: datetime, every: timedelta, moment: datetime) -> bool:
    """Whether what was done `last` is to be done again; so it is where the clock was set back since."""
    return not timedelta(0) <= moment - last < every


class LocalInterval(BaseTrigger):  # type: ignore[misc]  # APScheduler has no types
    """Every so many hours, days or weeks from `start` on, by the clock on the wall of a time zone.

    `start` is a time without a zone. A run whose time the clock skips comes an hour later on that day.
    """

    __slots__ = "interval", "start", "timezone"

    def __init__(self, interval: timedelta, start: datetime, timezone: ZoneInfo) -> None:
        self.interval = interval
        self.start = start
        self.timezone = timezone

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime:
        """The first time that is neither before `now` nor at or before the last one."""
        local = now.astimezone(self.timezone).replace(tzinfo=None)
        number = max(0, (local - self.start) // self.interval - 1)
        while True:
            wall = (self.start + number * self.interval).replace(tzinfo=self.timezone)
            found = datetime.fromtimestamp(wall.timestamp(), self.timezone)
            if found >= now and (previous_fire_time is None or found > previous_fire_time):
                return found
            number += 1

    def __getstate__(self) -> dict[str, Any]:
        """What the job store keeps."""
        return {"interval": self.interval, "start": self.start, "timezone": self.timezone.key}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """What the job store has kept."""
        self.interval, self.start = state["interval"], state["start"]
        self.timezone = ZoneInfo(state["timezone"])

    def __repr__(self) -> str:
        return f"LocalInterval({self.interval!r}, {self.start!r}, {self.timezone.key!r})"


class LocalCron(BaseTrigger):  # type: ignore[misc]  # APScheduler has no types
    """Cron's fields by the clock on the wall of a time zone: once where the clock repeats an hour.

    APScheduler's own trigger takes the repeated hour for two, in which a time comes up again. Here the fields
    are looked up on a clock that never changes, and what is found there is then looked up in the zone: of two
    moments the first, and where the clock skips one, an hour later. So "every ten minutes" rests for the
    repeated hour.
    """

    __slots__ = "cron", "timezone"

    def __init__(self, cron: CronTrigger, timezone: ZoneInfo) -> None:
        """`cron` has the fields, and UTC for a zone."""
        self.cron = cron
        self.timezone = timezone

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime | None:
        """The first time that is neither before `now` nor at or before the last one."""
        wall: datetime | None = _wall(now, self.timezone)
        # as numbers: Python compares two times of one zone by what the wall says
        earliest, last = now.timestamp(), previous_fire_time.timestamp() if previous_fire_time else -math.inf
        while True:
            wall = self.cron.get_next_fire_time(None, wall)
            if wall is None:
                return None
            found = wall.replace(tzinfo=self.timezone, fold=0).timestamp()
            if found >= earliest and found > last:
                return datetime.fromtimestamp(found, self.timezone)
            wall += timedelta(seconds=1)

    def __getstate__(self) -> dict[str, Any]:
        """What the job store keeps."""
        return {"cron": self.cron, "timezone": self.timezone.key}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """What the job store has kept."""
        self.cron, self.timezone = state["cron"], ZoneInfo(state["timezone"])

    def __repr__(self) -> str:
        return f"LocalCron({self.cron!r}, {self.timezone.key!r})"


class Outside(BaseTrigger):  # type: ignore[misc]  # APScheduler has no types
    """As another trigger, but what falls into the quiet hours comes at their end, once."""

    __slots__ = "inner", "quiet"

    def __init__(self, inner: BaseTrigger, quiet: QuietHours) -> None:
        self.inner = inner
        self.quiet = quiet

    @property
    def timezone(self) -> ZoneInfo:
        """The zone on whose clock hours are counted."""
        return self.quiet.timezone

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime | None:
        """The first time that is neither before `now` nor at or before the last one, nor in quiet hours."""
        found = self.inner.get_next_fire_time(previous_fire_time, now)
        return found and self.quiet.end_of(found)

    def __getstate__(self) -> dict[str, Any]:
        """What the job store keeps."""
        return {"inner": self.inner, "hours": self.quiet.hours, "timezone": self.timezone.key}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """What the job store has kept."""
        self.inner = state["inner"]
        self.quiet = QuietHours(state["hours"], ZoneInfo(state["timezone"]))

    def __repr__(self) -> str:
        return f"Outside({self.inner!r}, {self.quiet.hours!r}, {self.timezone.key!r})"


@dataclass(frozen=True)
class QuietHours:
    """The hours of a day in which no run begins, by the clock of a zone: from the first to before the second.

    Where the first is the later one, they go through midnight.
    """

    hours: tuple[int, int]
    timezone: ZoneInfo

    def include(self, moment: datetime) -> bool:
        """Whether the moment is in them."""
        first, end = self.hours
        hour = moment.astimezone(self.timezone).hour
        return first <= hour < end if first < end else hour >= first or hour < end

    def end_of(self, moment: datetime) -> datetime:
        """When they end that the moment is in; the moment itself where it is in none."""
        if not self.include(moment):
            return moment
        wall = moment.astimezone(self.timezone).replace(tzinfo=None)
        end = wall.replace(hour=self.hours[1], minute=0, second=0, microsecond=0)
        if end <= wall:
            end += timedelta(days=1)
        return datetime.fromtimestamp(end.replace(tzinfo=self.timezone).timestamp(), self.timezone)


def quiet_hours(settings: ScheduleSettings) -> QuietHours | None:
    """The hours in which no run begins; None without any. Raises SettingsError for an unknown time zone."""
    if not settings.quiet_hours:
        return None
    first, _, end = settings.quiet_hours.partition("-")
    return QuietHours((int(first), int(end)), _zone(settings))


def _wall(moment: datetime, zone: ZoneInfo) -> datetime:
    """What the clock on the wall says, as a time of a zone whose clock never changes."""
    return moment.astimezone(zone).replace(tzinfo=UTC, fold=0)


def trigger_of(settings: ScheduleSettings, adapter_name: str = "", own: str = "") -> BaseTrigger | None:
    """When an adapter is retrained: by its `own` timetable if it has one; None is never.

    Raises SettingsError for what cannot be read.
    """
    setting = (
        f"training.adapters.{adapter_name}.schedule"
        if own
        else "schedule.retrain (THUMBLOOP_SCHEDULE__RETRAIN)"
    )
    trigger, quiet = _trigger(settings, own or settings.retrain, setting), quiet_hours(settings)
    return Outside(trigger, quiet) if trigger is not None and quiet is not None else trigger


def refresh_trigger(settings: ScheduleSettings) -> BaseTrigger | None:
    """When documents are read anew; None is never. Raises SettingsError for what cannot be read."""
    return _trigger(settings, settings.refresh, "schedule.refresh (THUMBLOOP_SCHEDULE__REFRESH)")


def _trigger(settings: ScheduleSettings, written: str, setting: str) -> BaseTrigger | None:
    wanted, zone = written.strip().lower(), _zone(settings)
    start = _FIRST_DAY.replace(hour=settings.hour)
    every = _EVERY.fullmatch(wanted)
    try:
        if wanted == "off":
            return None
        if wanted == "nightly":
            return LocalCron(CronTrigger(hour=settings.hour, minute=0, timezone="UTC"), zone)
        if wanted == "weekly":
            return LocalInterval(timedelta(weeks=1), start, zone)
        if wanted == "biweekly":
            return LocalInterval(timedelta(weeks=2), start, zone)
        if every is not None and int(every[1]):
            interval = {_UNITS[every[2]]: int(every[1])}
            if every[2] == "m":
                return IntervalTrigger(**interval, start_date=start.replace(tzinfo=zone), timezone=zone)
            return LocalInterval(timedelta(**interval), start, zone)
        return LocalCron(CronTrigger.from_crontab(_with_named_days(written), timezone="UTC"), zone)
    except ValueError:
        raise SettingsError(
            f"The setting {setting} is {written!r}, which cannot be read.", _ALLOWED
        ) from None


def _zone(settings: ScheduleSettings) -> ZoneInfo:
    try:
        return ZoneInfo(settings.timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise SettingsError(
            f"The setting schedule.timezone (THUMBLOOP_SCHEDULE__TIMEZONE) is {settings.timezone!r}, "
            "which is no time zone that this machine knows.",
            "Use an IANA name such as Europe/Warsaw, or UTC.",
        ) from None


def triggers(settings: ScheduleSettings, training: TrainingSettings) -> dict[str, BaseTrigger | None]:
    """When each adapter is retrained, by name. Raises SettingsError for what cannot be read."""
    return {
        name: trigger_of(settings, name, training.of_adapter(name).own.schedule) for name in training.names
    }


def words(trigger: BaseTrigger) -> str:
    """When a trigger fires, for people, with its time zone."""
    return f"{_when(trigger)} ({trigger.timezone})"


def _when(trigger: BaseTrigger) -> str:
    if isinstance(trigger, Outside):
        first, end = trigger.quiet.hours
        return f"{_when(trigger.inner)}, from {first:02}:00 to {end:02}:00 only at the end of that"
    if isinstance(trigger, LocalInterval):
        hours, days = trigger.interval // timedelta(hours=1), trigger.interval.days
        if trigger.interval % timedelta(days=1):
            return f"every {counted(hours, 'hour')}, counted from {trigger.start:%H:%M}"
        if days % 7:
            return f"every {'day' if days == 1 else counted(days, 'day')} at {trigger.start:%H:%M}"
        weeks = "week" if days == 7 else counted(days // 7, "week")
        return f"every {weeks} on {trigger.start:%A} at {trigger.start:%H:%M}"
    if isinstance(trigger, IntervalTrigger):
        return f"every {counted(trigger.interval // timedelta(minutes=1), 'minute')}"
    fields = {field.name: str(field) for field in trigger.cron.fields}
    hour, minute, weekdays = fields["hour"], fields["minute"], fields["day_of_week"].split(",")
    if (fields["month"], fields["day"]) == ("*", "*") and hour.isdigit() and minute.isdigit():
        at = f"at {int(hour):02}:{int(minute):02}"
        if weekdays == ["*"]:
            return f"every day {at}"
        if all(day in _DAY_NAMES for day in weekdays):
            return f"on {', '.join(_DAY_NAMES[day] for day in weekdays)} {at}"
    cron = " ".join(fields[name] for name in ("minute", "hour", "day", "month", "day_of_week"))
    return f"whenever cron's fields {cron} all fit"


def _with_named_days(cron: str) -> str:
    """Cron fields with the weekdays by name: cron counts them from Sunday, APScheduler from Monday."""
    fields = cron.split()
    if len(fields) == 5:
        fields[4] = ",".join(_NUMBERED_DAYS.sub(_named_days, part) for part in fields[4].split(","))
    return " ".join(fields)


def _named_days(found: re.Match[str]) -> str:
    first = int(found["first"])
    last = int(found["last"] or first)
    if first > last:
        raise ValueError("a range of days runs backwards")
    return ",".join(_DAYS[day % 7] for day in range(first, last + 1, int(found["step"] or 1)))
