"""The wire itself: what a client does that no library would do."""

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from local.broker import codec, performatives
from local.broker.codec import NULL, Described
from local.broker.conditions import AmqpError
from local.broker.message import parse, parse_batch, render, section_value
from local.broker.performatives import AMQP_HEADER, SASL_HEADER
from local.broker.sas import AccessKey


class RawClient:
    """A socket that has opened a connection and one AMQP session, and reads frames."""

    def __init__(self, opened: socket.socket) -> None:
        self._socket = opened
        self._data = b""
        opened.sendall(SASL_HEADER)
        assert self._take(8) == SASL_HEADER
        self.read()
        init = codec.list_of(codec.symbol("ANONYMOUS"), NULL, NULL)
        opened.sendall(performatives.sasl_frame(codec.described(performatives.SASL_INIT, init)))
        self.read()
        self.send_raw(AMQP_HEADER)
        assert self._take(8) == AMQP_HEADER
        self.send(codec.described(performatives.OPEN, codec.list_of(codec.string("raw"), codec.string("localhost"))))
        begin = codec.list_of(NULL, codec.uint(0), codec.uint(100), codec.uint(100))
        self.send(codec.described(performatives.BEGIN, begin))
        assert [self.read().descriptor, self.read().descriptor] == [performatives.OPEN, performatives.BEGIN]

    def send_raw(self, data: bytes) -> None:
        self._socket.sendall(data)

    def send(self, performative: bytes) -> None:
        self.send_raw(performatives.frame(0, performative))

    def attach(self, address: str) -> None:
        target = codec.described(0x29, codec.list_of(codec.string(address)))
        fields = (codec.string("link"), codec.uint(0), codec.FALSE, NULL, NULL, NULL, target)
        self.send(codec.described(performatives.ATTACH, codec.list_of(*fields)))

    def read(self) -> Described:
        frame = self._take(int.from_bytes(self._take(4, keep=True)))
        value = codec.decode(frame, 8)[0]
        assert isinstance(value, Described)
        return value

    def is_at_end(self) -> bool:
        return self._socket.recv(1) == b""

    def _take(self, size: int, *, keep: bool = False) -> bytes:
        while len(self._data) < size:
            piece = self._socket.recv(65536)
            assert piece, "the broker has closed the connection"
            self._data += piece
        taken = self._data[:size]
        self._data = self._data if keep else self._data[size:]
        return taken


@contextmanager
def raw_client(connection: str) -> Iterator[RawClient]:
    port = int(connection.partition(";")[0].rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=5) as opened:
        yield RawClient(opened)


def test_a_link_without_a_token_is_attached_to_nothing_and_detached(broker):
    broker.queue("tokenless")
    with raw_client(broker.connection) as client:
        client.attach("tokenless")
        attach, detach = client.read(), client.read()

    assert attach.value[5:7] == [None, None]
    assert detach.value[2].value[0] == "amqp:unauthorized-access"


def test_frames_on_an_ended_session_are_ignored(broker):
    with raw_client(broker.connection) as client:
        client.send(performatives.end())
        client.send(performatives.detach(0, None))
        assert client.read().descriptor == performatives.END
        client.send(performatives.close())
        assert client.read().descriptor == performatives.CLOSE


@pytest.mark.parametrize(
    ("garbage", "condition"),
    [
        (b"\xff" * 16, "amqp:decode-error"),
        (performatives.frame(0, b"\x00\x53\x12\x3f"), "amqp:decode-error"),
        (performatives.frame(0, b"\x00\x53\x99\x45"), "amqp:decode-error"),
    ],
)
def test_what_is_not_amqp_closes_the_connection_with_the_reason(broker, garbage, condition):
    with raw_client(broker.connection) as client:
        client.send_raw(garbage)
        close = client.read()
        assert client.is_at_end()

    assert close.descriptor == performatives.CLOSE
    assert close.value[0].value[0] == condition
    assert broker.call("GET", "/health")[0] == 200


def test_a_message_keeps_its_bytes_between_the_sections_the_broker_writes():
    properties = codec.described(0x73, codec.list_of(codec.string("id"), *[NULL] * 9, codec.string("session")))
    data = codec.described(0x75, codec.binary(b"body"))
    annotations = codec.map_of([(codec.symbol("x-opt-partition-key"), codec.string("p"))])
    # The library puts delivery annotations last; any order is read, and they go no further.
    sent = properties + data + codec.described(0x72, annotations) + codec.described(0x71, codec.map_of([]))

    message = parse(sent)
    numbers = {"sequence_number": 7, "enqueued_sequence_number": 3, "delivery_count": 2}
    got = render(message, **numbers, enqueued_ms=1000, locked_until_ms=2000, ttl_ms=None)

    assert (message.message_id, message.session_id, message.bare) == ("id", "session", properties + data)
    assert got.endswith(properties + data)
    assert section_value(got, 0x70) == [False, None, None, False, 2]
    assert section_value(got, 0x72) == {
        "x-opt-enqueued-time": 1000,
        "x-opt-sequence-number": 7,
        "x-opt-enqueue-sequence-number": 3,
        "x-opt-message-state": 0,
        "x-opt-locked-until": 2000,
        "x-opt-partition-key": "p",
    }


def test_a_message_without_an_id_is_given_one():
    [message] = parse_batch(codec.described(0x75, codec.binary(codec.described(0x75, codec.binary(b"body")))))

    assert len(message.message_id) == 32
    assert section_value(message.bare, 0x73) == [message.message_id]
    assert section_value(message.bare, 0x75) == b"body"


def test_added_application_properties_replace_and_join_those_that_are_there():
    pairs = [(codec.string("a"), codec.int32(1)), (codec.string("b"), codec.int32(2))]
    message = parse(codec.described(0x74, codec.map_of(pairs)) + codec.described(0x77, codec.string("body")))

    changed = message.with_properties({codec.string("b"): codec.string("new"), codec.string("c"): codec.TRUE})

    assert section_value(changed.bare, 0x74) == {"a": 1, "b": "new", "c": True}
    assert section_value(changed.bare, 0x77) == "body"
    assert changed.message_id == message.message_id


KEY = AccessKey("name", "secret")


def token(scope: str, *, expires: int, signed_with: AccessKey = KEY) -> str:
    return signed_with.sign(scope, expires)


def test_a_token_of_the_key_is_good_for_what_lies_below_its_scope():
    expires = int(time.time()) + 60

    assert KEY.check(token("sb://127.0.0.1:1/queue", expires=expires), "sb://127.0.0.1:1/Queue/$management") == expires
    assert KEY.check(token("sb://127.0.0.1:1", expires=expires), "amqps://127.0.0.1:1/any") == expires


@pytest.mark.parametrize(
    ("wrong", "audience", "said"),
    [
        (token("sb://h/queue", expires=2**40), "sb://h/queue2", "InvalidAudience"),
        (token("sb://h/queue", expires=1), "sb://h/queue", "ExpiredToken"),
        (token("sb://h/q", expires=2**40, signed_with=AccessKey("name", "other")), "sb://h/q", "invalid signature"),
        (token("sb://h/q", expires=2**40, signed_with=AccessKey("other", "secret")), "sb://h/q", "no key 'other'"),
        ("SharedAccessSignature sr=x&sig=x&se=soon&skn=name", "x", "not a shared access signature"),
        ("SharedAccessSignature sr=x", "x", "not a shared access signature"),
        ("Bearer x", "x", "not a shared access signature"),
    ],
)
def test_any_other_token_is_refused(wrong, audience, said):
    with pytest.raises(AmqpError, match=said):
        KEY.check(wrong, audience)
