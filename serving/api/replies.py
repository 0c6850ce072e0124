"""JSON out."""

from typing import Any

import orjson
from starlette.responses import Response


def json_response(body: Any, status: int) -> Response:
    """``body`` as JSON; numpy numbers and vectors are numbers and lists."""
    return Response(
        orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS),
        status_code=status,
        media_type="application/json",
    )
