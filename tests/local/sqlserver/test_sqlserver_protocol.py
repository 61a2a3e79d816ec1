"""How the driver and the server talk: batches, prepared statements, results, transactions, cancelling."""

import datetime as dt
import threading

import pyodbc
import pytest

from tests.local.sqlserver.conftest import Client, Local


def test_the_server_presents_itself(client: Client) -> None:
    connection = client.connection
    assert connection.getinfo(pyodbc.SQL_DBMS_VER) == "16.00.4232"
    assert connection.getinfo(pyodbc.SQL_DATABASE_NAME) == "TestDB"
    assert connection.getinfo(pyodbc.SQL_USER_NAME) == "sa"
    assert client.value("SELECT CAST(SERVERPROPERTY('EngineEdition') AS int)") == 3


@pytest.mark.parametrize("size", [*range(4040, 4100, 1), 8176, 20_000])
def test_an_answer_of_any_length_ends_where_it_ends(client: Client, size: int) -> None:
    assert client.value("SELECT CAST(REPLICATE(CAST('x' AS varchar(max)), ?) AS varchar(max))", size) == "x" * size
    assert client.value("SELECT 1") == 1


@pytest.mark.parametrize("size", [512, 4096, 32767])
def test_packets_may_have_other_sizes(server: Local, size: int) -> None:
    connection = server.connect(PacketSize=str(size))
    assert len(connection.execute("SELECT REPLICATE(CAST(N'x' AS nvarchar(max)), 100000)").fetchval()) == 100_000
    connection.close()


@pytest.mark.parametrize("length", [1, 4000, 4001, 8000, 300_000])
def test_a_long_parameter_arrives_whole(client: Client, length: int) -> None:
    name = client.table("T nvarchar(max), B varbinary(max)")
    client.run(f"INSERT INTO {name} VALUES (?, ?)", "é" * length, b"\1" * length)
    assert client.rows(f"SELECT T, B FROM {name}") == [("é" * length, b"\1" * length)]


def test_an_expression_has_no_name_and_an_alias_has_one(client: Client) -> None:
    described = client.connection.execute("SELECT 1, 2 AS two, three = 3, 4 [fo]]ur], 5 'five'").description
    assert [column[0] for column in described] == ["", "two", "three", "fo]ur", "five"]


def test_a_prepared_statement_runs_again_with_wider_and_other_values(client: Client) -> None:
    sql = "SELECT ?"
    for value in ("a", "abcdef", 1, 2**40, None, b"\1", "x" * 5000):
        assert client.value(sql, value) == value


def test_executemany_works_with_and_without_arrays(client: Client) -> None:
    name = client.table("ID int, Name nvarchar(20), Price decimal(10,2), At datetime2(3)")
    moment = dt.datetime(2026, 11, 21, 7, 28, 6, 123000)  # noqa: DTZ001 - a column without a zone
    rows = [(number, None if number % 3 else f"name {number}", "1.25", moment) for number in range(300)]
    for fast in (False, True):
        cursor = client.connection.cursor()
        cursor.fast_executemany = fast
        cursor.executemany(f"INSERT INTO {name} (ID, Name, Price, At) VALUES (?, ?, ?, ?)", rows)
        cursor.close()
    assert client.rows(f"SELECT COUNT(*), COUNT(Name), SUM(Price) FROM {name}")[0][:2] == (600, 200)


def test_a_batch_may_have_several_results(client: Client) -> None:
    name = client.table("ID int")
    cursor = client.connection.execute(f"INSERT INTO {name} VALUES (1), (2); SELECT ID FROM {name}; DELETE FROM {name}")
    assert cursor.rowcount == 2
    assert cursor.nextset()
    assert [row.ID for row in cursor] == [1, 2]
    assert cursor.nextset()
    assert cursor.rowcount == 2
    assert not cursor.nextset()
    cursor.close()


def test_with_nocount_only_results_are_results(client: Client) -> None:
    name = client.table("ID int")
    cursor = client.connection.execute(f"SET NOCOUNT ON; INSERT INTO {name} VALUES (1); SELECT COUNT(*) FROM {name}")
    assert cursor.fetchval() == 1
    cursor.close()
    client.run("SET NOCOUNT OFF")


def test_print_and_low_severities_are_messages(client: Client) -> None:
    cursor = client.connection.execute("PRINT N'hello'; RAISERROR(N'note', 5, 1); SELECT 1")
    texts = [text for _, text in cursor.messages]
    assert any("hello" in text for text in texts)
    cursor.close()


def test_an_error_of_one_s_own_keeps_its_number(client: Client) -> None:
    client.fails(51234, "THROW 51234, N'mine', 1")
    client.fails(50000, "RAISERROR(N'mine', 16, 1)")


