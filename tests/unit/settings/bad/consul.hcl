source "consul" "consul1" {
  address            = "https://consul.example.com:8501?token=hunter2"
  token              = env("NoToken")
  datacenter         = "dc1"
  datacenters        = ["DC2", "dc2", "dc2"]
  services           = ["web", "Web", "api[", "web", "[!x]*", "[]"]
  tags               = ["v1", "v1"]
  filter             = 1
  poll_interval      = "0"
  wait               = "20m"
  start              = "now"
  start_index        = -1
  hold_removals_over = "30 percent"
  accept_filtered    = "yes"
  consistency        = "strong"
  connections        = 500
  client_cert        = "missing.pem"
  token_file         = "token"
}

source "consul" {
  address     = "http://127.0.0.1:8500"
  wait        = "soon"
  start       = "latest"
  start_index = 12
}

source "consul" "CONSUL1" {
  address            = "consul.example.com:8500"
  hold_removals_over = 1.5
  wait               = "1ms"
}

source "consul" "two" {
  address    = "http://two.example.com:8500/v1/"
  client_key = "missing.pem"
}

source "consul" "three" {
  address = "http://hunter2@three.example.com:8500"
  ca_file = "missing.pem"
}

source "consul" "four" {
  address = "http://four.example.com:port"
  table "Persons" {}
}

source "consul" "five" {
  address    = "http://five.example.com:8500/consul"
  datacenter = "not one"
  ca_file    = "missing.pem"
  watches    = 190
}

source "consul" "six" {
  services = "web"
}

source "consul" {
  address = "http://seven.example.com:8500/?dc=dc1"
  tables  = ["Persons"]
}
