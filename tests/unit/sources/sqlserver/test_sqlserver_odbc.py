import pyodbc
import pytest

from shared.errors import ConfigError, TransientError
from shared.sources.sqlserver.odbc import GoneError, number_of, told, user_of

SERVER = "[Microsoft][ODBC Driver 18 for SQL Server][SQL Server]"


def error(
    state: str,
    text: str,
    number: int,
    kind: type[Exception] = pyodbc.ProgrammingError,
    function: str = "SQLExecDirectW",
) -> Exception:
    return kind(state, f"[{state}] {SERVER}{text} ({number}) ({function})")


def test_the_server_s_number_is_read_from_the_text():
    assert number_of(error("42000", "Odd (but true) thing (7).", 313)) == 313
    assert number_of(pyodbc.Error("HY000", "no number here")) is None


def test_the_first_of_two_errors_counts():
    both = pyodbc.ProgrammingError(
        "42000", f"[42000] {SERVER}Cannot open. (4060) (SQLDriverConnect); [28000] {SERVER}Login failed. (18456)"
    )

    assert number_of(both) == 4060


@pytest.mark.parametrize("number", [207, 208])
def test_a_missing_object_means_that_what_is_known_is_out_of_date(number):
    assert isinstance(told(error("42S02", "Invalid object name.", number), "sa"), GoneError)


@pytest.mark.parametrize("number", [229, 297, 916, 262])
def test_a_missing_permission_names_the_grant(number):
    fault = told(error("42000", "The SELECT permission was denied.", number), "reader")

    assert isinstance(fault, ConfigError)
    assert "GRANT SELECT ON SCHEMA::cdc TO [reader]" in fault.hint


@pytest.mark.parametrize(("state", "number"), [("28000", 18456), ("42000", 4060), ("42000", 40615)])
def test_a_refused_login_is_a_setting_to_fix(state, number):
    fault = told(error(state, "Login failed for user 'sa'.", number, function="SQLDriverConnect"), "sa")

    assert isinstance(fault, ConfigError)
    assert fault.message == f"Login failed for user 'sa'. ({number}) (SQLDriverConnect)"


@pytest.mark.parametrize(("state", "number"), [("40001", 1205), ("42000", 1222), ("42000", 40613), ("42000", 40197)])
def test_a_busy_server_is_tried_again_by_its_number(state, number):
    fault = told(error(state, "Busy.", number, kind=pyodbc.Error), "sa")

    assert isinstance(fault, TransientError)
    assert not fault.lasting


def test_a_throttling_server_is_given_time():
    fault = told(error("42000", "The service is currently busy.", 40501), "sa")

    assert isinstance(fault, TransientError)
    assert fault.retry_after == 10.0


@pytest.mark.parametrize("state", ["08S01", "08001", "HYT00", "HYT01", "IMC06"])
def test_a_lost_connection_is_tried_again(state):
    lost = pyodbc.Error(state, f"[{state}] [Microsoft]Communication link failure (0) (SQLExecDirectW)")
    fault = told(lost, "sa", "sql1,1433")

    assert isinstance(fault, TransientError)
    assert fault.hint == "is sql1,1433 running, and reachable from here?"


def test_an_unknown_error_is_tried_again_and_said_to_last():
    fault = told(error("42000", "Something new.", 99_999), "sa")

    assert isinstance(fault, TransientError)
    assert fault.lasting


@pytest.mark.parametrize(
    ("odbc", "user"),
    [
        ("Server=x;UID=sa;PWD=p", "sa"),
        ("Server=x;uid={a}};b};PWD=p", "a};b"),
        ("Server=x;Authentication=ActiveDirectoryMsi", "<the app's identity>"),
    ],
)
def test_the_user_is_named_as_the_connection_string_does(odbc, user):
    assert user_of(odbc) == user


def test_a_registered_driver_whose_file_is_missing_is_a_machine_to_mend():
    gone = "[01000] [unixODBC][Driver Manager]Can't open lib '/opt/driver.so' : file not found (0) (SQLDriverConnect)"
    fault = told(pyodbc.Error("01000", gone), "sa")

    assert isinstance(fault, ConfigError)
    assert "install msodbcsql18" in fault.hint
