"""The error conditions of Service Bus, in the words the service uses for them.

Source:
    https://learn.microsoft.com/azure/service-bus-messaging/service-bus-amqp-troubleshoot
    https://learn.microsoft.com/azure/service-bus-messaging/service-bus-messaging-exceptions-latest
"""


class AmqpError(Exception):
    """A request is refused: the condition tells the client's library what it is, the description tells people."""

    def __init__(self, condition: str, description: str) -> None:
        super().__init__(f"{condition}: {description}")
        self.condition = condition
        self.description = description


def not_found(path: str) -> AmqpError:
    """There is no entity at the path."""
    visit = "To know more visit https://aka.ms/sbResourceMgrExceptions."
    return AmqpError("amqp:not-found", f"The messaging entity '{path}' could not be found. {visit}")


def not_allowed(description: str) -> AmqpError:
    """The entity cannot be used in this way."""
    return AmqpError("amqp:not-allowed", description)


def not_implemented(what: str) -> AmqpError:
    """The service can do it, this broker cannot."""
    return AmqpError("amqp:not-implemented", f"The local broker does not support {what}.")


def unauthorized(description: str) -> AmqpError:
    """The client has shown no valid token for the entity."""
    return AmqpError("amqp:unauthorized-access", description)


def entity_disabled(path: str) -> AmqpError:
    """The entity exists and takes part in nothing."""
    return AmqpError("com.microsoft:entity-disabled", f"Messaging entity '{path}' is currently disabled.")


def too_large(delivery_id: int, size: int, limit: int) -> AmqpError:
    """The message, or the batch, is larger than the link allows."""
    text = f"The received message (delivery-id:{delivery_id}, size:{size} bytes) exceeds the limit ({limit} bytes)"
    return AmqpError("amqp:link:message-size-exceeded", f"{text} currently allowed on the link.")


def full(path: str, used: int, limit: int) -> AmqpError:
    """The entity holds as much as it may."""
    text = f"The maximum entity size has been reached or exceeded for '{path}': {used} of {limit} bytes."
    return AmqpError("amqp:resource-limit-exceeded", text)


def server_busy() -> AmqpError:
    """The service asks for patience."""
    text = "The request was terminated because the entity is being throttled. Error code : 50009."
    return AmqpError("com.microsoft:server-busy", f"{text} Please wait 2 seconds and try again.")


def message_lock_lost() -> AmqpError:
    """The lock token names no held lock."""
    text = "The lock supplied is invalid. Either the lock expired, or the message has already been removed"
    return AmqpError(
        "com.microsoft:message-lock-lost", f"{text} from the queue, or was received by a different receiver."
    )


def session_lock_lost(session: str) -> AmqpError:
    """The receiver no longer holds the session."""
    text = f"The session lock has expired on the MessageSession '{session}'. Accept a new MessageSession."
    return AmqpError("com.microsoft:session-lock-lost", text)


def session_cannot_be_locked(session: str) -> AmqpError:
    """Another receiver holds the session."""
    text = f"The requested session '{session}' cannot be accepted. It may be locked by another receiver."
    return AmqpError("com.microsoft:session-cannot-be-locked", text)


def no_session_in_time(milliseconds: int) -> AmqpError:
    """No session became available within the client's patience."""
    text = f"The operation did not complete within the allotted timeout of {milliseconds} ms: no session is available."
    return AmqpError("com.microsoft:timeout", text)


def session_id_missing() -> AmqpError:
    """A message without a session id was sent where sessions are required."""
    text = "The SessionId was not set on a message, and it cannot be sent to the entity. Entities that have session"
    return not_allowed(
        f"{text} support enabled can only receive messages that have the SessionId set to a valid value."
    )


def session_receiver_needed() -> AmqpError:
    """A plain receiver was opened where sessions are required."""
    text = "It is not possible for an entity that requires sessions to create a non-sessionful message receiver."
    return not_allowed(text)


def sessions_not_enabled() -> AmqpError:
    """A session receiver was opened where there are no sessions."""
    text = "A sessionful message receiver cannot be created on an entity that does not require sessions."
    return not_allowed(f"{text} Ensure RequiresSession is set to true when creating a Queue or Subscription.")


def argument_error(description: str) -> AmqpError:
    """A request says something that cannot be."""
    return AmqpError("com.microsoft:argument-error", description)


def decode_error(description: str) -> AmqpError:
    """The bytes are not what they should be."""
    return AmqpError("amqp:decode-error", description)
