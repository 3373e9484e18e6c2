"""Imports what a user's script imports. `import_only.py ENGINE`; `nothing` for ENGINE gives the bare interpreter."""

import sys

HEAVY = "asyncio pydantic fastapi starlette litestar uvicorn aiohttp http.client httpx httpx2 urllib3 requests sqlalchemy".split()

if sys.argv[1] != "nothing":
    engine = __import__(sys.argv[1])
    flow, task = engine.flow, engine.task

came_along = [name for name in HEAVY if name in sys.modules]
print(f'{{"modules": {len(sys.modules)}, "heavy_modules": "{" ".join(came_along)}"}}')
