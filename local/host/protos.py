"""The message types that the worker library expects from its host, as plain classes: nothing here is sent anywhere.

The library is handed this module as its `protos`. The names are those of the protobuf contract,
https://github.com/Azure/azure-functions-language-worker-protobuf; only what the library uses is here.
"""

from types import SimpleNamespace
from typing import Any, ClassVar


class _Record:
    """Keeps what it is given; what was not given reads as None, as an unset field does."""

    def __init__(self, **fields: Any) -> None:
        self.__dict__.update(fields)

    def __getattr__(self, name: str) -> None:
        if name.startswith("__"):
            raise AttributeError(name)


class TypedData:
    """One value of one kind: `TypedData(json="{}")`; without arguments, none."""

    def __init__(self, **one_of: Any) -> None:
        self._kind = next(iter(one_of), None)
        self.__dict__.update(one_of)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)  # the library probes for `.TypedData` and expects to be refused

    def WhichOneof(self, _: str) -> str | None:  # noqa: N802 - the name protobuf gives it
        """Return the kind of the value."""
        return self._kind


class ParameterBinding(_Record):
    """A named value."""

    name: str
    data: TypedData

    def WhichOneof(self, _: str) -> str:  # noqa: N802 - the name protobuf gives it
        """Return where the value is; shared memory is not offered."""
        return "data"


class StatusResult(_Record):
    """How a request ended."""

    Failure: ClassVar = 0
    Success: ClassVar = 1
    Cancelled: ClassVar = 2


class BindingInfo(_Record):
    """A binding, as the library describes it."""

    out: ClassVar = 1
    inout: ClassVar = 2
    undefined: ClassVar = 0
    string: ClassVar = 1
    binary: ClassVar = 2
    stream: ClassVar = 3


class RpcHttpCookie(_Record):
    """A cookie of an HTTP response."""

    SameSite: ClassVar = SimpleNamespace(**{"None": 0, "Lax": 1, "Strict": 2, "ExplicitNone": 3})


class RpcException(_Record):
    """What a function raised: `message`, `stack_trace`."""


class RpcHttp(_Record):
    """An HTTP request or response."""


class WorkerMetadata(_Record):
    """The worker, about itself."""


class WorkerInitResponse(_Record):
    """Whether the app could be indexed."""


class FunctionMetadataResponse(_Record):
    """The indexed functions."""


class RpcFunctionMetadata(_Record):
    """One indexed function."""


class RpcRetryOptions(_Record):
    """The retry policy of a function."""


class FunctionLoadResponse(_Record):
    """The answer to a request that does nothing."""


class FunctionEnvironmentReloadResponse(_Record):
    """The answer to a reload."""


class InvocationResponse(_Record):
    """The outcome of an invocation."""


class NullableString(_Record):
    """A string or nothing."""


class NullableBool(_Record):
    """A truth value or nothing."""


class NullableDouble(_Record):
    """A number or nothing."""


class NullableTimestamp(_Record):
    """A time or nothing."""


class Timestamp(_Record):
    """Seconds since 1970, UTC."""
