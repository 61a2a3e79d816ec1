# What is captured, and where it goes. Secrets and addresses are app settings: env("NAME").

source "sqlserver" "sql1" {
  connection_string = env("SqlServer")
  poll_interval     = "1s"
  max_poll_interval = "30s"
  tables            = ["Persons", "Cars"]
}

output "topics" {
  type = "servicebus"
}
