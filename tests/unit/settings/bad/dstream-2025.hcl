ingester {
    db_type = "sqlserver"
    db_connection_string = "{{ env "MISSING" }}"

    poll_interval_defaults {
        poll_interval = "5s"
        max_poll_interval = "2m"
    }

    queue {
        type = "rabbit"
        name = "ingest-queue"
        connection_string = "{{ env "INGEST" }}"
    }

    locks {
        type = "redis"
        connection_string = "{{ env "BLOB" }}"
        container = "Locks"
    }

    tables = ["Persons", "dbo.Persons", "a.b.c", 7]

    tables_overrides {
        overrides {
            table_name = "Person"
        }
        overrides {
            table_name = "Persons"
            max_poll_interval = "1s"
        }
        overrides {
            table_name = "dbo.persons"
        }
    }
}

publisher {
    source {
        type = "azure_service_bus"
        connection_string = "{{ env "PUBLISH" }}"
    }

    output {
        type = "azure_event_hub"
        connection_string = "{{ env "WRONG" }}"
    }
}

router {
}
