"""Where settings come from, what they accept, and the profile file."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tidemill import profiles, settings
from tidemill.exceptions import SettingsError
from tidemill.settings import NAMES, accepted_by, current, load, origins, setting_of, summary_of, using, variable_of


@pytest.fixture(autouse=True)
def fresh(home: Path) -> None:
    """Settings of this test's home, and nothing else."""
    home.mkdir(exist_ok=True)


def write_profiles(home: Path, text: str) -> None:
    (home / "profiles.toml").write_text(text, encoding="utf-8")


def test_defaults(home: Path) -> None:
    loaded = load({"home": home})
    assert loaded.home == str(home)
    assert loaded.profile == "default"
    assert loaded.database_path == str(home / "tidemill.db")
    assert loaded.results_storage_path == str(home / "results")
    assert loaded.durability == "process"
    assert (loaded.logging_level, loaded.logging_level_number) == ("INFO", 20)
    assert loaded.results_inline_limit == 16_384
    assert loaded.results_size_limit == 256 * 1024**2
    assert loaded.lease_seconds == 30.0


def test_home_is_in_the_users_folder_when_nothing_says_otherwise(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("TIDEMILL_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load({}).home == str(tmp_path / ".tidemill")


def test_each_source_beats_the_one_before(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert origins({"home": home})["logging_level"] == ("INFO", "default")
    write_profiles(home, '[profiles.default]\nTIDEMILL_LOGGING_LEVEL = "debug"\n')
    file = home / "profiles.toml"
    assert origins({"home": home})["logging_level"] == ("DEBUG", f"profile 'default' in {file}")
    monkeypatch.setenv("TIDEMILL_LOGGING_LEVEL", "error")
    assert origins({"home": home})["logging_level"] == ("ERROR", "environment")
    assert origins({"home": home, "logging_level": 15})["logging_level"] == ("15", "argument")


def test_an_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEMILL_LOGGING_LEVEL", "")
    assert load().logging_level == "INFO"


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("log_prints", "yes", True),
        ("logging_colors", "OFF", False),
        ("progress", "0", False),
        ("durability", "Power", "power"),
        ("logging_level", "warning", "WARNING"),
        ("logging_level", "5", "5"),
        ("results_inline_limit", "64 KiB", 65_536),
        ("results_size_limit", "1GB", 10**9),
        ("results_size_limit", "1_000", 1000),
        ("flow_default_retries", "3", 3),
        ("task_default_retry_delay_seconds", "0.5", 0.5),
        ("api_url", "http://127.0.0.1:4200/api/", "http://127.0.0.1:4200/api"),
        ("database_url", "sqlite:////data/x.db", "sqlite:////data/x.db"),
    ],
)
def test_values_are_read(name: str, text: str, value: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable_of(name), text)
    assert getattr(load(), name) == value


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("durability", "maximal"),
        ("log_prints", "perhaps"),
        ("logging_level", "LOUD"),
        ("flow_default_retries", "-1"),
        ("flow_default_retries", "1.5"),
        ("lease_seconds", "0"),
        ("lease_seconds", "nan"),
        ("flush_interval", "soon"),
        ("results_size_limit", "3 bananas"),
        ("results_size_limit", "MiB"),
        ("api_url", "localhost:4200"),
        ("database_url", "mysql://x/y"),
        ("database_url", "sqlite:///:memory:"),
    ],
)
def test_a_bad_value_is_named_with_its_source_and_what_is_accepted(
    name: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable_of(name), text)
    with pytest.raises(SettingsError) as caught:
        load()
    message = str(caught.value)
    assert variable_of(name) in message
    assert repr(text) in message
    assert "from environment" in message
    assert accepted_by(name) in message
    assert isinstance(caught.value, ValueError)


def test_a_bad_value_in_a_profile_names_profile_and_file(home: Path) -> None:
    write_profiles(home, 'active = "work"\n[profiles.work]\nTIDEMILL_LEASE_SECONDS = "long"\n')
    with pytest.raises(SettingsError, match=r"TIDEMILL_LEASE_SECONDS cannot be 'long' \(from profile 'work' in .*toml\)"):
        load({"home": home})


