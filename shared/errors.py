"""The errors, one branch per duty of whoever catches.

SluiceError
├── ConfigError          fix the settings; every problem is reported at once
├── TransientError       try again, after `retry_after` seconds when the peer said so
├── RejectedError        this event never succeeds: keep it in the rejected queue with the reason
├── PositionLostError    halt this stream: changes are missing at the source
├── LeaseError           step aside: another process advances this shard
└── StaleError           look again: a conditional write lost against another writer
"""


class SluiceError(Exception):
    """Root of the tree; `hint` tells the operator what to do next."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(f"{message} ({hint})" if hint else message)
        self.message = message
        self.hint = hint


class ConfigError(SluiceError):
    """A setting that cannot work; `where` names file, block and key as far as known."""

    def __init__(self, message: str, *, where: str = "", value: str = "", hint: str = "") -> None:
        said = f"{where}: {message}" if where else message
        super().__init__(f"{said}, got {value!r}" if value else said, hint=hint)
        self.where = where
        self.value = value


class InvalidConfigError(SluiceError):
    """Every problem of one configuration, in the order of the file."""

    def __init__(self, problems: tuple[ConfigError, ...]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


class TransientError(SluiceError):
    """A peer that is away, busy or refusing for now.

    `retry_after` is in seconds, None when the peer did not say. `lasting` marks a fault that waiting a moment does not
    mend (a missing or forbidden entity, a full one): still never a reason to reject an event.
    """

    def __init__(
        self, message: str, *, retry_after: float | None = None, lasting: bool = False, hint: str = ""
    ) -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after
        self.lasting = lasting


class RejectedError(SluiceError):
    """An event whose own data make it undeliverable, for ever; the message is the reason."""


class PositionLostError(SluiceError):
    """The source no longer holds what follows the saved position of `stream`."""

    def __init__(self, stream: str, message: str, *, hint: str) -> None:
        super().__init__(f"{stream}: {message}", hint=hint)
        self.stream = stream


class LeaseError(SluiceError):
    """Another process holds the lease of this shard, or took it."""


class StaleError(SluiceError):
    """The entity was changed by somebody else since it was read; nothing was written."""
