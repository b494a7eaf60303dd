from pathlib import Path

import pytest
from pydantic import ValidationError

from model.errors import InputError
from service.settings import Settings, read_settings


def test_every_setting_has_a_description() -> None:
    assert all(field.description for field in Settings.model_fields.values())


def test_options_win_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPAL_PORT", "9001")
    monkeypatch.setenv("OPAL_WORKERS", "3")
    settings = read_settings(registry="somewhere", port=9002, workers=None)

    assert (settings.port, settings.workers) == (9002, 3)


def test_a_bad_value_is_told_on_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPAL_PORT", "http")
    monkeypatch.setenv("OPAL_CACHE_TTL", "-1")

    with pytest.raises(InputError) as caught:
        read_settings(registry="somewhere")

    assert "OPAL_PORT: " in str(caught.value)
    assert "(got 'http')" in str(caught.value)
    assert "OPAL_CACHE_TTL: " in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_wrong_address_of_redis_is_told_without_its_password() -> None:
    with pytest.raises(InputError) as caught:
        read_settings(registry="somewhere", redis_url="http://:secret@host")

    assert str(caught.value).startswith("OPAL_REDIS_URL: must begin with redis://")
    assert "secret" not in str(caught.value)


def test_a_missing_registry_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPAL_REGISTRY", raising=False)

    with pytest.raises(InputError, match=r"OPAL_REGISTRY: Field required$"):
        read_settings()


def test_settings_are_frozen() -> None:
    settings = Settings(registry=Path("somewhere"))

    with pytest.raises(ValidationError, match="frozen"):
        settings.port = 1


def test_secrets_are_not_shown() -> None:
    settings = read_settings(
        registry="somewhere", redis_url="redis://:secret@host", admin_token="x"
    )

    assert "secret" not in repr(settings)


def test_a_signing_key_that_is_too_short_is_told_and_not_shown() -> None:
    with pytest.raises(InputError) as caught:
        read_settings(registry="somewhere", signing_key=f"{32 * 'k'},hunter2")

    assert str(caught.value).startswith("OPAL_SIGNING_KEY: key 2 of 2 is shorter than 32 char")
    assert "hunter2" not in str(caught.value)
    assert "kkk" not in repr(read_settings(registry="somewhere", signing_key=32 * "k"))


@pytest.mark.parametrize("token", ["", " ", "abc ", "\tabc", "pä", "a\rb"])
def test_an_admin_token_that_no_header_can_hold_is_refused(token: str) -> None:
    with pytest.raises(InputError, match=r"^OPAL_ADMIN_TOKEN: ") as caught:
        read_settings(registry="somewhere", admin_token=token)

    assert "pä" not in str(caught.value)
