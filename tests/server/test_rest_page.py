"""The commands of docs/rest.md, in their order: each is answered, and as the page shows."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

PAGE = Path(__file__).parents[2] / "docs" / "rest.md"
SERVER = "http://127.0.0.1:4200"
# Which variable of the page the id in an answer is.
MADE_AT = {"/api/flows/": "FLOW", "/api/flow_runs/": "RUN", "/api/task_runs/": "TASK_RUN"}


def steps() -> Iterator[tuple[str, Any]]:
    """The commands, each with the answer that the page shows of it, if it shows one."""
    commands: list[str] = []
    for kind, text in re.findall(r"^```(sh|json)\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
        if kind == "json":
            yield commands.pop(), msgspec.json.decode(text)
            continue
        yield from ((command, None) for command in commands)
        commands = re.split(r"\n(?=curl )", text.strip())
    yield from ((command, None) for command in commands)


def run(served, command: str, variables: dict[str, str]) -> Any:
    """What curl would do."""
    told = re.sub(r"\$(\w+)", lambda found: variables[found[1]], command)
    words = iter(shlex.split(told.replace("\\\n", " "))[1:])
    method, url, body, headers = "", "", None, {}
    for word in words:
        if word == "-X":
            method = next(words)
        elif word == "-H":
            name, value = next(words).split(": ")
            headers[name] = value
        elif word == "-d":
            body = next(words).encode()
        elif word != "-s":
            url = word
    answer = served.api.request(
        method or ("POST" if body is not None else "GET"), url.replace(SERVER, served.url), content=body, headers=headers
    )
    assert answer.is_success, f"{told}\n{answer.status_code} {answer.text}"
    if not answer.content or "json" not in answer.headers["content-type"]:
        return None
    made = MADE_AT.get(url.removeprefix(SERVER))
    if made is not None and body is not None:
        variables[made] = answer.json()["id"]
    return answer.json()


def is_as_shown(answer: Any, shown: Any) -> bool:
    """`"..."` stands for anything."""
    if shown == "...":
        return True
    if isinstance(shown, dict):
        return all(is_as_shown(answer.get(key, {}), value) for key, value in shown.items())
    return answer == shown


def test_every_command_of_the_page_does_what_it_says(served):
    variables: dict[str, str] = {}
    tried = 0
    for command, shown in steps():
        answer = run(served, command, variables)
        assert shown is None or is_as_shown(answer, shown), f"{command}\n{answer}"
        tried += 1
    assert tried > 20
    assert set(variables) == set(MADE_AT.values())
