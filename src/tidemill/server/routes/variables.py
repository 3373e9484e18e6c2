"""Variables: values under a name that runs share."""

from __future__ import annotations

import msgspec
from litestar import delete, get, patch, post
from litestar.params import FromPath, JSONBody

from tidemill import clock
from tidemill.filters import VariableFilter, VariableSort
from tidemill.server.answers import existing
from tidemill.server.errors import Conflict
from tidemill.server.listing import Piece, page_of
from tidemill.server.parameters import PathId
from tidemill.server.services import TheServices, TheStore
from tidemill.side_records import NewVariable, Variable, VariableChange
from tidemill.store import variables
from tidemill.store.filtering import Condition
from tidemill.store.rows import Execute

_NO_VARIABLE = "There is no such variable; POST /api/variables/filter lists them."


class CountVariables(msgspec.Struct, kw_only=True):
    variables: VariableFilter | None = None


class ReadVariables(Piece, kw_only=True):
    variables: VariableFilter | None = None
    sort: VariableSort | None = None


@post("/variables")
async def create_variable(store: TheStore, data: JSONBody[NewVariable]) -> Variable:
    """Creates a variable; 409 if there is one of its name."""
    made = await store.transact(variables.create, data, clock.now())
    if made is None:
        raise _taken(data.name)
    return made


@get("/variables/{variable_id:str}")
async def read_variable(store: TheStore, variable_id: PathId) -> Variable:
    """The variable of this id."""
    return existing(await store.read(variables.variable, variables.of_id(variable_id)), _NO_VARIABLE)


@get("/variables/name/{name:str}")
async def read_variable_by_name(store: TheStore, name: FromPath[str]) -> Variable:
    """The variable of this name."""
    return existing(await store.read(variables.variable, variables.of_name(name)), _NO_VARIABLE)


@post("/variables/filter", status_code=200)
async def read_variables(store: TheStore, services: TheServices, data: JSONBody[ReadVariables | None] = None) -> list[Variable]:
    """A page of the variables that a filter asks for."""
    asked = data or ReadVariables()
    page = page_of(services, asked.limit, asked.offset)
    return await store.read(variables.variables, asked.variables, asked.sort or VariableSort.NAME_ASC, page)


@post("/variables/count", status_code=200)
async def count_variables(store: TheStore, data: JSONBody[CountVariables | None] = None) -> int:
    """How many variables a filter asks for."""
    return await store.read(variables.count_variables, data.variables if data else None)


@patch("/variables/{variable_id:str}", status_code=204)
async def change_variable(store: TheStore, variable_id: PathId, data: JSONBody[VariableChange]) -> None:
    """Changes what is named of a variable."""
    existing(await store.transact(_change, variables.of_id(variable_id), data, clock.now()), _NO_VARIABLE)


@patch("/variables/name/{name:str}", status_code=204)
async def change_variable_by_name(store: TheStore, name: FromPath[str], data: JSONBody[VariableChange]) -> None:
    """Changes what is named of a variable."""
    existing(await store.transact(_change, variables.of_name(name), data, clock.now()), _NO_VARIABLE)


@delete("/variables/{variable_id:str}")
async def delete_variable(store: TheStore, variable_id: PathId) -> None:
    """Removes a variable."""
    existing(await store.transact(variables.delete, variables.of_id(variable_id)), _NO_VARIABLE)


@delete("/variables/name/{name:str}")
async def delete_variable_by_name(store: TheStore, name: FromPath[str]) -> None:
    """Removes a variable."""
    existing(await store.transact(variables.delete, variables.of_name(name)), _NO_VARIABLE)


def _change(execute: Execute, which: Condition, changed: VariableChange, now: int) -> bool:
    if changed.name is not None and variables.is_taken(execute, changed.name, which):
        raise _taken(changed.name)
    return variables.change(execute, which, changed, now)


def _taken(name: str) -> Conflict:
    return Conflict(f"There is a variable {name!r} already; change it with PATCH /api/variables/name/{name}.")


HANDLERS = [
    create_variable,
    read_variable,
    read_variable_by_name,
    read_variables,
    count_variables,
    change_variable,
    change_variable_by_name,
    delete_variable,
    delete_variable_by_name,
]