def test_database_url_names_the_file(tmp_path: Path) -> None:
    with using(database_url=f"sqlite:///{tmp_path}/runs.db") as changed:
        assert changed.database_path == f"{tmp_path}/runs.db"
    with using(database_url="sqlite:///runs.db") as changed:
        assert changed.database_path == os.path.abspath("runs.db")


def test_using_holds_for_the_block_and_nests() -> None:
    before = current()
    with using(logging_level="DEBUG", lease_seconds=2):
        with using(lease_seconds=3) as inner:
            assert current() is inner
            assert (inner.logging_level, inner.lease_seconds) == ("DEBUG", 3.0)
        assert current().lease_seconds == 2.0
    assert current() is before


def test_using_refuses_what_is_no_setting_and_changes_nothing() -> None:
    before = current()
    with pytest.raises(SettingsError, match="no setting 'loging_level'"):
        with using(loging_level="DEBUG"):
            pass
    with pytest.raises(SettingsError, match="argument"):
        with using(logging_level="LOUD"):
            pass
    assert current() is before


def test_current_is_remembered_until_reload(monkeypatch: pytest.MonkeyPatch) -> None:
    before = current()
    monkeypatch.setenv("TIDEMILL_LEASE_SECONDS", "7")
    assert current() is before
    with using():
        assert current().lease_seconds == 7.0


def test_settings_cannot_be_assigned() -> None:
    with pytest.raises(AttributeError):
        current().lease_seconds = 1.0  # type: ignore[misc]


def test_the_home_of_a_setting_moves_what_lies_in_it(tmp_path: Path) -> None:
    with using(home=tmp_path / "other") as changed:
        assert changed.database_path == str(tmp_path / "other" / "tidemill.db")
        assert changed.results_storage_path == str(tmp_path / "other" / "results")


def test_every_setting_says_what_it_is_for() -> None:
    for name in NAMES:
        assert summary_of(name).endswith(".")
        assert accepted_by(name)
        assert setting_of(variable_of(name)) == setting_of(name) == name


def test_the_odd_variable() -> None:
    assert variable_of("log_prints") == "TIDEMILL_LOGGING_LOG_PRINTS"
    assert setting_of("TIDEMILL_NOTHING") is None


def test_the_active_profile(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_profiles(home, 'active = "a"\n[profiles.a]\nTIDEMILL_LOG_PRINTS = true\n[profiles.b]\nlogging_level = "ERROR"\n')
    assert load({"home": home}).profile == "a"
    monkeypatch.setenv("TIDEMILL_PROFILE", "b")
    loaded = load({"home": home})
    assert (loaded.profile, loaded.logging_level) == ("b", "ERROR")
    assert load({"home": home, "profile": "default"}).logging_level == "INFO"


def test_a_profile_that_does_not_exist(home: Path) -> None:
    write_profiles(home, "[profiles.work]\n")
    with pytest.raises(SettingsError, match=r"no profile 'wrok' .* there is default, work.*profile create wrok"):
        load({"home": home, "profile": "wrok"})


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("active = ", "not valid TOML"),
        ("active = 3", "'active'"),
        ("profiles = 3", "'profiles'"),
        ("[profiles]\nx = 1", "Profile 'x'"),
        ("[profiles.x]\ny = [1]", "y in profile 'x'"),
    ],
)
def test_a_bad_profile_file_is_named(home: Path, text: str, complaint: str) -> None:
    write_profiles(home, text)
    with pytest.raises(SettingsError, match=complaint) as caught:
        load({"home": home})
    assert str(home / "profiles.toml") in str(caught.value)


def test_profiles_survive_writing_and_reading(home: Path) -> None:
    table: dict[str, profiles.Value] = {
        "TIDEMILL_A": 'quote " back \\ line\nbell \a ü 🙂',
        "b": 3,
        "c": 0.25,
        "d": True,
    }
    written = profiles.Profiles(str(home / "profiles.toml"), "my profile", {"my profile": table, "default": {}})
    profiles.write(written)
    assert profiles.read(str(home)) == written
    assert os.listdir(home) == ["profiles.toml"]


def test_profiles_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="cannot be written"):
        profiles.write(profiles.Profiles(str(tmp_path / "file" / "profiles.toml")))


def test_a_home_without_profiles_needs_no_toml() -> None:
    code = "import sys, tidemill.settings as s; s.current(); print('tomllib' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(Path(settings.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
