"""What is set for a whole repository, for everybody who uses it: a few known keys, each with its values."""

from __future__ import annotations

from dataver.errors import BadInputError
from dataver.format.operations import ConfigSet
from dataver.log.state import State
from dataver.paths import safe_spelling
from dataver.results import Json
from dataver.session import Session
from dataver.values import dataclass

ON, OFF = "on", "off"
COMMIT_STATS = "commit.stats"


@dataclass(frozen=True, slots=True)
class Known:
    """A key: the values it may have, the one it has where nobody set it, and what it is for."""

    values: tuple[str, ...]
    default: str
    meaning: str


KNOWN = {
    COMMIT_STATS: Known((ON, OFF), OFF, "whether commits record what the columns of Parquet files hold"),
}


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting of a repository: `is_set` is False where `value` is the default. `meaning` is for people."""

    key: str
    value: str
    default: str
    is_set: bool
    meaning: str

    def to_json(self) -> Json:
        """`{"key", "value", "default", "set"}`."""
        return {"key": self.key, "value": self.value, "default": self.default, "set": self.is_set}


@dataclass(frozen=True, slots=True)
class SettingResult:
    """What changing a setting did; a `value` or `previous` of None is one that nobody set."""

    key: str
    value: str | None
    previous: str | None
    default: str

    def to_json(self) -> Json:
        """`{"key", "value", "previous", "default", "set"}`; `value` is the one that holds now."""
        value = self.default if self.value is None else self.value
        document: Json = {"key": self.key, "value": value, "previous": self.previous}
        return document | {"default": self.default, "set": self.value is not None}


class Settings:
    """The settings of an open repository. Values are text; pushes and pulls do not take them along."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def all(self) -> list[Setting]:
        """Every known setting, by key."""
        state = self._session.state()
        return [_setting(state, key) for key in sorted(KNOWN)]

    def get(self, key: str) -> Setting:
        """One setting. `BadInputError` for a key that is not known."""
        _known(key)
        return _setting(self._session.state(), key)

    def set(self, key: str, value: str) -> SettingResult:
        """Set a value, if it is not the one there. `BadInputError` for one that the key cannot have."""
        known = _known(key)
        if value not in known.values:
            raise BadInputError(f"{key} is {_either(known.values)}, not {safe_spelling(str(value))!r}")
        return self._put(key, value)

    def unset(self, key: str) -> SettingResult:
        """Go back to the default."""
        _known(key)
        return self._put(key, None)

    def _put(self, key: str, value: str | None) -> SettingResult:
        previous: list[str | None] = []

        def plan(state: State) -> tuple[ConfigSet, ...] | None:
            previous[:] = [state.setting(key)]
            return None if previous[0] == value else (ConfigSet(key, value or ""),)

        session = self._session
        session.newest()
        session.log.append(plan, session.who(None))
        return SettingResult(key, value, previous[0], KNOWN[key].default)


def records_statistics(asked: bool | None, state: State) -> bool:
    """Whether a commit records statistics of tables: as it was asked to, else as the repository says."""
    return state.setting(COMMIT_STATS) == ON if asked is None else asked


def _setting(state: State, key: str) -> Setting:
    value, default = state.setting(key), KNOWN[key].default
    return Setting(key, default if value is None else value, default, value is not None, KNOWN[key].meaning)


def _known(key: str) -> Known:
    known = KNOWN.get(key)
    if known is None:
        from difflib import get_close_matches

        close = get_close_matches(key, KNOWN, 1, 0.5)
        advice = f"{close[0]} is one" if close else f"there is {_either(sorted(KNOWN))}"
        raise BadInputError(f"{safe_spelling(key)!r} is no setting; {advice}")
    return known


def _either(names: list[str] | tuple[str, ...]) -> str:
    return " or ".join(names)
