"""Health over HTTP: the status for anybody, the reasons for callers with a key."""

import json
from collections.abc import Awaitable, Callable

import azure.functions as func

type Reasons = Callable[[], Awaitable[list[str]]]


def blueprint(reasons: Reasons) -> func.Blueprint:
    """Register `health` (200 or 503, no reasons) and `health_reasons` at health/reasons (the same with the reasons)."""
    made = func.Blueprint()

    @made.function_name("health")
    @made.route("health", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
    async def health(req: func.HttpRequest) -> func.HttpResponse:  # noqa: ARG001 - the binding fills it
        return _response(await reasons(), told=False)

    @made.function_name("health_reasons")
    @made.route("health/reasons", methods=["GET"], auth_level=func.AuthLevel.FUNCTION)
    async def health_reasons(req: func.HttpRequest) -> func.HttpResponse:  # noqa: ARG001 - the binding fills it
        return _response(await reasons(), told=True)

    return made


def _response(reasons: list[str], *, told: bool) -> func.HttpResponse:
    body: dict[str, object] = {"status": "unhealthy" if reasons else "healthy"}
    if told:
        body["reasons"] = reasons
    return func.HttpResponse(
        json.dumps(body, ensure_ascii=False), status_code=503 if reasons else 200, mimetype="application/json"
    )
