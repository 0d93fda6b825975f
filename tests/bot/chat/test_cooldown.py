"""Members and communities are slowed down, not silenced."""

from __future__ import annotations

from bot.chat.cooldown import BURST, BURST_SECONDS, Cooldowns


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_member_waits_between_two_questions_and_others_do_not() -> None:
    clock = Clock()
    cooldowns = Cooldowns(clock)
    assert cooldowns.take("guild", "ada", 10) == 0
    clock.now += 4
    assert cooldowns.take("guild", "ada", 10) == 6
    assert cooldowns.take("guild", "ben", 10) == 0
    assert cooldowns.take("other guild", "ada", 10) == 0
    clock.now += 6
    assert cooldowns.take("guild", "ada", 10) == 0


def test_a_refused_question_does_not_prolong_the_wait() -> None:
    clock = Clock()
    cooldowns = Cooldowns(clock)
    cooldowns.take("guild", "ada", 10)
    clock.now += 9
    assert cooldowns.take("guild", "ada", 10) == 1
    clock.now += 1
    assert cooldowns.take("guild", "ada", 10) == 0


def test_a_raid_is_slowed_down() -> None:
    clock = Clock()
    cooldowns = Cooldowns(clock)
    assert not any(cooldowns.take("guild", f"member {n}", 0) for n in range(BURST))
    assert 0 < cooldowns.take("guild", "one more", 0) <= BURST_SECONDS
    assert cooldowns.take("other guild", "calm", 0) == 0
    clock.now += BURST_SECONDS
    assert cooldowns.take("guild", "one more", 0) == 0
