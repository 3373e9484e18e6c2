"""Kinds of parameters that several routes take from the address."""

from __future__ import annotations

from typing import Annotated

import msgspec
from litestar.params import PathParameter

# Any case, with dashes or without.
UUID_PATTERN = "^[0-9a-fA-F]{8}-?([0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}$"

PathId = Annotated[str, PathParameter(pattern=UUID_PATTERN, description="The id of the record.")]

# Where in a list a body wants to begin.
Offset = Annotated[int, msgspec.Meta(ge=0, le=2**62)]
