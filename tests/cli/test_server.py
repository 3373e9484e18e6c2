"""`tidemill server`: started in the background, looked at, stopped; and the tokens of those who may use it."""

import hashlib
import re
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tidemill import settings
from tidemill.server import pid_file
from tidemill.store import open_store, tokens

Command = Callable[..., Any]


@pytest.fixture
def server(cli: Any, home: Path) -> Iterator[Callable[..., str]]:
    """Starts a server in the background, on a free port; gives what the command says."""
    yield lambda *options, **more: cli("server", "start", "--port", "0", "--background", *options, **more)
    for each in pid_file.all_running(str(home)):
        cli("server", "stop", "--port", str(each.port))


def health(url: str) -> bytes:
    with urllib.request.urlopen(f"{url}/api/health", timeout=60) as answer:
        return answer.read()


# Starting and stopping


def test_in_the_background(server, cli, home):
    said = server()
    url, pid, log = re.match(r"The server answers at (\S+) \(process (\d+), log: (.+)\)\.", said).groups()
    assert health(url) == b"true"
    assert Path(log).parent == home
    (told,) = cli("server", "status", "--json")
    assert (told["url"], told["pid"], told["answers"]) == (url, int(pid), True)
    assert told["database"] == str(home / "tidemill.db")
    assert cli("server", "stop") == f"Stopped the server at {url} (process {pid}).\n"
    assert "No server of this home is running" in cli("server", "status", code=1)
    with pytest.raises(OSError, match="refused"):
        health(url)


def test_what_the_state_of_a_server_looks_like(server, cli, wait_until):
    url = server().split()[4]
    wait_until(lambda: "run by" in cli("server", "status"))
    shown = dict(re.split(r"  +", line, maxsplit=1) for line in cli("server", "status").splitlines())
    assert (shown["Address"], shown["Answers"]) == (url, "yes")
    assert set(shown) == {"Address", "Answers", "Process", "Version", "Started", "Database", "Loops"}


def test_several_servers_of_a_home_are_told_apart_by_their_ports(server, cli, home):
    server()
    server("--workers", "2")
    first, second = [each.port for each in pid_file.all_running(str(home))]
    assert len(cli("server", "status", "--json")) == 2
    assert f"on the ports {first}, {second}; choose one with --port" in cli("server", "stop", code=1)
    cli("server", "stop", "--port", str(first))
    assert [each.port for each in pid_file.all_running(str(home))] == [second]


def test_what_keeps_it_from_starting_is_told_by_who_starts_it(server, cli, home):
    home.mkdir(parents=True, exist_ok=True)
    (home / "tidemill.db").write_bytes(b"this is no database" * 100)
    said = server(code=1)
    assert said.startswith("Error: ")
    assert "damaged or is not a Tidemill database" in said
    assert said.count("\n") == 1


def test_there_may_be_none_to_stop(cli):
    assert cli("server", "stop", code=1) == "Error: No server of this home is running.\n"
    assert "on port 4999" in cli("server", "stop", "--port", "4999", code=1)


def test_its_former_name(cli):
    assert "Start a server" in cli("orion", "start", "--help")


def test_a_number_of_processes_that_makes_no_sense(tidemill):
    answer = tidemill("server", "start", "--workers", "0")
    assert (answer.code, answer.err) == (1, "Error: --workers must be 1 or more, not 0.\n")


def test_looking_at_servers_loads_no_web_framework(run_script):
    done = run_script(
        """
        import sys
        from tidemill.cli import main
        sys.argv = ["tidemill", "server", "status"]
        main()
        print({"litestar", "uvicorn"} & set(sys.modules))
        """
    )
    assert done.stdout == "set()\n", done.stderr


# Tokens


def recorded(home: Path) -> list[Any]:
    store = open_store(str(home / "tidemill.db"), durability="process")
    try:
        return tokens.all_tokens(store.database.fetch)
    finally:
        store.database.close()


def test_a_token_is_shown_once(tidemill: Command, home: Path) -> None:
    answer = tidemill("server", "token", "create", "laptop", "--role", "operator")
    assert answer.code == 0
    secret = answer.out.strip()
    assert secret.startswith("tidemill_")
    assert "it is shown this once" in answer.err
    assert secret not in answer.err
    (token,) = recorded(home)
    assert (token.name, token.role, token.expires) == ("laptop", "operator", None)
    store = open_store(str(home / "tidemill.db"), durability="process")
    assert tokens.of_hash(store.database.fetch, hashlib.sha256(secret.encode()).digest())
    store.database.close()
    for words in (["ls"], ["ls", "--json"]):
        assert secret not in tidemill("server", "token", *words).out


@pytest.mark.parametrize(("life", "hours"), [("12h", 12), ("90d", 90 * 24), ("4w", 4 * 7 * 24)])
def test_a_token_may_expire(tidemill: Command, home: Path, life: str, hours: int) -> None:
    tidemill("server", "token", "create", "laptop", "--role", "viewer", "--expires", life)
    (token,) = recorded(home)
    assert round((token.expires - token.created).total_seconds()) == hours * 3600


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["create", "x", "--role", "viewer", "--expires", "soon"], "--expires takes hours, days or weeks"),
        (["create", "x", "--role", "viewer", "--expires", "0d"], "--expires takes hours, days or weeks"),
        (["create", " ", "--role", "viewer"], "cannot be the name of a token"),
        (["revoke", "nobody"], "There is no token 'nobody'"),
        (["delete", "nobody"], "There is no token 'nobody'"),
    ],
)
def test_what_makes_no_sense_is_refused(tidemill: Command, words: list[str], complaint: str) -> None:
    answer = tidemill("server", "token", *words)
    assert (answer.code, answer.out) == (1, "")
    assert complaint in answer.err


def test_a_role_must_be_said(tidemill: Command) -> None:
    assert tidemill("server", "token", "create", "x").code == 2
    assert tidemill("server", "token", "create", "x", "--role", "boss").code == 2


def test_tokens_are_listed_with_what_became_of_them(tidemill: Command, home: Path) -> None:
    for name in ("a", "b", "c"):
        tidemill("server", "token", "create", name, "--role", "viewer")
    assert tidemill("server", "token", "create", "a", "--role", "admin").code == 1
    assert "Servers notice within seconds" in tidemill("server", "token", "revoke", "b").out
    assert tidemill("server", "token", "delete", "c").code == 0
    listed = tidemill("server", "token", "ls")
    assert [line.split()[:3] for line in listed.lines[1:]] == [["a", "viewer", "valid"], ["b", "viewer", "revoked"]]
    assert [token["name"] for token in tidemill("server", "token", "ls", "--json").json] == ["a", "b"]
    assert len(tidemill("server", "token", "ls", "--limit", "1").lines) == 2


def test_commands_go_to_the_database_of_the_settings(tidemill: Command, tmp_path: Path, home: Path) -> None:
    with settings.using(database_url=f"sqlite:///{tmp_path}/other.db"):
        tidemill("server", "token", "create", "x", "--role", "viewer")
    assert recorded(home) == []
