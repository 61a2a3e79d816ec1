db_type = "postgres"
db_connection_string = "sqlserver://sa:hunter2@localhost:1433"

output {
    type = "kafka"
}

tables {
    name = "Persons"
    poll_interval = "5s"
    max_poll_interval = "1s"
}

tables {
    name = "persons"
    poll_interval = "10s"
    max_poll_interval = "soon"
}

tables {
    poll_interval = 5
}

table {
    name = "Dogs"
}
