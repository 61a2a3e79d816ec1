"""What stops the host from running an app, or a function of it."""


class HostError(Exception):
    """The app, or something it needs, cannot be run here; the message says what to change."""


class FunctionError(Exception):
    """One function cannot be started (a missing setting, say); as in Azure, the others still run."""