@pytest.mark.parametrize(
    ("state", "number", "sql"),
    [
        ("42000", 102, "SELECT 1 FROM sys.tables t LIMIT 1"),
        ("42000", 156, "SELECT key FROM sys.tables"),
        ("42000", 105, "SELECT 'open"),
        ("42S02", 208, "SELECT * FROM nowhere"),
        ("42S22", 207, "SELECT nothing FROM sys.tables"),
        ("42000", 2812, "EXEC dbo.unknown_procedure 1"),
        ("42000", 195, "SELECT unknown_function(1)"),
        ("42000", 137, "SELECT @missing"),
        ("22012", 8134, "SELECT 1 / 0"),
        ("22018", 245, "SELECT CAST('x' AS int)"),
        ("42000", 4104, "SELECT x.name FROM sys.tables AS t"),
        ("42000", 209, "SELECT name FROM sys.tables AS a CROSS JOIN sys.schemas AS b"),
        ("42000", 8120, "SELECT name, COUNT(*) FROM sys.tables"),
        ("42000", 1033, "SELECT * FROM (SELECT name FROM sys.tables ORDER BY name) AS q"),
        ("42000", 8155, "SELECT * FROM (SELECT 1) AS q"),
        ("42000", 205, "SELECT 1 UNION ALL SELECT 1, 2"),
        ("42000", 4145, "SELECT 1 WHERE 1"),
        ("42000", 156, "MERGE INTO t USING s ON 1 = 1"),
        ("42000", 102, "SELECT * FROM (SELECT 1 AS a)"),
        ("25000", 3902, "COMMIT"),
        ("25000", 3903, "ROLLBACK"),
    ],
)
def test_an_error_has_its_number_and_the_driver_s_state(client: Client, state: str, number: int, sql: str) -> None:
    found = client.fails(number, sql)
    assert found in {state, "42000"}
    assert client.value("SELECT 1") == 1


def test_constraints_report_what_they_protect(client: Client) -> None:
    name = client.table("ID int PRIMARY KEY, N int NOT NULL, U nvarchar(5) UNIQUE, C int CHECK (C > 0)")
    client.run(f"INSERT INTO {name} VALUES (1, 1, N'a', 1)")
    assert client.fails(2627, f"INSERT INTO {name} VALUES (1, 1, N'b', 1)") == "23000"
    assert client.fails(2627, f"INSERT INTO {name} VALUES (2, 1, N'A', 1)") == "23000"
    assert client.fails(515, f"INSERT INTO {name} VALUES (2, NULL, N'b', 1)") == "23000"
    assert client.fails(547, f"INSERT INTO {name} VALUES (2, 1, N'b', 0)") == "23000"
    client.run(f"CREATE UNIQUE INDEX one ON {name} (N)")
    assert client.fails(2601, f"INSERT INTO {name} VALUES (2, 1, N'b', 1)") == "23000"
    assert client.rows(f"SELECT ID FROM {name}") == [(1,)]


def test_a_broken_constraint_ends_its_statement_and_not_the_batch(client: Client) -> None:
    name = client.table("ID int PRIMARY KEY")
    with pytest.raises(pyodbc.IntegrityError, match="2627"):
        client.run(f"INSERT INTO {name} VALUES (1), (1); INSERT INTO {name} VALUES (2)")
    assert client.rows(f"SELECT ID FROM {name}") == [(2,)]
    client.run("SET XACT_ABORT, NOCOUNT ON")
    with pytest.raises(pyodbc.IntegrityError, match="2627"):
        client.run(f"BEGIN TRAN; INSERT INTO {name} VALUES (3), (4); INSERT INTO {name} VALUES (2)")
    assert client.rows(f"SELECT ID, @@TRANCOUNT FROM {name}") == [(2, 0)]


def test_commit_keeps_and_rollback_undoes(server: Local, client: Client) -> None:
    name = client.table("ID int")
    connection = server.connect(autocommit=False)
    connection.execute(f"INSERT INTO {name} VALUES (1)")
    assert client.value(f"SELECT COUNT(*) FROM {name}") == 0
    connection.rollback()
    connection.execute(f"INSERT INTO {name} VALUES (2)")
    connection.commit()
    connection.execute(f"INSERT INTO {name} VALUES (3)")
    connection.close()
    assert client.rows(f"SELECT ID FROM {name}") == [(2,)]


def test_a_failed_statement_leaves_its_transaction_alive(server: Local) -> None:
    connection = server.connect(autocommit=False)
    client = Client(connection)
    name = client.table("ID int PRIMARY KEY")
    client.run(f"INSERT INTO {name} VALUES (1)")
    client.fails(2627, f"INSERT INTO {name} VALUES (2), (1)")
    client.run(f"INSERT INTO {name} VALUES (3)")
    connection.commit()
    assert client.rows(f"SELECT ID FROM {name} ORDER BY ID") == [(1,), (3,)]
    connection.close()


