"""Runs of every kind, and the command line: in this process where that is enough, in one of its own where it matters."""

import json
import sys
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import pytest

from tidemill import flow, get_run_logger, tags, task
from tidemill.cli import main


class Answer(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    @property
    def first_words(self) -> list[str]:
        """The first column, without its title."""
        return [line.split()[0] for line in self.lines[1:]]


class Command(Protocol):
    def __call__(self, *arguments: str) -> Answer: ...


@pytest.fixture
def tidemill(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs a command in this process, where stdout is no terminal."""

    def run(*arguments: str) -> Answer:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["tidemill", *arguments])
        try:
            code = main()
        except SystemExit as leaving:
            code = int(leaving.code or 0)
        return Answer(code, *capsys.readouterr())

    return run


@task(tags=["io"])
def load(n: int) -> int:
    get_run_logger().warning("loading %s", n)
    return n + 1


@task
def refuse(_: int) -> None:
    raise ValueError("no good")


@flow(flow_run_name="step-{n}")
def step(n: int) -> int:
    return load(n)


@flow(flow_run_name="good-run", version="7", log_prints=True)
def etl(n: int, where: str = "here") -> int:
    print("starting", where)
    step(n)
    return load(load(n + 1000))  # small numbers are shared objects, which cannot be traced


@flow(flow_run_name="bad-run", retries=1)
def broken() -> None:
    refuse(load(0))


@flow(flow_run_name="twin")
def twin() -> None:
    load(1)


@pytest.fixture
def runs(capsys: pytest.CaptureFixture[str]) -> None:
    """In order: `good-run` of etl with `step-1` inside, `bad-run` of broken, and two runs named `twin`."""
    with tags("nightly", "eu"):
        etl(1)
    with pytest.raises(ValueError, match="no good"):
        broken()
    twin()
    twin()
    capsys.readouterr()


@pytest.fixture
def ids_of(tidemill: Command) -> Callable[[str], list[str]]:
    """The ids of the flow runs of a name, newest first."""

    def find(name: str) -> list[str]:
        return [run["id"] for run in tidemill("flow-run", "ls", "--json").json if run["name"] == name]

    return find
