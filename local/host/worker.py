"""Drives Microsoft's Python worker library in this process: indexes the app, invokes its functions.

The library keeps the app in module globals: one app per process.
"""

import asyncio
import json
import logging
import os
import sys
import time
import uuid
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import azure_functions_runtime as library

from local.host import protos
from local.host.errors import FunctionError, HostError
from local.host.protos import TypedData

TIMEOUT_EXIT = 124
"""Exit code after a function timed out: Azure then restarts the worker process, and so does whoever started us."""

_TRIGGERS = {"timerTrigger", "serviceBusTrigger", "httpTrigger"}


class InvocationError(Exception):
    """A function raised, or returned what it may not; the log has the traceback."""


@dataclass(frozen=True, slots=True)
class Function:
    """An indexed function and the one binding that triggers it."""

    name: str
    id: str
    trigger: Mapping[str, Any]

    @property
    def kind(self) -> str:
        """The type of its trigger."""
        return str(self.trigger["type"])

    @property
    def scale_group(self) -> str:
        """Which functions share instances in Azure: those with HTTP triggers do, every other one is alone."""
        return "http" if self.kind == "httpTrigger" else self.name


class Worker:
    """The loaded app."""

    def __init__(self, functions: tuple[Function, ...], longest: timedelta | None) -> None:
        self.functions = functions
        self.counts = {function.name: {"succeeded": 0, "failed": 0} for function in functions}
        self._longest = longest
        self._running: set[asyncio.Task[Any]] = set()

    @classmethod
    async def load(cls, app: Path, longest: timedelta | None = None) -> "Worker":
        """Index `function_app.py` of the folder `app`, which becomes the working directory.

        `longest` is how long an invocation may take, None: for ever.

        Raises:
            HostError: Azure would show no functions; or one of them needs what this host does not do.
        """
        sys.path.insert(0, str(app))
        os.chdir(app)
        library.start_threadpool_executor()
        request = SimpleNamespace(worker_init_request=SimpleNamespace(capabilities={}, function_app_directory=str(app)))
        properties = {"protos": protos, "host": "127.0.0.1"}
        answer = await library.worker_init_request(SimpleNamespace(request=request, properties=properties))
        if answer.result.status != protos.StatusResult.Success:
            message = f"0 functions found: {answer.result.exception.message}\n{answer.result.exception.stack_trace}"
            raise HostError(message)
        if "HttpUri" in answer.capabilities:
            message = "HTTP streaming (azurefunctions-extensions-http-fastapi) is not supported by the local host"
            raise HostError(message)
        indexed = (await library.functions_metadata_request(SimpleNamespace())).function_metadata_results
        if not indexed:
            message = f"0 functions found in {app}: there is no function_app.py, or it registers none"
            raise HostError(message)
        return cls(tuple(read_function(metadata) for metadata in indexed), longest)

    async def invoke(
        self, function: Function, data: TypedData, metadata: Mapping[str, TypedData], reason: str
    ) -> TypedData | None:
        """Invoke a function with its trigger's value; return what it returned.

        A function that exceeds the time-out ends the process, as Azure ends its worker process.

        Raises:
            InvocationError: the function failed.
        """
        task = self._begin(self._invoke(function, data, metadata, reason))
        done, _ = await asyncio.wait({task}, timeout=self._longest.total_seconds() if self._longest else None)
        if not done:
            self._end_process(function)
        if task.cancelled():
            message = "CancelledError"
            raise InvocationError(message)
        return task.result()

    def start(self, function: Function, data: TypedData, reason: str) -> None:
        """Invoke a function in the background; the log says how it ended."""

        async def invoke() -> None:
            with suppress(InvocationError):
                await self.invoke(function, data, {}, reason)

        self._begin(invoke())

    def _begin[T](self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    async def drain(self) -> None:
        """Wait for running invocations, and stop the threads of the library."""
        if self._running:
            await asyncio.wait(self._running)
        library.stop_threadpool_executor()

    async def _invoke(
        self, function: Function, data: TypedData, metadata: Mapping[str, TypedData], reason: str
    ) -> TypedData | None:
        invocation_id = str(uuid.uuid4())
        library.invocation_id_cv.set(invocation_id)
        log = logging.getLogger(f"Function.{function.name}")
        log.info("Executing 'Functions.%s' (Reason='%s', Id=%s)", function.name, reason, invocation_id)
        started = time.perf_counter()
        request = SimpleNamespace(
            invocation_id=invocation_id,
            function_id=function.id,
            input_data=[protos.ParameterBinding(name=function.trigger["name"], data=data)],
            trigger_metadata=metadata,
            trace_context=SimpleNamespace(
                trace_parent=f"00-{uuid.uuid4().hex}-{uuid.uuid4().hex[:16]}-01", trace_state="", attributes={}
            ),
            retry_context=SimpleNamespace(retry_count=0, max_retry_count=0, exception=None),
        )
        response = await library.invocation_request(
            SimpleNamespace(properties=None, request=SimpleNamespace(invocation_request=request))
        )
        succeeded = response.result.status == protos.StatusResult.Success
        outcome = "Succeeded" if succeeded else "Failed"
        self.counts[function.name][outcome.lower()] += 1
        milliseconds = round((time.perf_counter() - started) * 1000)
        line = f"Executed 'Functions.{function.name}' ({outcome}, Id={invocation_id}, Duration={milliseconds}ms)"
        if not succeeded:
            log.error("%s\n%s", line, response.result.exception.stack_trace)
            raise InvocationError(response.result.exception.message)
        log.info("%s", line)
        value: TypedData | None = response.return_value
        return value

    def _end_process(self, function: Function) -> None:
        logging.getLogger("Host").critical(
            "Timeout value of %s exceeded by function 'Functions.%s': the process ends", self._longest, function.name
        )
        logging.shutdown()
        os._exit(TIMEOUT_EXIT)  # a thread that runs the function would hold up any other exit


def read_function(metadata: Any) -> Function:
    """Read what the library says of one function.

    Raises:
        HostError: it has bindings, or a retry policy, that this host does not do.
    """
    bindings = [json.loads(binding) for binding in metadata.raw_bindings]
    triggers = [binding for binding in bindings if binding["type"].lower().endswith("trigger")]
    others = {binding["type"] for binding in bindings if binding not in triggers} - {"http"}
    if len(triggers) != 1:
        message = f"function '{metadata.name}' has {len(triggers)} triggers; exactly one is needed"
        raise HostError(message)
    unsupported = sorted(others | ({triggers[0]["type"]} - _TRIGGERS))
    if unsupported:
        message = f"function '{metadata.name}': {', '.join(unsupported)} is not supported by the local host"
        raise HostError(message)
    if metadata.retry_options is not None:
        message = f"function '{metadata.name}': retry policies are not supported by the local host"
        raise HostError(message)
    if triggers[0].get("properties", {}).get("SupportsDeferredBinding"):
        message = f"function '{metadata.name}': SDK types are not supported by the local host"
        raise HostError(message)
    return Function(metadata.name, metadata.function_id, triggers[0])


def select(functions: tuple[Function, ...], names: str | None) -> tuple[Function, ...]:
    """Return the functions named in a comma-separated list; None: all of them.

    Raises:
        HostError: there is no function of a name.
    """
    if names is None:
        return functions
    wanted = [name.strip() for name in names.split(",")]
    unknown = set(wanted) - {function.name for function in functions}
    if unknown:
        known = ", ".join(function.name for function in functions)
        message = f"no function '{', '.join(sorted(unknown))}' in the app; it has {known}"
        raise HostError(message)
    return tuple(function for function in functions if function.name in wanted)


def setting_of(function: Function, key: str) -> str:
    """Return a text property of the trigger.

    Raises:
        FunctionError: it is missing.
    """
    value = function.trigger.get(key)
    if not isinstance(value, str) or not value:
        message = f"'{key}' of the trigger is missing"
        raise FunctionError(message)
    return value
