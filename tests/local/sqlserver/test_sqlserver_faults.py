"""Faults: each comes from the control port and reaches the client as a real server's would."""

import threading
import time
from contextlib import suppress

import pyodbc
import pytest

from tests.local.sqlserver.conftest import DEADLINE_S, Client, Local, running

pytestmark = pytest.mark.timeout(60)


def test_an_injected_error_comes_as_often_as_asked(alone: Local, visitor: Client) -> None:
    alone.fault(error={"match": "persons", "number": 1205, "class": 13, "count": 2, "message": "chosen as victim"})
    assert visitor.value("SELECT 1") == 1
    for _ in range(2):
        assert visitor.fails(1205, "SELECT 1 AS Persons") == "40001"
    assert visitor.value("SELECT 1 AS Persons") == 1


def test_killed_connections_are_lost_without_recovery(alone: Local) -> None:
    alone.fault(recovery=False)
    connection = alone.connect()
    connection.execute("SELECT 1").fetchall()
    alone.fault(kill="all")
    with pytest.raises(pyodbc.OperationalError, match="08S01"):
        connection.execute("SELECT 1")
    connection.close()
    fresh = alone.connect()
    assert fresh.execute("SELECT 1").fetchval() == 1
    fresh.close()


def test_an_idle_connection_resumes_with_recovery(alone: Local) -> None:
    # The driver notices the loss on a thread of its own: a statement that follows at once may be faster.
    deadline = time.monotonic() + DEADLINE_S
    resumed = False
    while not resumed:
        assert time.monotonic() < deadline
        connection = alone.connect()
        before = connection.execute("SELECT @@SPID").fetchval()
        alone.fault(kill="idle")
        alone.wait(lambda state: state["connections"] == 0)
        with suppress(pyodbc.OperationalError):
            resumed = connection.execute("SELECT @@SPID").fetchval() != before
        connection.close()


def test_kill_idle_spares_the_connection_that_works(alone: Local, visitor: Client) -> None:
    alone.fault(pause={"match": "busy one", "when": "before"})
    found: list[int] = []
    worker = alone.connect()
    thread = threading.Thread(target=lambda: found.append(worker.execute("SELECT 7 AS [busy one]").fetchval()))
    thread.start()
    alone.wait(lambda state: state["paused"])
    alone.fault(kill="idle")
    alone.fault(resume="all")
    thread.join()
    worker.close()
    assert found == [7]


def test_a_connection_is_cut_in_the_middle_of_a_result(alone: Local, visitor: Client) -> None:
    alone.fault(kill_mid_result=1000)
    cursor = visitor.connection.execute("SELECT name FROM sys.all_objects")
    with pytest.raises(pyodbc.OperationalError, match="08S01"):
        cursor.fetchall()
    fresh = alone.connect()
    assert len(fresh.execute("SELECT name FROM sys.all_objects").fetchall()) == 2400
    fresh.close()


def test_new_connections_are_refused_for_a_while(alone: Local) -> None:
    alone.fault(refuse=600)
    with pytest.raises(pyodbc.Error):
        alone.connect(timeout=1)
    alone.fault(refuse=0)
    alone.connect().close()


def test_statements_are_delayed(alone: Local, visitor: Client) -> None:
    alone.fault(delay_s=0.3)
    started = time.monotonic()
    visitor.value("SELECT 1")
    assert time.monotonic() - started >= 0.3
    alone.fault(delay_s=0)


def test_a_delayed_statement_can_time_out(alone: Local) -> None:
    connection = alone.connect()
    connection.timeout = 1
    alone.fault(delay_s=30)
    with pytest.raises(pyodbc.OperationalError, match="HYT00"):
        connection.execute("SELECT 1")
    alone.fault(delay_s=0)
    assert connection.execute("SELECT 1").fetchval() == 1
    connection.close()


