"""The HTTP application around services that were started elsewhere."""

from fastapi import FastAPI

from serving.api import admin, alarms, budgets, chat, docs, errors, feedback, judging, route
from serving.api.middleware import RequestMiddleware
from serving.bootstrap import Services
from serving.version import version


def build_app(services: Services) -> FastAPI:
    """The application; ``services`` stay the caller's to stop."""
    app = FastAPI(
        title="Pointsman",
        version=version(),
        summary="Routes each query to the model that is worth it, and learns from feedback.",
        openapi_url="/openapi.json",
        docs_url=None,
        redoc_url=None,
    )
    app.state.services = services
    errors.install(app)
    app.include_router(feedback.router)
    app.include_router(route.router)
    app.include_router(admin.router)
    app.include_router(judging.router)
    app.include_router(alarms.router)
    app.include_router(budgets.router)
    # First, because routes are tried in order and these are the busy ones.
    app.router.routes[:0] = chat.routes()
    docs.install(app)
    app.add_middleware(
        RequestMiddleware,
        metrics=services.metrics,
        draining=services.draining,
        most_in_flight=services.settings.server.max_connections,
    )
    return app
