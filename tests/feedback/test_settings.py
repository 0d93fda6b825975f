"""The record's settings: documented where declared, strict, and silent about secrets."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from feedback.settings import RecordSettings


def test_every_setting_says_what_it_does() -> None:
    assert [name for name, field in RecordSettings.model_fields.items() if not field.description] == []


def test_an_unknown_setting_is_refused() -> None:
    with pytest.raises(ValidationError, match="retention"):
        RecordSettings.model_validate({"retention": 3})


def test_the_database_url_is_shown_nowhere() -> None:
    settings = RecordSettings.model_validate({"database_url": "postgresql://u:hunter2@h/d"})
    assert "hunter2" not in repr(settings) + str(settings.model_dump()) + settings.model_dump_json()


def test_votes_train_nothing_unless_told() -> None:
    assert RecordSettings().auto_approve_min_votes == 0