@pytest.mark.parametrize(("when", "rows"), [("before", 0), ("after", 1)])
def test_a_statement_is_paused_before_it_runs_or_before_its_answer(
    alone: Local, visitor: Client, when: str, rows: int
) -> None:
    name = visitor.table("ID int")
    alone.fault(pause={"match": f"INSERT INTO {name}", "after": 2, "when": when})
    visitor.run(f"INSERT INTO {name} VALUES (1)")
    connection = alone.connect()
    thread = threading.Thread(target=connection.execute, args=(f"INSERT INTO {name} VALUES (2)",))
    thread.start()
    [paused] = alone.wait(lambda state: state["paused"])["paused"]
    assert paused["sql"] == f"INSERT INTO {name} VALUES (2)"
    assert visitor.value(f"SELECT COUNT(*) FROM {name}") == 1 + rows
    alone.fault(resume=paused["id"])
    thread.join()
    connection.close()
    assert visitor.value(f"SELECT COUNT(*) FROM {name}") == 2
    assert alone.state()["paused"] == []


def test_a_commit_can_be_paused_after_it_happened(alone: Local, visitor: Client) -> None:
    name = visitor.table("ID int")
    connection = alone.connect(autocommit=False)
    connection.execute(f"INSERT INTO {name} VALUES (1)")
    alone.fault(pause={"match": "^COMMIT", "when": "after"})
    thread = threading.Thread(target=connection.commit)
    thread.start()
    alone.wait(lambda state: state["paused"])
    assert visitor.value(f"SELECT COUNT(*) FROM {name}") == 1
    alone.fault(resume="all")
    thread.join()
    connection.close()


def test_statements_are_counted_without_those_the_driver_sends_by_itself(alone: Local, visitor: Client) -> None:
    name = visitor.table("ID int, Name nvarchar(10)")
    alone.fault(reset_counts=True)
    visitor.run(f"INSERT INTO {name} VALUES (?, ?)", 1, None)
    visitor.rows(f"SELECT * FROM {name}")
    state = alone.state()
    assert state["statements"] == 2
    assert state["last"][1] == f"SELECT * FROM {name}"
    assert state["connections"] == 1


def test_kept_results_are_the_same_and_forgotten_with_the_next_commit(alone: Local, visitor: Client) -> None:
    alone.fault(keep_pages_mb=10)
    name = visitor.table("ID int, Name nvarchar(max)")
    for number in range(3):
        visitor.run(f"INSERT INTO {name} VALUES (?, N'x')", number)
        first = visitor.rows(f"SELECT * FROM {name} WHERE ID <= ?", number)
        assert visitor.rows(f"SELECT * FROM {name} WHERE ID <= ?", number) == first
        assert len(first) == number + 1


def test_an_unknown_fault_is_refused(alone: Local) -> None:
    assert "unknown fault nonsense" in alone.refused_fault(nonsense=1)
    assert "capture" in alone.refused_fault(capture="sideways")
    assert "kill" in alone.refused_fault(kill="some")
    assert "pause" in alone.refused_fault(pause={"match": "x", "when": "during"})


def test_a_wrong_password_and_an_unknown_database_are_told_apart(alone: Local) -> None:
    with pytest.raises(pyodbc.InterfaceError, match="18456"):
        alone.connect(PWD="wrong")
    with pytest.raises(pyodbc.InterfaceError, match="18456"):
        alone.connect(UID="nobody")
    with pytest.raises(pyodbc.ProgrammingError, match="4060"):
        alone.connect(Database="Nowhere")


def test_a_login_with_a_denied_schema_reads_the_rest(alone: Local, visitor: Client) -> None:
    name = visitor.table("ID int PRIMARY KEY", capture=True)
    visitor.run(f"INSERT INTO {name} VALUES (1)")
    alone.fault(login={"name": "reader", "password": "p", "deny": ["cdc"]})
    connection = alone.connect(UID="reader", PWD="p")
    reader = Client(connection)
    assert reader.rows(f"SELECT ID FROM {name}") == [(1,)]
    assert reader.fails(229, f"SELECT * FROM cdc.[dbo_{name}_CT]") == "42000"
    reader.fails(229, "SELECT * FROM cdc.change_tables")
    reader.fails(22904, f"EXEC sys.sp_cdc_disable_table 'dbo', '{name}', 'all'")
    assert reader.value("SELECT sys.fn_cdc_get_min_lsn(?)", f"dbo_{name}") == bytes(10)
    assert reader.value("SELECT HAS_PERMS_BY_NAME(?, N'OBJECT', N'SELECT')", f"cdc.dbo_{name}_CT") == 0
    assert reader.value("SELECT SUSER_SNAME()") == "reader"
    alone.fault(login={"name": "reader", "password": "p", "deny": []})
    assert reader.rows(f"SELECT ID FROM cdc.[dbo_{name}_CT]") == [(1,)]
    connection.close()


