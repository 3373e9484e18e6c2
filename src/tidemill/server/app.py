"""The application: routes, errors, and what they share."""

from __future__ import annotations

from typing import Any

from litestar import Litestar, Router
from litestar.di import Provide
from litestar.plugins import PluginProtocol
from litestar.plugins.core import MsgspecDIPlugin
from litestar.types import ASGIApp

from tidemill.server import openapi
from tidemill.server.access import StoreAccess
from tidemill.server.errors import EXCEPTION_HANDLERS
from tidemill.server.front import Front, cors_of
from tidemill.server.page import Page, find
from tidemill.server.routes import (
    activity,
    admin,
    artifacts,
    attempts,
    concurrency_limits,
    concurrency_limits_v2,
    csrf,
    engine,
    events,
    failures,
    flow_run_actions,
    flow_run_inputs,
    flow_run_retries,
    flow_runs,
    flows,
    graph,
    lines,
    logs,
    me,
    origins,
    parameter_schemas,
    root,
    run_states,
    saved_searches,
    stream,
    summaries,
    task_runs,
    timeline,
    tokens,
    variables,
    watching,
)
from tidemill.server.services import Services
from tidemill.server.sockets import events_in, events_out, logs_out
from tidemill.settings import Settings

# The routes under /api, by what they are about.
_ROUTES = {
    "Flows": (flows,),
    "Flow runs": (flow_runs, flow_run_actions, flow_run_retries, flow_run_inputs, graph),
    "Task runs": (task_runs,),
    "States": (run_states,),
    "What pages show": (timeline, parameter_schemas, attempts, failures, lines, activity, origins),
    "Logs": (logs,),
    "Summaries": (summaries,),
    "Events": (events, events_in, events_out, logs_out, stream),
    "Variables": (variables,),
    "Artifacts": (artifacts,),
    "Concurrency limits": (concurrency_limits, concurrency_limits_v2),
    "Saved searches": (saved_searches,),
    "Server": (root, me, csrf, admin, tokens, watching),
    "Tidemill's own clients": (engine,),
}


class Application(Litestar):
    """The framework without its plugins for records of pydantic and attrs: ours are of neither, and to load pydantic takes
    10 MiB and a tenth of the time until the server answers.

    To make the routes takes long; what they answer from is put under them then.
    """

    services: Services
    _behind_front: ASGIApp | None = None

    def serve(self, services: Services, page: Page) -> None:
        """From now on it answers from these services, which it closes when it stops, and shows this page."""
        self.services = services
        self._behind_front = self._behind_front or self.asgi_handler
        self.asgi_handler = Front(self._behind_front, page, services)

    @staticmethod
    def _get_default_plugins(plugins: list[PluginProtocol]) -> list[PluginProtocol]:
        return [*plugins, MsgspecDIPlugin()]


def create_app(services: Services, page: Page | None = None) -> Litestar:
    """The application over these services, which it closes when it stops, and the web page: by default the one of this
    installation."""
    app = create_routes(services.settings)
    app.serve(services, page or Page(find(), services.settings.ui_serve_base))
    return app


def create_routes(settings: Settings) -> Application:
    """The application, which is to be told from what it `serve`s."""

    def provide_services() -> Services:
        return app.services

    def provide_store() -> StoreAccess:
        return app.services.access

    async def close() -> None:
        await app.services.close()

    routers: list[Any] = [
        Router("/api", route_handlers=[handler for module in modules for handler in module.HANDLERS], tags=[tag])
        for tag, modules in _ROUTES.items()
    ]
    app = Application(
        [*routers, watching.metrics, openapi.openapi_json],
        dependencies={
            "services": Provide(provide_services, sync_to_thread=False),
            "store": Provide(provide_store, sync_to_thread=False),
        },
        exception_handlers=EXCEPTION_HANDLERS,
        on_shutdown=[close],
        openapi_config=openapi.config(settings.ui_serve_base),
        # The front looks at bodies before anything else does.
        request_max_body_size=None,
        cors_config=cors_of(settings),
        # How the process logs is the program's business.
        logging_config=None,
    )
    return app
