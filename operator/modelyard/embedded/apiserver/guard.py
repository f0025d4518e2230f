"""Who may talk to the server: holders of the token, and no web page in a browser."""

import hmac
import logging
from collections.abc import Awaitable, Callable

from aiohttp import web

from modelyard.embedded.apiserver.errors import ApiError, forbidden, unauthorized
from modelyard.embedded.apiserver.routes import json_response

_LOG = logging.getLogger(__name__)
_NAMES = ("127.0.0.1", "localhost")
_HEALTH = {"/healthz", "/readyz", "/livez"}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def guarded(handler: Handler, token: str) -> Handler:
    """Wrap a handler so that it only sees authentic requests, and its errors become answers.

    Browsers resolve names that attackers choose to 127.0.0.1; the Host and Origin that they send
    give them away.
    """

    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            _check_origin(request)
            if request.path in _HEALTH:
                return web.Response(text="ok")
            _check_token(request, token)
            return await handler(request)
        except ApiError as error:
            return json_response(error.status(), error.code)
        except web.HTTPRequestEntityTooLarge as error:
            too_large = ApiError(413, "RequestEntityTooLarge", error.text or "body too large")
            return json_response(too_large.status(), 413)
        except (ConnectionResetError, web.HTTPException):
            raise
        except Exception:
            _LOG.exception("%s %s failed", request.method, request.path)
            internal = ApiError(500, "InternalError", "Internal error occurred: see the log")
            return json_response(internal.status(), 500)

    return handle


def _check_origin(request: web.Request) -> None:
    port = request.transport.get_extra_info("sockname")[1] if request.transport else 0
    allowed = {f"{name}:{port}" for name in _NAMES}
    if request.headers.get("Host", "") not in allowed:
        raise forbidden(f"the Host header must be one of {', '.join(sorted(allowed))}")
    origin = request.headers.get("Origin")
    if origin is not None and origin.removeprefix("https://") not in allowed:
        raise forbidden("requests from other origins are refused")


def _check_token(request: web.Request, token: str) -> None:
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    if scheme != "Bearer" or not hmac.compare_digest(given.encode(), token.encode()):
        raise unauthorized()
