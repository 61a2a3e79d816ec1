"""A local Azure Service Bus: AMQP 1.0 as the service speaks it, for the unmodified client libraries."""
