import json
from datetime import timedelta

import pytest

from local.host.errors import FunctionError, HostError
from local.host.host_json import HostOptions, ServiceBusOptions, SingletonOptions, parse_span, read_host_json
from local.host.settings import Connection, Settings, load_local_settings


@pytest.fixture
def write(tmp_path):
    def write_json(content):
        path = tmp_path / "file.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8-sig")
        return path

    return write_json


def test_local_settings_fill_the_environment_and_the_environment_wins(write):
    environment = {"A": "set"}
    load_local_settings(write({"IsEncrypted": False, "Values": {"A": "file", "B": "file"}}), environment)
    assert environment == {"A": "set", "B": "file"}


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ({"IsEncrypted": True, "Values": {}}, "encrypted"),
        ({"Values": {"A": 1}}, "'A' must be a string"),
        ({"Values": []}, "Values"),
        ({"Values": {}, "Host": {"CORS": "*"}}, "CORS"),
        ("{", "file.json"),
    ],
)
def test_local_settings_that_cannot_be_used_are_refused(write, content, named):
    with pytest.raises(HostError, match=named):
        load_local_settings(write(content), {})


def test_a_missing_settings_file_is_refused_by_name(tmp_path):
    with pytest.raises(HostError, match=r"nowhere\.json"):
        load_local_settings(tmp_path / "nowhere.json", {})


def test_names_between_percent_signs_are_replaced():
    settings = Settings({"QUEUE": "ingest", "Part": "b", "A__B": "nested"})
    assert settings.resolve("%QUEUE%-%part%-%A:B%-100") == "ingest-b-nested-100"


def test_a_name_without_a_setting_says_so_in_the_words_of_azure():
    with pytest.raises(FunctionError, match=r"^'%Missing%' does not resolve to a value\.$"):
        Settings({"EMPTY": ""}).resolve("a %Missing%")


@pytest.mark.parametrize(
    ("environment", "connection"),
    [
        ({"Bus": "Endpoint=a"}, Connection(string="Endpoint=a")),
        ({"AzureWebJobsBus": "Endpoint=b"}, Connection(string="Endpoint=b")),
        ({"Bus": "Endpoint=a", "AzureWebJobsBus": "Endpoint=b"}, Connection(string="Endpoint=a")),
        (
            {"Bus__fullyQualifiedNamespace": "n.servicebus.windows.net", "Bus__credential": "managedidentity"},
            Connection(
                properties={"fullyqualifiednamespace": "n.servicebus.windows.net", "credential": "managedidentity"}
            ),
        ),
        ({"Other": "x"}, None),
    ],
)
def test_a_connection_is_a_setting_a_prefixed_one_or_a_section(environment, connection):
    assert Settings(environment).connection("Bus") == connection


@pytest.mark.parametrize(
    ("name", "value", "is_disabled"),
    [
        ("AzureWebJobs.tick.Disabled", "true", True),
        ("AzureWebJobs__tick__Disabled", "1", True),
        ("AzureWebJobs_tick_Disabled", "True", True),
        ("AzureWebJobs.tick.Disabled", "false", False),
        ("AzureWebJobs.other.Disabled", "true", False),
    ],
)
def test_a_function_is_disabled_by_a_setting(name, value, is_disabled):
    assert Settings({name: value}).is_disabled("tick") is is_disabled


def test_host_json_has_the_defaults_of_azure(write):
    assert read_host_json(write({"version": "2.0"}), {}) == HostOptions(
        function_timeout=timedelta(minutes=30),
        route_prefix="api",
        service_bus=ServiceBusOptions(8, timedelta(minutes=1), timedelta(minutes=5)),
        singleton=SingletonOptions(timedelta(minutes=1), timedelta(minutes=1)),
        log_levels={},
    )


def test_settings_lie_over_host_json_whatever_their_case(write):
    path = write(
        {
            "version": "2.0",
            "functionTimeout": "00:10:00",
            "logging": {"logLevel": {"default": "Information"}},
            "extensionBundle": {"id": "Microsoft.Azure.Functions.ExtensionBundle", "version": "[4.*, 5.0.0)"},
            "extensions": {
                "http": {"routePrefix": ""},
                "serviceBus": {
                    "maxConcurrentSessions": 48,
                    "sessionIdleTimeout": "00:00:01",
                    "maxAutoLockRenewalDuration": "1.00:00:00",
                },
            },
        }
    )
    options = read_host_json(
        path,
        {
            "AzureFunctionsJobHost__extensions__SERVICEBUS__maxConcurrentSessions": "3",
            "AzureFunctionsJobHost__functionTimeout": "-1",
            "AzureFunctionsJobHost__singleton__listenerLockPeriod": "00:00:15",
            "AzureFunctionsJobHost:logging:logLevel:Function": "Warning",
        },
    )
    assert options.function_timeout is None
    assert options.route_prefix == ""
    assert options.service_bus == ServiceBusOptions(3, timedelta(seconds=1), timedelta(days=1))
    assert options.singleton.lease == timedelta(seconds=15)
    assert options.log_levels == {"default": "Information", "Function": "Warning"}


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ({}, "version"),
        ({"version": "1.0"}, "version"),
        ([], "object"),
        ("", "file.json"),
        ({"functionTimeOuts": 1}, "functionTimeOuts"),
        ({"functionTimeout": "10 minutes"}, "functiontimeout"),
        ({"extensions": {"serviceBus": {"maxConcurrentSession": 4}}}, "maxConcurrentSession"),
        ({"extensions": {"serviceBus": {"maxConcurrentSessions": 0}}}, "at least 1"),
        ({"extensions": {"serviceBus": {"maxConcurrentSessions": "x"}}}, "at least 1"),
        ({"extensions": {"serviceBus": {"autoCompleteMessages": False}}}, "autoCompleteMessages"),
        ({"extensions": {"serviceBus": {"prefetchCount": 100}}}, "prefetchCount"),
        ({"extensions": {"http": {"maxOutstandingRequests": 5}}}, "maxOutstandingRequests"),
        ({"singleton": {"listenerLockPeriod": "00:00:05"}}, "15 to 60"),
        ({"extensions": 5}, "extensions"),
    ],
)
def test_what_host_json_says_wrongly_is_refused_by_name(write, content, named):
    if isinstance(content, dict) and content and "version" not in content:
        content = {"version": "2.0", **content}
    with pytest.raises(HostError, match=named):
        read_host_json(write(content), {})


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("00:00:01", timedelta(seconds=1)),
        ("01:30", timedelta(minutes=90)),
        ("1.00:00:00", timedelta(days=1)),
        ("00:00:00.5", timedelta(milliseconds=500)),
    ],
)
def test_a_time_span_is_read_as_dot_net_reads_it(text, span):
    assert parse_span(text) == span


@pytest.mark.parametrize("text", ["", "5", "24:00:00", "00:60:00", "00:00:60", "-00:00:01", "1:2:3:4"])
def test_a_time_span_that_is_none_or_means_something_else_is_refused(text):
    with pytest.raises(ValueError, match=r"hours|time span"):
        parse_span(text)
