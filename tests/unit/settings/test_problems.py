import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import InvalidConfigError
from shared.settings import load

BAD = Path(__file__).parent / "bad"
SOURCE = 'source "sqlserver" "sql1" {\n  connection_string = env("SqlServer")\n  tables = ["Persons"]\n}\n'


@pytest.mark.parametrize("name", ["native", "consul", "dstream-2024", "dstream-2025"])
def test_every_problem_is_reported_at_once_with_place_value_and_hint(files, app, name):
    environ = app | {
        "INGEST": app["ServiceBus"],
        "BLOB": "hunter2",
        "PUBLISH": "Endpoint=sb://other/;SharedAccessKeyName=r;SharedAccessKey=hunter2",
        "WRONG": "hunter2",
        "INGEST_QUEUE": "other-queue",
        "CAPTURE_SCHEDULE": "* * * * * *",
    }
    if name == "dstream-2025":
        environ["ServiceBus"] = app["ServiceBus"].replace("Root", "Send")
    said = files.problems((BAD / f"{name}.hcl").read_text(), environ)
    assert "\n".join(said) + "\n" == (BAD / f"{name}.txt").read_text()
    assert [line for line in said if not line.endswith(")")] == []


def test_a_reference_to_key_vault_that_azure_has_not_followed_is_told_from_a_value(files, app):
    consul = SOURCE + 'source "consul" "c1" {\n  address = "https://consul:8501"\n  token = env("ConsulToken")\n}\n'
    reference = "@Microsoft.KeyVault(SecretUri=https://kv-x.vault.azure.net/secrets/hunter2)"

    said = files.problems(consul, app | {"SqlServer": reference, "ConsulToken": reference})

    assert [line.partition(" (")[0] for line in said] == [
        'sluice.hcl:2: source "sqlserver" "sql1": connection_string: Azure has not resolved the app setting SqlServer',
        'sluice.hcl:7: source "consul" "c1": token: Azure has not resolved the app setting ConsulToken',
    ]


@pytest.mark.parametrize(
    "text",
    [
        'password = "hunter2',
        'password = "hunter2" }',
        "password = 'hunter2'",
        'source "hunter2" {',
        'password = {{ env "hunter2" }}',
        "hunter2",
    ],
)
def test_a_syntax_error_names_the_place_and_quotes_nothing(files, text):
    (said,) = files.problems("# a comment\n" + text)
    assert said.startswith(("sluice.hcl:2: syntax error at column ", "sluice.hcl:3: syntax error at column "))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"ServiceBus": ""}, "app setting ServiceBus: is not set"),
        ({"ServiceBus": "hunter2"}, "app setting ServiceBus: is not a Service Bus connection string"),
        (
            {"ServiceBus": "Endpoint=sb://b/;EntityPath=q;SharedAccessSignature=hunter2"},
            "app setting ServiceBus: is of one entity",
        ),
        ({"ServiceBus": "Endpoint=sb://b/;SharedAccessKeyName=hunter2"}, "app setting ServiceBus: has no key"),
        (
            {"ServiceBus__fullyQualifiedNamespace": "bus.servicebus.windows.net"},
            "app setting ServiceBus: is set, and so is ServiceBus__fullyQualifiedNamespace",
        ),
        (
            {"ServiceBus": "", "ServiceBus__fullyQualifiedNamespace": "sb://bus.servicebus.windows.net/"},
            "app setting ServiceBus__fullyQualifiedNamespace: is not a host name",
        ),
        ({"AzureWebJobsStorage": ""}, "app setting AzureWebJobsStorage: is not set"),
        ({"AzureWebJobsStorage": "hunter2"}, "app setting AzureWebJobsStorage: is not a storage connection string"),
        ({"StateStorage": "hunter2"}, "app setting StateStorage: is not a storage connection string"),
        (
            {"AzureWebJobsStorage__accountName": "account"},
            "app setting AzureWebJobsStorage: is set, and so is AzureWebJobsStorage__accountName",
        ),
        (
            {"StateStorage__accountName": "a", "StateStorage__blobServiceUri": "https://b.blob.core.windows.net"},
            "app setting StateStorage__blobServiceUri: does not name one account with the others",
        ),
        ({"CAPTURE_SCHEDULE": "hourly"}, "app setting CAPTURE_SCHEDULE: is no schedule"),
        ({"TOPICS_SCHEDULE": "hourly"}, "app setting TOPICS_SCHEDULE: is no schedule"),
        ({"ServiceBusAdministration": "http://127.0.0.1:5300"}, "app setting ServiceBusAdministration: is not the"),
        ({"INGEST_QUEUE": "a queue"}, "app setting INGEST_QUEUE: cannot name a queue"),
        ({"SqlServer": ""}, 'sluice.hcl:2: source "sqlserver" "sql1": connection_string: is empty'),
        ({"SqlServer": "hunter2"}, 'sluice.hcl:2: source "sqlserver" "sql1": connection_string: is neither'),
    ],
)
def test_a_wrong_app_setting_is_named(files, app, settings, said):
    (problem,) = files.problems(SOURCE, app | settings)
    assert problem.startswith(said)


def test_an_app_setting_that_contradicts_the_file_is_a_problem_that_names_both(files, app):
    text = SOURCE + 'ingest { queue = "one" }\ncapture { schedule = "*/5 * * * * *" }\n'
    one, two = files.problems(text, app | {"INGEST_QUEUE": "two", "CAPTURE_SCHEDULE": "* * * * * *"})
    assert one == (
        "sluice.hcl:5: ingest: queue: differs from the app setting INGEST_QUEUE, got 'one' "
        "(the app setting INGEST_QUEUE is 'two': make them equal, or remove the key)"
    )
    assert two.startswith("sluice.hcl:6: capture: schedule: differs from the app setting CAPTURE_SCHEDULE")


def test_an_empty_file_lacks_a_source(files):
    assert files.problems("") == ['sluice.hcl:1: there is no source (source "sqlserver" "name" { … })']


def test_a_label_that_a_block_does_not_take_is_a_problem(files):
    assert files.problems(SOURCE + 'capture "x" {}') == [
        'sluice.hcl:5: capture "x": takes no label (write capture { … })'
    ]


@given(st.sampled_from(sorted(BAD.glob("*.hcl"))), st.data())
def test_any_damage_to_a_file_ends_in_problems(file, data):
    text = file.read_text()
    at = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(at, min(len(text), at + 30)))
    damaged = text[:at] + data.draw(st.text(alphabet='"\\${}[]()=#\n env1.<%é\0', max_size=4)) + text[end:]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sluice.hcl"
        path.write_text(damaged)
        with pytest.raises(InvalidConfigError) as raised:
            load(path, {"SqlServer": "Server=h;Database=D;PWD=hunter2"})
    assert raised.value.problems