def test_t_sql_transactions_nest_and_have_savepoints(client: Client) -> None:
    name = client.table("ID int")
    client.run(
        f"""BEGIN TRAN; INSERT INTO {name} VALUES (1); SAVE TRAN here; INSERT INTO {name} VALUES (2);
        ROLLBACK TRAN here; BEGIN TRAN; INSERT INTO {name} VALUES (3); COMMIT; COMMIT TRANSACTION"""
    )
    assert client.rows(f"SELECT ID, @@TRANCOUNT FROM {name}") == [(1, 0), (3, 0)]
    client.run(f"BEGIN TRAN; DELETE FROM {name}; ROLLBACK")
    assert client.value(f"SELECT COUNT(*) FROM {name}") == 2


def test_a_writer_waits_for_the_other_and_gives_up_after_the_lock_timeout(server: Local, client: Client) -> None:
    name = client.table("ID int")
    connection = server.connect(autocommit=False)
    connection.execute(f"INSERT INTO {name} VALUES (1)")
    client.run("SET LOCK_TIMEOUT 100")
    client.fails(1222, f"INSERT INTO {name} VALUES (2)")
    client.run("SET LOCK_TIMEOUT -1")
    done = threading.Event()

    def commit() -> None:
        connection.commit()
        done.set()

    thread = threading.Thread(target=commit)
    thread.start()
    client.run(f"INSERT INTO {name} VALUES (3)")
    thread.join()
    connection.close()
    assert done.is_set()
    assert client.value(f"SELECT COUNT(*) FROM {name}") == 2


def test_a_result_may_be_left_unread(client: Client) -> None:
    cursor = client.connection.execute("SELECT a.object_id FROM sys.all_objects AS a CROSS JOIN sys.all_objects AS b")
    assert len(cursor.fetchmany(5)) == 5
    cursor.close()
    assert client.value("SELECT 1") == 1


def test_a_query_times_out_and_the_connection_goes_on(server: Local) -> None:
    connection = server.connect()
    connection.timeout = 1
    slow = "SELECT COUNT(*) FROM sys.all_objects AS a CROSS JOIN sys.all_objects AS b CROSS JOIN sys.all_objects AS c"
    with pytest.raises(pyodbc.OperationalError, match="HYT00"):
        connection.execute(slow).fetchall()
    assert connection.execute("SELECT 1").fetchval() == 1
    connection.close()


def test_a_query_is_cancelled_from_another_thread(server: Local) -> None:
    connection = server.connect()
    cursor = connection.cursor()
    before = server.state()["statements"]

    def cancel() -> None:
        server.wait(lambda state: state["statements"] > before)
        cursor.cancel()

    thread = threading.Thread(target=cancel)
    thread.start()
    slow = "SELECT COUNT(*) FROM sys.all_objects AS a CROSS JOIN sys.all_objects AS b CROSS JOIN sys.all_objects AS c"
    with pytest.raises(pyodbc.Error, match=r"HY008|HY010|No results"):
        cursor.execute(slow).fetchall()
    thread.join()
    cursor.close()
    assert connection.execute("SELECT 1").fetchval() == 1
    connection.close()


@pytest.mark.parametrize(
    ("sql", "columns", "expected"),
    [
        ("{call sys.sp_cdc_help_jobs}", 9, 2),
    ],
)
def test_a_procedure_can_be_called_the_odbc_way(client: Client, sql: str, columns: int, expected: int) -> None:
    cursor = client.connection.execute(sql)
    assert len(cursor.description) == columns
    assert len(cursor.fetchall()) == expected
    cursor.close()


def test_isolation_levels_are_accepted(client: Client) -> None:
    for level in ("READ UNCOMMITTED", "READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE", "SNAPSHOT"):
        client.run(f"SET TRANSACTION ISOLATION LEVEL {level}")
    client.fails(102, "SET TRANSACTION ISOLATION LEVEL SOMETHING")


def test_two_databases_are_apart(server: Local, client: Client) -> None:
    client.run("CREATE DATABASE [Other DB]")
    connection = server.connect(Database="Other DB")
    other = Client(connection)
    assert other.value("SELECT DB_NAME()") == "Other DB"
    assert other.rows("SELECT name FROM sys.tables") == []
    other.run("USE TestDB")
    assert other.value("SELECT DB_NAME()") == "TestDB"
    other.fails(911, "USE Nowhere")
    connection.close()
    client.fails(1801, "CREATE DATABASE [other db]")
