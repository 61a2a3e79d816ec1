source "sqlserver" "sql1" {
  connection_string = "postgres://sa:hunter2@localhost/db"
  start             = "yesterday"
  values            = "strings"
  poll_interval     = "1m"
  max_poll_interval = "5s"
  connections       = 0
  page              = "many"
  tabels            = ["Persons"]
  table "Persons" {
    poll_intervall = "5s"
  }
  table "persons" {}
  table {}
}

source "sqlserver" "SQL1" {
  connection_string = "sqlserver://sa:hunter2@sql2"
  tables            = "Persons"
}

source "sqlserver" {
  connection_string = "sqlserver://sa:hunter2@127.0.0.1?database=D"
  tables            = ["Persons", env("MISSING"), env("MISSING_TOO")]
}

source "oracle" "ora" {}

source "sqlserver" "not a name" "more" {
  tables = [upper("x")]
  tables = []
}

output "topics" {
  type = "kafka"
}

output "Topics" {
  type       = "servicebus"
  connection = "NotThere"
}

ingest {
  queue = "wrong queue"
}

ingest {
}

rejected = "bad"

state {
  table           = "1"
  lease_container = "UPPER"
}

capture {
  schedule         = "every minute"
  shards           = 17
  lease            = "2m"
  linger           = "-1s"
  probe_after      = "2h"
  max_message_size = "256"
  format           = "Endpoint=sb://hunter2;key=hunter2"
  shard            = 1
}

deliver {
  hold   = 5
  park   = "20m"
  holdup = "\d {{ hunter2 }}"
}

claimcheck {
  container = "claims"
}

output "more" {
  connections = ["NotThere", "ServiceBus", "ServiceBus"]
}

topics {
  sync         = "yes"
  schedule     = "hourly"
  subscription = "sub 1"
  expiry       = "14d"
  max_size     = "6GB"
}
