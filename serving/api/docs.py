"""``/docs`` and ``/openapi.json``: whole and readable without the internet."""

import html
import json
from collections.abc import Iterator, Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.requests import Request
from starlette.responses import HTMLResponse

from serving.api.documents import PLAIN_PATHS

_METHODS = ("get", "post", "put", "patch", "delete")
_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "pre{background:#f4f4f4;color:#222;padding:.75rem;overflow:auto}h2{font-size:1.1rem}"
)


def install(app: FastAPI) -> None:
    """Describe every path of ``app``, those that FastAPI does not see too, and show it."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            made = get_openapi(
                title=app.title, version=app.version, summary=app.summary, routes=app.routes
            )
            made["paths"] = {**PLAIN_PATHS, **made["paths"]}
            app.openapi_schema = made
        return app.openapi_schema

    async def show(_: Request) -> HTMLResponse:
        return HTMLResponse(page(openapi()))

    app.openapi = openapi  # type: ignore[method-assign] # FastAPI's documented way to extend it
    app.add_route("/docs", show, include_in_schema=False)


def page(openapi: Mapping[str, Any]) -> str:
    """An OpenAPI document as one page of HTML: no script, nothing from elsewhere.

    Examples
    --------
    >>> page({"info": {"title": "T", "version": "1"}, "paths": {}}).startswith("<!DOCTYPE html>")
    True
    """
    info = openapi["info"]
    title = html.escape(f"{info['title']} {info['version']}")
    parts = [part for path, item in openapi["paths"].items() for part in _path(path, item)]
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{_STYLE}</style></head><body><h1>{title}</h1>"
        f"<p>{html.escape(info.get('summary', ''))} "
        '<a href="openapi.json">openapi.json</a> is the same for programs.</p>'
        f"{''.join(parts)}</body></html>"
    )


def _path(path: str, item: Mapping[str, Any]) -> Iterator[str]:
    for method in _METHODS:
        if method not in item:
            continue
        operation = item[method]
        said = operation.get("description") or operation.get("summary", "")
        yield f"<h2><code>{method.upper()} {html.escape(path)}</code></h2>"
        yield f"<p>{html.escape(said)}</p>"
        body = operation.get("requestBody", {}).get("content", {}).get("application/json")
        if body is not None:
            yield f"<pre>{html.escape(json.dumps(body['schema'], indent=1))}</pre>"
