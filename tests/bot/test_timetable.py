"""When jobs run, as the settings write it, and in words."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from bot.settings import ScheduleSettings
from bot.timetable import NEVER, is_time, trigger_of, triggers, words
from feedback.errors import SettingsError
from training.settings import TrainingSettings


def next_after(moment: datetime, **settings: Any) -> datetime:
    trigger = trigger_of(ScheduleSettings(**settings))
    assert trigger is not None
    found: datetime = trigger.get_next_fire_time(None, moment)
    return found.astimezone(UTC)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_nightly_is_at_the_set_hour_of_the_set_time_zone() -> None:
    summer = at("2026-07-10 12:00")
    assert next_after(summer, hour=3, timezone="Europe/Warsaw") == at("2026-07-11 01:00")


def test_biweekly_keeps_its_rhythm_whenever_the_service_is_restarted() -> None:
    first = next_after(at("2026-11-24 00:00"), retrain="biweekly")
    assert next_after(first - timedelta(hours=1), retrain="biweekly") == first
    assert next_after(first + timedelta(seconds=1), retrain="biweekly") == first + timedelta(weeks=2)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("30 4 * * *", "2026-11-25 04:30"),
        ("every 12h", "2026-11-24 15:00"),
        ("EVERY 2 d", "2026-11-26 03:00"),
        ("0 3 * * 1", "2026-11-30 03:00"),
        ("0 3 * * 7", "2026-11-29 03:00"),
        ("0 3 * * 4-6/2,0", "2026-11-26 03:00"),
        ("0 3 * * fri", "2026-11-27 03:00"),
    ],
)
def test_cron_fields_and_intervals_are_read(wanted: str, expected: str) -> None:
    assert next_after(at("2026-11-24 05:00"), retrain=wanted) == at(expected)


def test_off_is_never() -> None:
    assert trigger_of(ScheduleSettings(retrain="off")) is None


@pytest.mark.parametrize("wrong", ["sometimes", "61 4 * * *", "every 0h", "* * *", ""])
def test_what_cannot_be_read_names_the_setting_and_what_is_allowed(wrong: str) -> None:
    with pytest.raises(SettingsError, match=r"schedule\.retrain.*nightly"):
        trigger_of(ScheduleSettings(retrain=wrong))


def test_an_unknown_time_zone_is_named() -> None:
    with pytest.raises(SettingsError, match=r"schedule\.timezone.*Middle/Earth"):
        trigger_of(ScheduleSettings(timezone="Middle/Earth"))


def test_a_timetable_of_an_adapter_that_cannot_be_read_is_named() -> None:
    wrong = TrainingSettings.model_validate({"adapters": {"docs": {"schedule": "sometimes"}}})
    with pytest.raises(SettingsError, match=r"training\.adapters\.docs\.schedule is 'sometimes'.*nightly"):
        triggers(ScheduleSettings(), wrong)


# --- clocks that change ---

WARSAW = "Europe/Warsaw"


def fires(moment: str, count: int, **settings: Any) -> list[str]:
    """The next times on the wall in Warsaw, as the scheduler asks for them one after the other."""
    trigger = trigger_of(ScheduleSettings(timezone=WARSAW, **settings))
    assert trigger is not None
    found: list[datetime] = []
    now = at(moment)
    while len(found) < count:
        found.append(trigger.get_next_fire_time(found[-1] if found else None, now))
        now = found[-1]
    return [f"{one:%m-%d %H:%M}" for one in found]


@pytest.mark.parametrize(
    ("wanted", "moment", "expected"),
    [
        ("biweekly", "2026-03-10 12:00", ["03-23 04:00", "04-06 04:00"]),
        ("biweekly", "2026-10-10 12:00", ["10-19 04:00", "11-02 04:00"]),
        ("every 1d", "2026-03-28 00:00", ["03-28 04:00", "03-29 04:00", "03-30 04:00"]),
        ("every 2w", "2026-10-10 12:00", ["10-19 04:00", "11-02 04:00"]),
        ("every 12h", "2026-10-24 12:00", ["10-24 16:00", "10-25 04:00", "10-25 16:00", "10-26 04:00"]),
        ("every 1h", "2026-03-28 23:30", ["03-29 01:00", "03-29 03:00", "03-29 04:00"]),
        ("every 1h", "2026-10-24 23:30", ["10-25 02:00", "10-25 03:00", "10-25 04:00"]),
        ("nightly", "2026-03-28 12:00", ["03-29 04:00", "03-30 04:00"]),
        ("nightly", "2026-10-24 12:00", ["10-25 04:00", "10-26 04:00"]),
        ("30 4 * * *", "2026-10-24 12:00", ["10-25 04:30", "10-26 04:30"]),
    ],
)
def test_a_job_keeps_its_hour_when_clocks_change(wanted: str, moment: str, expected: list[str]) -> None:
    assert fires(moment, len(expected), retrain=wanted, hour=4) == expected


def test_a_run_whose_time_the_clock_skips_comes_an_hour_later() -> None:
    assert fires("2026-03-28 12:00", 2, retrain="every 1d", hour=2) == ["03-29 03:00", "03-30 02:00"]


@pytest.mark.parametrize("wanted", ["nightly", "0 2 * * *", "every 1d"])
def test_a_run_in_the_hour_that_comes_twice_runs_once(wanted: str) -> None:
    found = fires("2026-10-24 12:00", 3, retrain=wanted, hour=2)
    assert found == ["10-25 02:00", "10-26 02:00", "10-27 02:00"]


def test_after_the_first_of_two_like_hours_the_second_brings_no_run() -> None:
    trigger = trigger_of(ScheduleSettings(retrain="30 2 * * *", timezone=WARSAW))
    again = datetime(2026, 10, 25, 2, 10, tzinfo=ZoneInfo(WARSAW), fold=1)
    assert trigger is not None
    assert trigger.get_next_fire_time(None, again) == at("2026-10-26 01:30")


@pytest.mark.parametrize("wanted", ["nightly", "30 2 * * *"])
def test_a_cron_run_whose_time_the_clock_skips_comes_an_hour_later_too(wanted: str) -> None:
    first, second = fires("2026-03-28 12:00", 2, retrain=wanted, hour=2)
    assert first.startswith("03-29 03:") and second.startswith("03-30 02:")


# --- quiet hours ---


@pytest.mark.parametrize(
    ("hours", "wanted", "expected"),
    [
        ("1-5", "nightly", ["10-12 05:00", "10-13 05:00"]),
        ("22-6", "every 6h", ["10-11 16:00", "10-12 06:00", "10-12 10:00", "10-12 16:00", "10-13 06:00"]),
        ("22-6", "0 12 * * *", ["10-12 12:00", "10-13 12:00"]),
    ],
)
def test_what_falls_into_quiet_hours_runs_once_at_their_end(
    hours: str, wanted: str, expected: list[str]
) -> None:
    assert fires("2026-10-11 13:00", len(expected), retrain=wanted, hour=4, quiet_hours=hours) == expected


def test_quiet_hours_are_said_and_survive_the_job_store() -> None:
    trigger = trigger_of(ScheduleSettings(retrain="nightly", timezone=WARSAW, quiet_hours="22-6"))
    assert trigger is not None
    said = "every day at 03:00, from 22:00 to 06:00 only at the end of that (Europe/Warsaw)"
    assert words(pickle.loads(pickle.dumps(trigger))) == words(trigger) == said
    assert repr(pickle.loads(pickle.dumps(trigger))) == repr(trigger)


@pytest.mark.parametrize("wrong", ["22", "5-5", "7-24", "late"])
def test_quiet_hours_that_cannot_be_read_are_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match="two different hours"):
        ScheduleSettings(quiet_hours=wrong)


# --- minutes ---


def test_minutes_are_counted_through_the_change_of_clocks() -> None:
    found = fires("2026-10-25 00:10", 4, retrain="every 30m")
    assert found == ["10-25 02:30", "10-25 02:00", "10-25 02:30", "10-25 03:00"]


def test_an_interval_survives_the_job_store() -> None:
    trigger = trigger_of(ScheduleSettings(retrain="biweekly", timezone=WARSAW))
    assert repr(pickle.loads(pickle.dumps(trigger))) == repr(trigger)


# --- in words ---


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("nightly", "every day at 03:00"),
        ("biweekly", "every 2 weeks on Monday at 03:00"),
        ("weekly", "every week on Monday at 03:00"),
        ("every 1w", "every week on Monday at 03:00"),
        ("every 1d", "every day at 03:00"),
        ("every 3d", "every 3 days at 03:00"),
        ("every 12h", "every 12 hours, counted from 03:00"),
        ("every 1h", "every 1 hour, counted from 03:00"),
        ("every 90m", "every 90 minutes"),
        ("30 4 * * *", "every day at 04:30"),
        ("30 4 * * 1,5", "on Mondays, Fridays at 04:30"),
        ("0 */2 1 * 1", "whenever cron's fields 0 */2 1 * mon all fit"),
    ],
)
def test_when_a_job_runs_is_said_in_words_with_its_zone(wanted: str, expected: str) -> None:
    trigger = trigger_of(ScheduleSettings(retrain=wanted, timezone=WARSAW))
    assert trigger is not None
    assert words(trigger) == f"{expected} (Europe/Warsaw)"


def test_day_of_the_month_and_weekday_must_both_fit() -> None:
    assert next_after(at("2026-11-24 05:00"), retrain="0 3 13 * 5") == at("2027-08-13 03:00")


def test_what_is_done_every_hour_does_not_wait_until_a_clock_that_was_set_back_has_caught_up() -> None:
    hour, noon = timedelta(hours=1), at("2026-11-24 12:00")
    assert is_time(NEVER, hour, noon)
    assert not is_time(noon, hour, noon + timedelta(minutes=59))
    assert is_time(noon, hour, noon + hour)
    assert is_time(noon, hour, noon - timedelta(days=2))
