"""`tidemill config` and `tidemill profile`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tidemill.settings import NAMES, variable_of

Command = Callable[..., Any]


def test_view_shows_what_is_set_and_where(tidemill: Command, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEMILL_LEASE_SECONDS", "5")
    tidemill("config", "set", "TIDEMILL_LOGGING_LEVEL=debug")
    lines = tidemill("config", "view").lines
    assert f"TIDEMILL_HOME='{home}'" in lines[0]
    assert lines[1] == "TIDEMILL_PROFILE='default' (from default)"
    assert f"TIDEMILL_LOGGING_LEVEL='DEBUG' (from profile 'default' in {home}/profiles.toml)" in lines
    assert "TIDEMILL_LEASE_SECONDS=5.0 (from environment)" in lines
    assert len(lines) == 4
    assert "TIDEMILL_LEASE_SECONDS=5.0" in tidemill("config", "view", "--hide-sources").lines


def test_view_shows_defaults_on_demand(tidemill: Command) -> None:
    lines = tidemill("config", "view", "--show-defaults").lines
    assert len(lines) == len(NAMES)
    assert "TIDEMILL_DURABILITY='process' (from default)" in lines
    assert "TIDEMILL_API_URL= (from default)" in lines
    shown = tidemill("config", "view", "--show-defaults", "--json").json
    assert set(shown) == {variable_of(name) for name in NAMES}
    assert shown["TIDEMILL_RESULTS_INLINE_LIMIT"] == {"value": 16_384, "source": "default"}


def test_view_points_to_misspelt_variables(tidemill: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEMILL_LOGING_LEVEL", "DEBUG")
    monkeypatch.setenv("TIDEMILL_SOMETHING_ELSE", "1")
    assert tidemill("config", "view").err.splitlines() == [
        "TIDEMILL_LOGING_LEVEL is no setting; did you mean TIDEMILL_LOGGING_LEVEL?",
        "TIDEMILL_SOMETHING_ELSE is no setting.",
    ]


def test_set_and_unset(tidemill: Command, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = tidemill("config", "set", "TIDEMILL_LOGGING_LEVEL=DEBUG", "log_prints = yes")
    assert answer.code == 0
    text = (home / "profiles.toml").read_text()
    assert 'TIDEMILL_LOGGING_LEVEL = "DEBUG"' in text
    assert "TIDEMILL_LOGGING_LOG_PRINTS = " in text
    monkeypatch.setenv("TIDEMILL_LOGGING_LEVEL", "ERROR")
    assert "wins" in tidemill("config", "set", "TIDEMILL_LOGGING_LEVEL=INFO").err
    assert tidemill("config", "unset", "logging_level").code == 0
    assert "LOGGING_LEVEL" not in (home / "profiles.toml").read_text()
    again = tidemill("config", "unset", "TIDEMILL_LOGGING_LEVEL")
    assert again.code == 1
    assert again.err == "TIDEMILL_LOGGING_LEVEL is not set in profile 'default'.\n"


@pytest.mark.parametrize(
    ("assignment", "complaint"),
    [
        ("TIDEMILL_LOGING_LEVEL=1", "TIDEMILL_LOGING_LEVEL is no setting; did you mean TIDEMILL_LOGGING_LEVEL?"),
        ("colour=1", "colour is no setting"),
        ("TIDEMILL_DURABILITY=eternal", "cannot be 'eternal' (from the command line); it accepts one of process, power"),
        ("TIDEMILL_HOME=/tmp", "TIDEMILL_HOME cannot be set in a profile; set it in the environment"),
        ("TIDEMILL_PROFILE=x", "choose a profile with `tidemill profile use`"),
        ("TIDEMILL_DURABILITY", "write SETTING=VALUE"),
    ],
)
def test_set_refuses(tidemill: Command, home: Path, assignment: str, complaint: str) -> None:
    answer = tidemill("config", "set", "log_prints=true", assignment)
    assert answer.code == 1
    assert complaint in answer.err
    assert not (home / "profiles.toml").exists()


def test_a_bad_value_in_a_profile_can_be_taken_out(tidemill: Command, home: Path) -> None:
    home.mkdir(exist_ok=True)
    (home / "profiles.toml").write_text('[profiles.default]\nTIDEMILL_DURABILITY = "eternal"\nold_thing = 1\n')
    assert "cannot be 'eternal'" in tidemill("config", "view").err
    assert tidemill("config", "unset", "durability", "old_thing").code == 0
    assert tidemill("config", "view").code == 0


def test_profiles(tidemill: Command) -> None:
    assert tidemill("profile", "ls").lines == ["* default"]
    tidemill("config", "set", "logging_level=DEBUG")
    assert "tidemill profile use work" in tidemill("profile", "create", "work", "--from", "default").out
    assert tidemill("profile", "use", "work").code == 0
    assert tidemill("profiles", "ls").lines == ["  default", "* work"]
    assert tidemill("profile", "inspect").lines == ["TIDEMILL_LOGGING_LEVEL='DEBUG'"]
    assert tidemill("profile", "inspect", "work", "--json").json == {"TIDEMILL_LOGGING_LEVEL": "DEBUG"}
    assert tidemill("profile", "ls", "--json", "--limit", "1").json == [{"name": "default", "active": False}]
    assert tidemill("profile", "ls", "--offset", "1").lines == ["* work"]
    answer = tidemill("profile", "delete", "work")
    assert answer.code == 0
    assert "It was the active profile" in answer.err
    assert tidemill("profile", "ls").lines == ["* default"]


def test_a_secret_is_shown_by_no_command(tidemill: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    variable = "TIDEMILL_SERVER_API_AUTH_STRING"
    said = [tidemill("config", "set", f"{variable}=ada:correct-horse")]
    said += [tidemill("config", "view"), tidemill("config", "view", "--json"), tidemill("profile", "inspect")]
    assert all("********" in answer.out and "correct-horse" not in answer.out + answer.err for answer in said)
    answer = tidemill("config", "set", f"{variable}=correct-horse")
    assert answer.code == 1
    assert "correct-horse" not in answer.err


def test_a_profile_for_one_command(tidemill: Command) -> None:
    tidemill("profile", "create", "loud")
    for before, after in ((["--profile", "loud"], []), ([], ["-p", "loud"])):
        lines = tidemill(*before, "config", "view", *after).lines
        assert "TIDEMILL_PROFILE='loud' (from argument)" in lines


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["create", "default"], "There is a profile 'default' already"),
        (["create", "a\nb"], "cannot be the name of a profile"),
        (["create", "x", "--from", "none"], "There is no profile 'none'"),
        (["use", "none"], "There is no profile 'none'"),
        (["inspect", "none"], "There is no profile 'none'"),
        (["delete", "none"], "There is no profile 'none'"),
        (["delete", "default"], "there is nothing to delete"),
    ],
)
def test_profile_refuses(tidemill: Command, arguments: list[str], complaint: str) -> None:
    answer = tidemill("profile", *arguments)
    assert (answer.code, answer.out) == (1, "")
    assert complaint in answer.err


def test_an_active_profile_that_is_gone_can_be_replaced(tidemill: Command, home: Path) -> None:
    home.mkdir(exist_ok=True)
    (home / "profiles.toml").write_text('active = "gone"\n')
    assert "There is no profile 'gone'" in tidemill("config", "view").err
    assert tidemill("profile", "use", "default").code == 0
    assert tidemill("config", "view").code == 0


def test_the_environments_choice_of_a_profile_is_pointed_out(tidemill: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    tidemill("profile", "create", "a")
    monkeypatch.setenv("TIDEMILL_PROFILE", "a")
    assert "environment says profile 'a', and wins" in tidemill("profile", "use", "default").err
