"""How a message says which service its change comes from; pure."""

from shared import naming
from shared.events import Position, Stream
from shared.sources.consul.position import decode


def metadata(stream: Stream) -> dict[str, str]:
    """Return what the body says of the service, if the stream is that of one, and of the datacenter."""
    _, datacenter, *kind = naming.parts(stream)
    return {"Service": service, "Datacenter": datacenter} if (service := _service(kind)) else {"Datacenter": datacenter}


def properties(stream: Stream, position: Position) -> dict[str, str | int]:
    """Return what the properties of a message say of the datacenter, of the service, if any, and of the index."""
    _, datacenter, *kind = naming.parts(stream)
    said: dict[str, str | int] = {"datacenter": datacenter}
    if service := _service(kind):
        said["service"] = service
    return said | {"index": decode(position).index}


def _service(kind: list[str]) -> str:
    return kind[1] if kind[0] == "service" else ""
