"""Settings from a TOML file with dotted overrides on top; what is wrong is told by key, value and expectation."""

import tomllib
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import msgspec
from pydantic import ValidationError

from protocols.errors import SettingsError
from protocols.settings.whole import Settings


def load_settings(path: Path, overrides: tuple[str, ...] = ()) -> Settings:
    """Read `path` and lay `overrides` over it.

    Args:
        path: a TOML file.
        overrides: `section.key=value`, the value in TOML's notation (a bare word is taken as a string).

    Raises:
        SettingsError: the text names the file, the key, the value and what was expected.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise SettingsError(f"settings file {path} does not exist; see configs/ for examples") from error
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"settings file {path} cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"settings file {path} is not TOML: {error}") from error
    return parse_settings(data, str(path), overrides)


def default_settings(name: str, overrides: tuple[str, ...] = ()) -> Settings:
    """Return the defaults under the run name `name`, with `overrides` laid over them.

    Raises:
        SettingsError: as `load_settings`.
    """
    data: dict[str, Any] = {"run": {"name": name}}
    return parse_settings(data, "the overrides", overrides)


def parse_settings(data: dict[str, Any], source: str, overrides: tuple[str, ...] = ()) -> Settings:
    """Return `data`, with `overrides` laid over it, as settings.

    Raises:
        SettingsError: as `load_settings`.
    """
    for override in overrides:
        _lay_over(data, override)
    try:
        return Settings.model_validate(data)
    except ValidationError as error:
        raise SettingsError(_explain(error, source)) from error


def differing_keys(ours: Settings, theirs: dict[str, Any]) -> tuple[str, ...]:
    """Return the dotted keys in which a stored configuration differs from `ours`, each with both values."""
    left, right = flatten_settings(ours.model_dump(mode="json")), flatten_settings(with_defaults(theirs))
    return tuple(
        f"{key}: {_as_json(right.get(key))} there, {_as_json(left.get(key))} here"
        for key in sorted({*left, *right})
        if left.get(key) != right.get(key)
    )


def with_defaults(stored: dict[str, Any]) -> dict[str, Any]:
    """Return a stored configuration with the defaults of keys that an older version of this project did not know.

    One that is no configuration of today's is returned as it is.
    """
    with suppress(ValidationError):
        return Settings.model_validate(stored).model_dump(mode="json")
    return stored


def _as_json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _lay_over(data: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    parts = key.strip().split(".")
    if not separator or not all(parts):
        raise SettingsError(f"override {override!r} is not of the form section.key=value")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    section = data
    for part in parts[:-1]:
        inner: Any = section.setdefault(part, {})
        if not isinstance(inner, dict):
            raise SettingsError(f"override {override!r}: {part} is not a section")
        section = cast(dict[str, Any], inner)
    section[parts[-1]] = value


def _explain(error: ValidationError, source: str) -> str:
    problems: list[str] = []
    for problem in error.errors():
        key = ".".join(map(str, problem["loc"])) or "settings"
        if problem["type"] == "extra_forbidden":
            problems.append(f"{key}: unknown key")
        elif problem["type"] == "missing":
            problems.append(f"{key}: missing")
        else:
            shown = "" if isinstance(problem["input"], dict) else f", got {problem['input']!r}"
            problems.append(f"{key}: {problem['msg'].removeprefix('Value error, ')}{shown}")
    return f"settings in {source} are wrong: " + "; ".join(problems)


def flatten_settings(value: Any, prefix: str = "") -> dict[str, Any]:
    """Return settings in sections as one level of dotted keys."""
    if not isinstance(value, dict):
        return {prefix: value}
    flat: dict[str, Any] = {}
    for key, inner in cast(dict[str, Any], value).items():
        flat |= flatten_settings(inner, f"{prefix}.{key}" if prefix else str(key))
    return flat
