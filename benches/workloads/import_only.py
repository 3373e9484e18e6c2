"""Imports what a user's script imports. `import_only.py ENGINE`; `nothing` for ENGINE gives the bare interpreter."""

import sys

SERVERS = {"fastapi", "litestar", "starlette", "uvicorn"}
HEAVY = {"aiohttp", "asyncio", "http.client", "httpx", "httpx2", "pydantic", "requests", "sqlalchemy", "urllib3"} | SERVERS

if sys.argv[1] != "nothing":
    engine = __import__(sys.argv[1])
    flow, task = engine.flow, engine.task

came_along = sorted(HEAVY & sys.modules.keys())
print(f'{{"modules": {len(sys.modules)}, "heavy_modules": "{" ".join(came_along)}"}}')
