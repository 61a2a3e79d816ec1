from pathlib import Path

import pytest

from shared.settings.model import ConsulSettings
from shared.settings.streams import SelectedStreams, named, selected

SECRET = "3f1a-hunter2"
ALL = """
source "consul" "Consul1" {
  address             = env("Consul")
  token               = env("ConsulToken")
  datacenters         = ["dc1", "dc-2"]
  services            = ["web", "api-*", "[[]x]", "node[0-9]"]
  tags                = ["v1", "blue"]
  filter              = "Service.Meta.team == \\"a\\""
  poll_interval       = "500ms"
  wait                = "10m"
  start               = "latest"
  start_index         = 0
  hold_removals_over  = "12.5%"
  accept_filtered     = true
  consistency         = "default"
  max_stale           = "0"
  connections         = 8
  watches             = 0
  requests_per_second = 20
  request_timeout     = "3s"
  deadline            = "30s"
  page                = 100
  ca_file             = "{folder}/ca.pem"
  client_cert         = "{folder}/cert.pem"
  client_key          = "{folder}/key.pem"
}
"""


def source(files, app, body: str, label: str = '"consul1"') -> ConsulSettings:
    (found,) = files.load(f'source "consul" {label} {{\n{body}\n}}\n', app).sources
    assert isinstance(found, ConsulSettings)
    return found


def test_every_key_is_read(files, app, tmp_path: Path):
    for name in ("ca", "cert", "key"):
        (tmp_path / f"{name}.pem").write_text("")
    environ = app | {"Consul": "https://consul.example.com:8501/", "ConsulToken": SECRET}
    (found,) = files.load(ALL.replace("{folder}", str(tmp_path)), environ).sources
    assert found == ConsulSettings(
        name="Consul1",
        address="https://consul.example.com:8501",
        token=SECRET,
        datacenters=("dc1", "dc-2"),
        services=("web", "api-*", "[[]x]", "node[0-9]"),
        tags=("v1", "blue"),
        filter='Service.Meta.team == "a"',
        poll_interval_s=0.5,
        wait_s=600,
        start="latest",
        start_index=0,
        hold_removals_over=0.125,
        accept_filtered=True,
        consistency="default",
        max_stale_s=0,
        connections=8,
        watches=0,
        requests_per_second=20,
        request_timeout_s=3,
        deadline_s=30,
        page=100,
        ca_file=f"{tmp_path}/ca.pem",
        client_cert=f"{tmp_path}/cert.pem",
        client_key=f"{tmp_path}/key.pem",
    )
    assert SECRET not in repr(found)


def test_what_is_not_said_has_its_default(files, app):
    address = "http://127.0.0.1:8500"
    assert source(files, app, f'address = "{address}"') == ConsulSettings("consul1", address)


def test_a_source_without_a_label_is_named_by_its_host(files, app):
    assert source(files, app, 'address = "http://Consul.eu.contoso.com:8500"', label="").name == "consul"


@pytest.mark.parametrize(
    ("written", "address"),
    [
        ("http://host:8500", "http://host:8500"),
        ("http://host:8500/", "http://host:8500"),
        ("https://host/behind/a/proxy/", "https://host/behind/a/proxy"),
        ("http://[::1]:8500", "http://[::1]:8500"),
    ],
)
def test_the_address_may_have_a_path_and_ends_without_a_slash(files, app, written, address):
    assert source(files, app, f'address = "{written}"').address == address


@pytest.mark.parametrize("written", ["https://h?token=hunter2", "https://hunter2:x@h", "hunter2@h:8500", "h:hunter2"])
def test_a_secret_in_the_address_is_refused_and_not_shown(files, app, written):
    (said,) = files.problems(f'source "consul" "c" {{\naddress = "{written}"\n}}\n', app)
    assert said.startswith('sluice.hcl:2: source "consul" "c": address: ')


@pytest.mark.parametrize(
    ("written", "share"), [('"30%"', 0.3), ("0.3", 0.3), ('"0.3"', 0.3), ("0", 0), ("1", 1), ('"100%"', 1)]
)
def test_a_share_is_a_percentage_or_a_number(files, app, written, share):
    text = f'address = "http://h:8500"\nhold_removals_over = {written}'
    assert source(files, app, text).hold_removals_over == share


@pytest.mark.parametrize("pattern", ["a[", "a[]", "a[!]", "[a]b[c"])
def test_a_set_of_a_pattern_that_matches_itself_alone_is_refused(files, app, pattern):
    (said,) = files.problems(f'source "consul" "c" {{\naddress = "http://h"\nservices = ["{pattern}"]\n}}\n', app)
    assert "services: is not a pattern" in said


def test_exact_services_of_known_datacenters_are_streams_and_the_rest_is_selected():
    known = ConsulSettings("c1", "http://h", datacenters=("dc1",), services=("web", "api-*"), poll_interval_s=2)
    assert [each.stream for each in named(known)] == ["c1/dc1/catalog", "c1/dc1/service/web"]
    assert selected(known) == [SelectedStreams("c1/dc1/service/api-*", "a stream of each service that matches", 2)]
    agents = ConsulSettings("c1", "http://h", services=("web", "api-*"))
    assert named(agents) == []
    assert [(each.form, each.why) for each in selected(agents)] == [
        ("c1/<datacenter>/catalog", "in the datacenter of the agent"),
        ("c1/<datacenter>/service/web", "in the datacenter of the agent"),
        ("c1/<datacenter>/service/api-*", "a stream of each service that matches"),
    ]
