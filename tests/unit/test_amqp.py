"""The encoder beside the AMQP specification and the installed SDK's own decoder and encoder."""

from pathlib import Path

import pytest
from azure.servicebus import ServiceBusMessageBatch
from azure.servicebus._pyamqp._decode import decode_payload
from hypothesis import example, given, settings
from hypothesis import strategies as some

from shared import amqp
from shared.errors import RejectedError
from shared.events import Message

GOLDEN = bytes.fromhex(
    # message-annotations: map8, 31 bytes, 2 items: symbol "x-opt-partition-key", string "sql1/db"
    "005372 c11f02 a313 782d6f70742d706172746974696f6e2d6b6579 a107 73716c312f6462"
    # properties: list8, 50 bytes, 13 fields: message-id "m1", user-id and to null, subject "u", reply-to null,
    "005373 c0320d a102 6d31 40 40 a101 75 40"
    # correlation-id "of m0", content-type symbol "application/json", three nulls, group-id "sql1/db", two nulls
    "a105 6f66206d30 a310 6170706c69636174696f6e2f6a736f6e 40 40 40 a107 73716c312f6462 40 40"
    # application-properties: map8, 52 bytes, 10 items: op "u", small smallint -2, int 300, long 2^40, text "é"
    "005374 c1340a a102 6f70 a101 75 a105 736d616c6c 54fe a103 696e74 71 0000012c"
    "a104 6c6f6e67 81 0000010000000000 a104 74657874 a102 c3a9"
    # one data section: vbin8, 7 bytes
    "005375 a007 7b2261223a317d"
)
EXAMPLE = Message(
    id="m1",
    session="sql1/db",
    subject="u",
    content_type="application/json",
    body=b'{"a":1}',
    properties={"op": "u", "small": -2, "int": 300, "long": 2**40, "text": "é"},
    correlation_id="of m0",
)

texts = some.text(max_size=300)
ids = some.text(min_size=1, max_size=128)
values = texts | some.integers(-(2**63), 2**63 - 1) | some.booleans() | some.floats(allow_nan=False) | some.none()
messages = some.builds(
    Message,
    id=ids,
    session=ids,
    subject=texts,
    content_type=some.text(some.characters(max_codepoint=127), max_size=300),
    body=some.binary(max_size=700),
    properties=some.dictionaries(texts, values, max_size=3),
    correlation_id=some.none() | texts,
)


MANY = Message("m", "s", "c", "t", b"", {f"property {n}": n for n in range(200)})


def test_a_message_is_encoded_as_the_specification_says():
    assert amqp.encode(EXAMPLE).hex(" ") == GOLDEN.hex(" ")


@given(messages)
@example(MANY)
@settings(max_examples=50)
def test_the_sdk_decodes_what_was_put_in(message):
    _, _, annotations, properties, application, data, *_ = decode_payload(memoryview(amqp.encode(message)))

    session = message.session.encode()
    assert properties is not None
    assert annotations == {b"x-opt-partition-key": session}
    assert [properties[0], properties[3], properties[5], properties[6], properties[10]] == [
        message.id.encode(),
        message.subject.encode(),
        None if message.correlation_id is None else message.correlation_id.encode(),
        message.content_type.encode(),
        session,
    ]
    expected = {
        name.encode(): value.encode() if isinstance(value, str) else value for name, value in message.properties.items()
    }
    assert (application or {}) == expected
    assert data == [message.body]


@given(messages)
@example(MANY)
@settings(max_examples=50)
def test_the_sdk_itself_makes_the_same_bytes(message):
    theirs = ServiceBusMessageBatch()
    theirs.add_message(amqp.outgoing(message))

    assert bytes(theirs._message[5][0]) == amqp.encode(message)


def test_the_installed_sdk_is_the_tested_one_and_its_batches_can_be_filled():
    pinned = Path("requirements.txt").read_text("utf-8")

    assert f"azure-servicebus=={amqp.TESTED_SDK}\n" in pinned
    assert amqp.fills_alike()
    assert amqp.supported()


def test_a_batch_that_the_sdk_lays_out_differently_is_noticed(monkeypatch):
    class Elsewhere(ServiceBusMessageBatch):
        def __init__(self):
            super().__init__()
            self._message = {"data": []}

        def add_message(self, message):
            self._count += 1

    monkeypatch.setattr(amqp, "ServiceBusMessageBatch", Elsewhere)

    assert not amqp.fills_alike()


def test_a_batch_that_the_sdk_keeps_more_of_is_noticed(monkeypatch):
    class Counted(ServiceBusMessageBatch):
        def __init__(self):
            super().__init__()
            self._checksum = 0

        def add_message(self, message):
            super().add_message(message)
            self._checksum += 1

    monkeypatch.setattr(amqp, "ServiceBusMessageBatch", Counted)

    assert not amqp.fills_alike()


@pytest.mark.parametrize(
    "changed",
    [{"properties": {"n": 2**63}}, {"id": "\ud800"}, {"content_type": "é"}],
    ids=["an integer beyond 64 bits", "half a character", "a content type that is not ASCII"],
)
def test_what_amqp_cannot_say_is_rejected(changed):
    with pytest.raises(RejectedError, match="cannot be encoded"):
        amqp.encode(
            Message(**({"id": "m", "session": "s", "subject": "c", "content_type": "t", "body": b""} | changed))
        )


def message(number: int, size: int, session: str = "s") -> Message:
    return Message(f"m{number}", session, "c", "application/json", b"x" * size)


@settings(max_examples=50)
@given(some.lists(some.tuples(some.integers(0, 6_000), some.sampled_from("ab")), max_size=60))
def test_batches_keep_order_and_sessions_and_stay_within_the_limit(sizes):
    limit = 8_000
    sent = [message(number, size, session) for number, (size, session) in enumerate(sizes)]

    packed = list(amqp.batches(sent, limit))

    assert [each for batch in packed for each in batch.messages] == sent
    for batch in packed:
        assert [amqp.encode(each) for each in batch.messages] == list(batch.encoded)
        assert len({each.session for each in batch.messages}) == 1
        theirs = ServiceBusMessageBatch()
        for each in batch.messages:
            theirs.add_message(amqp.outgoing(each))
        envelope = 3 * 128 * 4 + 100
        assert len(batch.messages) == 1 or theirs.size_in_bytes + envelope <= limit


def test_a_batch_is_filled_up_to_its_limit():
    first, *_ = amqp.batches([message(number, 1_000) for number in range(1_000)], 262_144)

    size = sum(len(each) for each in first.encoded)
    assert 262_144 - amqp.BATCH_MARGIN - 1_200 - 8 * len(first.messages) < size < 262_144 - amqp.BATCH_MARGIN


def test_a_batch_holds_no_more_messages_than_the_service_takes():
    packed = list(amqp.batches([message(number, 0) for number in range(9_001)], 100_000_000))

    assert [len(batch.messages) for batch in packed] == [4_500, 4_500, 1]


def test_a_message_beyond_the_limit_comes_alone_in_its_place():
    packed = list(amqp.batches([message(0, 10), message(1, 300_000), message(2, 10), message(3, 10)], 262_144))

    assert [[each.id for each in batch.messages] for batch in packed] == [["m0"], ["m1"], ["m2", "m3"]]


def test_messages_before_one_that_cannot_be_encoded_are_yielded_first():
    packed = amqp.batches([message(0, 1), message(1, 1), message(2, 1, "\ud800"), message(3, 1)], 262_144)

    assert [each.id for each in next(packed).messages] == ["m0", "m1"]
    with pytest.raises(RejectedError, match="m2"):
        next(packed)
