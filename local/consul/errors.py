"""What a Consul agent answers instead of a result."""


class ConsulError(Exception):
    """A request that is answered with a status and a line of text."""

    def __init__(self, status: int, text: str, retry_after_s: float | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.retry_after_s = retry_after_s


NO_LEADER = "No cluster leader"
NO_PATH = "No path to datacenter"
ACL_NOT_FOUND = "ACL not found"
