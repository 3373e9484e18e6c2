"""The tutorial as a notebook: one real kernel runs every cell, the tests look at what each cell showed."""

import re

import nbclient
import nbformat
import pytest

pytestmark = [pytest.mark.program, pytest.mark.slow]

MAY_FAIL = {"bad url", "asyncio.run"}


def cells_to_run(programs, url):
    """Each cell's title and source."""
    return {
        "address": f"URL = {url!r}",
        "first flow": programs.add_one + "\n@flow\ndef my_flow():\n    result = add_one(1)\n    return result",
        "its value": "my_flow()",
        "state flow": "@flow\ndef my_add_one_flow():\n    state = add_one(1, return_state=True)\n    return state",
        "state": "state = my_add_one_flow()",
        "state's result": "state.result()",
        "flow in flow": programs.favorite_function,
        "shown state": "state",
        "42": "state.result()",
        "api": programs.api_flow + "\nstate = api_flow(URL)",
        "fact": "state.result()",
        "bad url": programs.api_flow_that_raises + '\napi_flow("foo")',
        "bad url's state": 'state = api_flow("foo", return_state=True)\nstate',
        "two tasks": programs.two_tasks + "\nstate = api_flow(URL)\nprint(state)",
        "async": programs.async_flow + "\nfact = await async_flow(URL)\nfact",
        "asyncio.run": "asyncio.run(async_flow(URL))",
        "redefined": programs.add_one,
        "redefined differently": "@task\ndef add_one(x):\n    return x + 1.0",
        "same name": '@task(name="add_one")\ndef add_two(x):\n    return x + 2',
    }


@pytest.fixture(scope="module")
def cells(tmp_path_factory, environment_for, programs, cat_facts):
    """Every cell after one run of the notebook, by its title."""
    folder = tmp_path_factory.mktemp("notebook")
    kernel_folders = {
        "IPYTHONDIR": str(folder / "ipython"),
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
        "JUPYTER_CONFIG_DIR": str(folder / "config"),
    }
    sources = cells_to_run(programs, cat_facts)
    notebook = nbformat.v4.new_notebook()
    for title, source in sources.items():
        cell = nbformat.v4.new_code_cell(source.strip())
        cell.metadata["tags"] = ["raises-exception"] * (title in MAY_FAIL)
        notebook.cells.append(cell)
    client = nbclient.NotebookClient(
        notebook, kernel_name="python3", timeout=120, resources={"metadata": {"path": str(folder)}}
    )
    client.execute(env=environment_for(folder / "home", kernel_folders))
    return dict(zip(sources, notebook.cells, strict=True))


def stream(cell, name):
    return "".join(output.text for output in cell.outputs if output.output_type == "stream" and output.name == name)


def shown(cell):
    """What the notebook shows as the cell's value."""
    (value,) = (output.data["text/plain"] for output in cell.outputs if output.output_type == "execute_result")
    return value


def error(cell):
    (raised,) = (output for output in cell.outputs if output.output_type == "error")
    return raised


def test_3_a_first_flow(cells):
    assert shown(cells["its value"]) == "2"
    assert cells["first flow"].outputs == []


def test_3_a_flow_that_returns_a_state(cells, comparable):
    assert comparable(stream(cells["state"], "stderr")) == [
        "INFO | tidemill.engine - Created flow run 'flow-run-1' for flow 'my-add-one-flow'",
        "INFO | Flow run 'flow-run-1' - Created task run 'add_one-3c3112ef-0' for task 'add_one'",
        "INFO | Flow run 'flow-run-1' - Executing 'add_one-3c3112ef-0' immediately...",
        "INFO | Task run 'add_one-3c3112ef-0' - Finished in state Completed()",
        "INFO | Flow run 'flow-run-1' - Finished in state Completed('All states completed.')",
    ]
    assert stream(cells["state"], "stdout") == ""
    assert shown(cells["state's result"]) == "2"


def test_4_flows_return_states(cells, comparable):
    cell = cells["flow in flow"]
    assert stream(cell, "stdout") == "This function doesn't do much\n"
    assert comparable(stream(cell, "stderr")) == [
        "INFO | tidemill.engine - Created flow run 'flow-run-1' for flow 'my-favorite-function-flow'",
        "INFO | Flow run 'flow-run-1' - Created subflow run 'flow-run-2' for flow 'my-favorite-function'",
        "INFO | Flow run 'flow-run-2' - Finished in state Completed()",
        "INFO | Flow run 'flow-run-1' - Finished in state Completed('All states completed.')",
    ]
    assert shown(cells["shown state"]) == "Completed(message=None, type=COMPLETED, result=42)"
    assert shown(cells["42"]) == "42"


def test_5_parameters(cells, fact):
    assert stream(cells["api"], "stdout") == "200\n"
    assert "Created task run 'call_api-ded10bed-0' for task 'call_api'" in stream(cells["api"], "stderr")
    assert shown(cells["fact"]) == repr(fact)


def test_6_errors(cells, comparable):
    cell = cells["bad url"]
    assert error(cell).ename == "MissingSchema"
    assert error(cell).evalue.startswith("Invalid URL 'foo'")
    lines = comparable(stream(cell, "stderr"))
    assert "ERROR | Task run 'call_api-ded10bed-0' - Encountered exception during execution:" in lines
    assert "ERROR | Task run 'call_api-ded10bed-0' - Finished in state Failed('Task run encountered an exception.')" in lines
    assert "ERROR | Flow run 'flow-run-1' - Finished in state Failed('Flow run encountered an exception.')" in lines
    assert not [line for line in lines if "/tidemill/" in line]
    assert re.match(
        r"Failed\(message='Flow run encountered an exception\.', type=FAILED, result=MissingSchema\(",
        shown(cells["bad url's state"]),
    )


def test_8_data_between_tasks(cells, fact):
    assert stream(cells["two tasks"], "stdout").splitlines() == [
        "200",
        fact["fact"],
        f"[Completed(message=None, type=COMPLETED, result={fact!r}), Completed(message=None, type=COMPLETED, result=None)]",
    ]


def test_11_async_in_a_cell(cells, comparable, fact):
    assert shown(cells["async"]) == repr(fact)
    assert comparable(stream(cells["async"], "stderr"))[-1] == ("INFO | Flow run 'flow-run-1' - Finished in state Completed()")
    assert error(cells["asyncio.run"]).ename == "RuntimeError"
    assert "cannot be called from a running event loop" in error(cells["asyncio.run"]).evalue


def test_12_redefining_a_function_in_a_cell_does_not_nag(cells):
    for title in ("redefined", "redefined differently", "api", "bad url", "two tasks", "async"):
        assert "my_unique_name" not in stream(cells[title], "stderr"), title


def test_12_the_same_name_twice(cells):
    told = stream(cells["same name"], "stderr")
    assert "UserWarning" in told
    assert "@task(name='my_unique_name', ...)" in told