def test_a_login_may_be_kept_out_of_a_database(alone: Local, visitor: Client) -> None:
    visitor.run("CREATE DATABASE Private")
    alone.fault(login={"name": "guest", "password": "p", "databases": ["TestDB"]})
    connection = alone.connect(UID="guest", PWD="p")
    Client(connection).fails(916, "USE Private")
    connection.close()
    with pytest.raises(pyodbc.ProgrammingError, match="4060"):
        alone.connect(UID="guest", PWD="p", Database="Private")


def test_a_gating_role_hides_the_low_watermark(alone: Local, visitor: Client) -> None:
    name = visitor.table("ID int PRIMARY KEY")
    visitor.run(f"EXEC sys.sp_cdc_enable_table 'dbo', '{name}', @role_name = N'readers'")
    for login, roles in (("inside", ["readers"]), ("outside", [])):
        alone.fault(login={"name": login, "password": "p", "roles": roles})
        connection = alone.connect(UID=login, PWD="p")
        low = connection.execute("SELECT sys.fn_cdc_get_min_lsn(?)", f"dbo_{name}").fetchval()
        connection.close()
        assert (low == bytes(10)) == (login == "outside")


def test_a_user_has_what_it_is_granted(alone: Local, visitor: Client) -> None:
    name = visitor.table("ID int PRIMARY KEY", capture=True)
    visitor.run("CREATE LOGIN app WITH PASSWORD = N'p', CHECK_POLICY = OFF")
    with pytest.raises(pyodbc.ProgrammingError, match="4060"):
        alone.connect(UID="app", PWD="p")
    visitor.run("CREATE USER app FOR LOGIN app")
    connection = alone.connect(UID="app", PWD="p")
    app = Client(connection)
    app.fails(229, f"SELECT * FROM {name}")
    assert app.rows("SELECT name FROM sys.tables") == []
    visitor.run(f"GRANT SELECT, INSERT ON dbo.[{name}] TO app")
    app.run(f"INSERT INTO {name} VALUES (1)")
    assert app.rows(f"SELECT * FROM {name}") == [(1,)]
    assert app.rows("SELECT name FROM sys.tables") == [(name,)]
    app.fails(229, f"DELETE FROM {name}")
    visitor.run("GRANT SELECT ON SCHEMA::cdc TO app")
    assert len(app.changes(f"dbo_{name}")) == 1
    visitor.run("DENY SELECT ON SCHEMA::cdc TO app")
    app.fails(229, f"SELECT * FROM cdc.[dbo_{name}_CT]")
    visitor.run("REVOKE SELECT ON SCHEMA::cdc FROM app")
    visitor.run("CREATE ROLE readers")
    visitor.run("ALTER ROLE readers ADD MEMBER app")
    visitor.run("GRANT SELECT ON SCHEMA::cdc TO readers")
    assert len(app.changes(f"dbo_{name}")) == 1
    connection.close()


def test_with_a_data_folder_everything_is_there_after_a_kill(tmp_path: object) -> None:
    with running("--data", str(tmp_path), "--password", "p;}w") as first:
        client = Client(first.connect())
        name = client.table("ID int IDENTITY PRIMARY KEY, Name nvarchar(10), V rowversion", capture=True)
        client.run(f"INSERT INTO {name} (Name) VALUES (N'a')")
        client.run("CREATE DATABASE [Second one]")
        client.run("CREATE LOGIN app WITH PASSWORD = N'x'")
        changes = client.changes(f"dbo_{name}")
        client.connection.close()
    with running("--data", str(tmp_path), "--password", "new", capture=False) as second:
        client = Client(second.connect())
        assert client.changes(f"dbo_{name}") == changes
        client.run(f"INSERT INTO {name} (Name) VALUES (N'b')")
        assert client.rows(f"SELECT ID, Name FROM {name}") == [(1, "a"), (2, "b")]
        assert client.changes(f"dbo_{name}", "__$start_lsn")[1][0] > changes[0][0]
        assert client.rows("SELECT name FROM sys.databases ORDER BY name") == [("Second one",), ("TestDB",)]
        client.fails(15025, "CREATE LOGIN app WITH PASSWORD = N'x'")
        client.connection.close()
