"""The default message body: DStream's shape, with typed values, the row before, and where the change comes from."""

from typing import Any

import msgspec

from shared import naming
from shared.errors import RejectedError
from shared.events import ChangeEvent, ClaimCheck

OPERATION_TYPES = {"c": "Insert", "u": "Update", "d": "Delete", "r": "Read"}
_COMMIT_TIME = b'"CommitTime":"'
_encoder = msgspec.json.Encoder()


class DStreamFormat:
    """Encodes changes of one pipeline; `ingest_queue` is what the messages say they travelled through."""

    def __init__(self, ingest_queue: str) -> None:
        self._ingest_queue = ingest_queue

    def encode(self, event: ChangeEvent, event_id: str, topic: str) -> bytes:
        """Return the body: UTF-8 JSON in one line, keys in this order, no spaces.

        `{"data":{…},"metadata":{…}}`, with `"before":{…}` between the two for an update; `data` is the row after, or
        the deleted row.

        Raises:
            RejectedError: a value has no JSON form.
        """
        data = event.before if event.op == "d" else event.after
        body: dict[str, Any] = {"data": data}
        if event.op == "u":
            body["before"] = event.before
        body["metadata"] = self._metadata(event, event_id, topic)
        try:
            return _encoder.encode(body)
        except (TypeError, ValueError, UnicodeError, OverflowError) as why:
            msg = f"event {event_id} has a value that JSON cannot hold: {why}"
            raise RejectedError(msg) from why

    def claimed(self, event: ChangeEvent, event_id: str, topic: str, claim: ClaimCheck) -> bytes:
        """Return the body that stands in for one stored aside: `data` null, and where the whole body is."""
        metadata = self._metadata(event, event_id, topic)
        metadata["ClaimCheck"] = {
            "container": claim.container,
            "blob": claim.blob,
            "bytes": claim.bytes,
            "sha256": claim.sha256,
        }
        return _encoder.encode({"data": None, "metadata": metadata})

    def _metadata(self, event: ChangeEvent, event_id: str, topic: str) -> dict[str, Any]:
        metadata: dict[str, Any] = {"Destination": topic, "IngestQueue": self._ingest_queue, **event.facts}
        metadata["OperationType"] = OPERATION_TYPES[event.op]
        metadata |= event.origin
        metadata["Source"] = naming.parts(event.stream)[0]
        metadata["Key"] = event.key
        if event.changed is not None:
            metadata["Changed"] = event.changed
        if event.unavailable:
            metadata["Unavailable"] = event.unavailable
        metadata["CommitTime"] = event.commit_time
        metadata["EventID"] = event_id
        return metadata


def commit_time(body: bytes) -> str:
    """Return the commit time that a body carries, "" when it has none; without parsing the JSON.

    The metadata come last and escape quotes in every value, so the last occurrence is the key itself.
    """
    _, found, rest = body.rpartition(_COMMIT_TIME)
    return rest.partition(b'"')[0].decode() if found else ""
