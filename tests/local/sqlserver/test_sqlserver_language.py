"""The T-SQL that tests, the demo and the product write."""

from decimal import Decimal

import pytest

from tests.local.sqlserver.conftest import Client, Local

ORDERS = "ID int IDENTITY(1,1) PRIMARY KEY, Customer nvarchar(20), Amount decimal(10,2), Placed datetime2(3)"


@pytest.fixture
def orders(client: Client) -> str:
    name = client.table(ORDERS, name="Orders")
    client.run(
        f"""INSERT INTO {name} (Customer, Amount, Placed) VALUES
        (N'anna', 10.50, '2026-01-01'), (N'Bert', 2, '2026-01-02'), (N'ANNA', 9.25, '2026-02-01'), (NULL, 100, NULL)"""
    )
    return name


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT ID FROM {t} WHERE Customer = N'Anna ' ORDER BY ID", [(1,), (3,)]),
        ("SELECT ID FROM {t} WHERE Amount > 9.3 ORDER BY Amount DESC", [(4,), (1,)]),
        ("SELECT ID FROM {t} WHERE Amount = 2.0", [(2,)]),
        ("SELECT TOP 2 ID FROM {t} ORDER BY Amount", [(2,), (3,)]),
        ("SELECT TOP (1) o.* FROM {t} AS o ORDER BY o.ID DESC", [(4, None, Decimal("100.00"), None)]),
        ("SELECT ID FROM {t} ORDER BY ID OFFSET 1 ROWS FETCH NEXT 2 ROWS ONLY", [(2,), (3,)]),
        ("SELECT ID FROM {t} WHERE Customer LIKE N'%ER_'", [(2,)]),
        ("SELECT ID FROM {t} WHERE Customer LIKE N'[a]nn%' ORDER BY 1", [(1,), (3,)]),
        ("SELECT ID FROM {t} WHERE Customer IS NULL OR ID IN (1, 2) ORDER BY ID", [(1,), (2,), (4,)]),
        ("SELECT ID FROM {t} WHERE ID BETWEEN 2 AND 3 AND NOT ID = 2", [(3,)]),
        ("SELECT COUNT(*), COUNT(COALESCE(NULL, Customer)), COUNT(DISTINCT Customer) FROM {t}", [(4, 3, 2)]),
        (
            "SELECT SUM(Amount), MIN(Amount), MAX(Amount), AVG(ID) FROM {t}",
            [(Decimal("121.75"), Decimal("2.00"), Decimal("100.00"), 2)],
        ),
        ("SELECT AVG(Amount) FROM {t}", [(Decimal("30.437500"),)]),
        ("SELECT UPPER(Customer), COUNT(*) FROM {t} GROUP BY UPPER(Customer) HAVING COUNT(*) > 1", [("ANNA", 2)]),
        ("SELECT DISTINCT Customer FROM {t} WHERE Customer = N'anna'", [("anna",)]),
        ("SELECT COUNT(*) FROM (SELECT Customer FROM {t} WHERE ID = 1 UNION SELECT N'ANNA') AS u", [(1,)]),
        ("SELECT 1 AS n UNION ALL SELECT 2.5 ORDER BY n DESC", [(Decimal("2.5"),), (Decimal("1.0"),)]),
        ("SELECT ID FROM {t} EXCEPT SELECT 1 INTERSECT SELECT 1 ORDER BY ID", [(2,), (3,), (4,)]),
        (
            "SELECT CASE WHEN Amount > 50 THEN 'big' WHEN Amount > 5 THEN N'small' ELSE NULL END FROM {t} ORDER BY ID",
            [("small",), (None,), ("small",), ("big",)],
        ),
        (
            "SELECT IIF(ID = 1, 'one', 'more'), NULLIF(ID, 1), ISNULL(Customer, N'-') FROM {t} WHERE ID % 3 = 1",
            [("one", None, "anna"), ("more", 4, "-")],
        ),
        (
            "SELECT a.ID, b.ID FROM {t} AS a LEFT JOIN {t} AS b ON b.ID = a.ID + 2 ORDER BY a.ID",
            [(1, 3), (2, 4), (3, None), (4, None)],
        ),
        ("SELECT a.ID FROM {t} a, {t} b WHERE a.ID = b.ID AND b.Amount < 5", [(2,)]),
        (
            "SELECT (SELECT MAX(b.ID) FROM {t} AS b WHERE b.ID < a.ID) FROM {t} AS a ORDER BY a.ID",
            [(None,), (1,), (2,), (3,)],
        ),
        ("SELECT ID FROM {t} AS a WHERE EXISTS (SELECT 1 AS x FROM {t} AS b WHERE b.ID = a.ID + 3)", [(1,)]),
        ("SELECT ID FROM {t} WHERE ID NOT IN (SELECT ID FROM {t} WHERE Amount > 5)", [(2,)]),
        ("WITH c (n) AS (SELECT ID FROM {t}), d AS (SELECT MAX(n) AS m FROM c) SELECT m FROM d", [(4,)]),
        (
            "WITH n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 5) SELECT SUM(i) FROM n OPTION (FAST 1)",
            [(15,)],
        ),
        ("SELECT value FROM GENERATE_SERIES(2, 8, 3)", [(2,), (5,), (8,)]),
        ("SELECT ROW_NUMBER() OVER (ORDER BY Amount DESC), ID FROM {t} ORDER BY 1", [(1, 4), (2, 1), (3, 3), (4, 2)]),
        ("SELECT ID, LAG(ID) OVER (ORDER BY ID) FROM {t} WHERE ID < 3", [(1, None), (2, 1)]),
        ("SELECT STRING_AGG(Customer, N', ') WITHIN GROUP (ORDER BY ID DESC) FROM {t}", [("ANNA, Bert, anna",)]),
        ("SELECT v.a, v.b FROM (VALUES (1, N'x'), (2, N'y')) AS v (a, b) WHERE v.a > 1", [(2, "y")]),
        (
            "SELECT LEN(N'ab '), DATALENGTH(N'ab'), SUBSTRING(N'abcdef', 2, 3), LEFT('abc', 2), RIGHT('abc', 2)",
            [(2, 4, "bcd", "ab", "bc")],
        ),
        (
            "SELECT CHARINDEX('C', 'abc'), REPLACE('aXbx', 'x', '-'), CONCAT('a', NULL, 1), LTRIM(' a'), REVERSE('ab')",
            [(3, "a-b-", "a1", "a", "ba")],
        ),
        (
            "SELECT DATEDIFF(day, '2026-01-01', '2026-03-01'), DATEPART(weekday, '2026-11-21'), YEAR('2026-11-21')",
            [(59, 7, 2026)],
        ),
        ("SELECT CONVERT(varchar(10), DATEADD(month, 1, CAST('2026-01-31' AS date)), 23)", [("2026-02-28",)]),
        (
            "SELECT ABS(-5), ROUND(2.567, 1), FLOOR(-1.5), CEILING(1.2), SIGN(-3)",
            [(5, Decimal("2.600"), Decimal("-2.0"), Decimal("2.0"), -1)],
        ),
        (
            "SELECT QUOTENAME(N'a]b'), DB_NAME(), SCHEMA_NAME(), OBJECT_NAME(OBJECT_ID(N'{t}')), @@SPID - @@SPID",
            [("[a]]b]", "TestDB", "dbo", "{t}", 0)],
        ),
        (
            "SELECT t.n FROM (SELECT TOP (5) ID AS n FROM {t} ORDER BY ID DESC) AS t ORDER BY t.n",
            [(1,), (2,), (3,), (4,)],
        ),
    ],
)
def test_a_query_yields_what_t_sql_yields(
    client: Client, orders: str, sql: str, expected: list[tuple[object, ...]]
) -> None:
    shown = [tuple(value.format(t=orders) if isinstance(value, str) else value for value in row) for row in expected]
    assert client.rows(sql.replace("{t}", orders)) == shown


def test_rows_are_changed_by_join_by_top_and_by_alias(client: Client, orders: str) -> None:
    assert (
        client.run(
            f"UPDATE o SET Amount += p.Amount FROM {orders} AS o JOIN {orders} AS p ON p.ID = o.ID + 1 WHERE o.ID < 3"
        )
        == 2
    )
    assert client.rows(f"SELECT Amount FROM {orders} WHERE ID < 3") == [(Decimal("12.50"),), (Decimal("11.25"),)]
    assert client.run(f"UPDATE TOP (1) {orders} SET Customer = N'first'") == 1
    assert client.run(f"DELETE o FROM {orders} AS o WHERE o.Customer = N'FIRST'") == 1
    assert client.run(f"DELETE TOP (2) FROM {orders}") == 2
    assert client.value(f"SELECT COUNT(*) FROM {orders}") == 1


def test_output_shows_what_was_inserted_updated_and_deleted(client: Client, orders: str) -> None:
    assert client.rows(
        f"INSERT INTO {orders} (Customer) OUTPUT inserted.ID, inserted.Customer VALUES (N'x'), (N'y')"
    ) == [(5, "x"), (6, "y")]
    assert client.rows(f"UPDATE {orders} SET Amount = 1 OUTPUT inserted.Amount WHERE ID = 5") == [(Decimal("1.00"),)]
    assert client.rows(f"DELETE FROM {orders} OUTPUT deleted.ID WHERE ID > 4") == [(5,), (6,)]


def test_identities_count_are_not_reused_and_may_be_given(client: Client, orders: str) -> None:
    client.run(f"BEGIN TRAN; INSERT INTO {orders} (Customer) VALUES (N'lost'); ROLLBACK")
    client.run(f"INSERT INTO {orders} (Customer) VALUES (N'kept')")
    assert client.value("SELECT SCOPE_IDENTITY()") == 6
    client.fails(544, f"INSERT INTO {orders} (ID, Customer) VALUES (100, N'given')")
    client.run(f"SET IDENTITY_INSERT {orders} ON")
    client.run(f"INSERT INTO {orders} (ID, Customer) VALUES (100, N'given')")
    client.run(f"SET IDENTITY_INSERT {orders} OFF")
    client.run(f"INSERT INTO {orders} (Customer) VALUES (N'next')")
    assert client.value(f"SELECT MAX(ID) FROM {orders}") == 101
    client.fails(8102, f"UPDATE {orders} SET ID = 1 WHERE ID = 100")


def test_defaults_fill_what_is_left_out(client: Client) -> None:
    name = client.table(
        "A int DEFAULT 7, B nvarchar(5) NOT NULL DEFAULT N'x', C datetime2 DEFAULT SYSUTCDATETIME(), D bit"
    )
    client.run(f"INSERT INTO {name} (D) VALUES (1)")
    client.run(f"INSERT INTO {name} (A, B) VALUES (DEFAULT, DEFAULT)")
    client.run(f"INSERT INTO {name} DEFAULT VALUES")
    assert client.rows(f"SELECT A, B, D FROM {name} WHERE C IS NOT NULL") == [
        (7, "x", True),
        (7, "x", None),
        (7, "x", None),
    ]


def test_bulk_rows_come_from_a_query(client: Client) -> None:
    name = client.table("ID int PRIMARY KEY, Name nvarchar(20), Price decimal(9,2)", capture=True)
    sql = f"""INSERT INTO {name} SELECT TOP (3000) ROW_NUMBER() OVER (ORDER BY (SELECT NULL)), N'n', 1.5
              FROM sys.all_objects AS a CROSS JOIN sys.all_objects AS b"""
    assert client.run(sql) == 3000
    assert client.value(f"SELECT COUNT(*) FROM cdc.[dbo_{name}_CT]") == 3000
    assert client.value(f"SELECT COUNT(DISTINCT __$start_lsn) FROM cdc.[dbo_{name}_CT]") == 1


def test_a_batch_has_variables_conditions_and_loops(client: Client) -> None:
    name = client.table("ID int, Parity nvarchar(4)")
    client.run(
        f"""
        DECLARE @i int = 0, @last int;
        WHILE @i < 10
        BEGIN
            SET @i += 1
            IF @i = 8 BREAK
            IF @i % 2 = 0 INSERT INTO {name} VALUES (@i, N'even')
            ELSE BEGIN
                INSERT INTO {name} VALUES (@i, N'odd');
            END
        END
        SELECT @last = MAX(ID) FROM {name}
        UPDATE {name} SET ID = -ID WHERE ID = @last
        """
    )
    assert client.rows(f"SELECT COUNT(*), MIN(ID), MAX(ID) FROM {name}") == [(7, -7, 6)]
    assert (
        client.value(
            "DECLARE @x nvarchar(9) = N'a'; SET @x += N'b'; EXEC sp_executesql N'SELECT @y', N'@y nvarchar(9)', @y = @x"
        )
        == "ab"
    )


def test_tables_can_be_altered_indexed_and_dropped(client: Client) -> None:
    name = client.table("A int PRIMARY KEY, B int NULL")
    client.run(f"INSERT INTO {name} VALUES (1, 2)")
    client.run(f"ALTER TABLE {name} ADD C nvarchar(5) NOT NULL DEFAULT N'c', D AS A + B")
    client.fails(4901, f"ALTER TABLE {name} ADD E int NOT NULL")
    client.run(f"ALTER TABLE {name} ADD CONSTRAINT positive CHECK (B > 0)")
    client.fails(547, f"INSERT INTO {name} (A, B) VALUES (5, 0)")
    client.run(f"ALTER TABLE {name} ALTER COLUMN B varchar(10)")
    client.run(f"CREATE INDEX by_b ON {name} (B DESC)")
    client.fails(1913, f"CREATE INDEX by_b ON {name} (B)")
    assert client.rows(f"SELECT A, B, C FROM {name}") == [(1, "2", "c")]
    client.run(f"DROP INDEX by_b ON {name}")
    client.run(f"TRUNCATE TABLE {name}")
    client.run(f"DROP TABLE {name}")
    client.run(f"DROP TABLE IF EXISTS {name}")
    client.fails(3701, f"DROP TABLE {name}")
    client.fails(2714, "CREATE TABLE dbo.twice (A int); CREATE TABLE dbo.TWICE (A int)")
    client.fails(2715, "CREATE TABLE dbo.wrong (A something)")
    client.fails(213, "INSERT INTO dbo.twice VALUES (1, 2)")
    client.fails(110, "INSERT INTO dbo.twice (A) VALUES (1, 2)")
    client.fails(2705, "CREATE TABLE dbo.wrong (A int, a int)")


def test_schemas_keep_tables_apart(client: Client) -> None:
    client.run("CREATE SCHEMA [sales dept]")
    client.run("CREATE TABLE [sales dept].Things (ID int)")
    client.run("CREATE TABLE Things (Name nvarchar(5))")
    client.run("INSERT INTO [sales dept].Things VALUES (1)")
    assert client.rows(
        "SELECT s.name FROM sys.tables t JOIN sys.schemas s ON s.schema_id = t.schema_id"
        " WHERE t.name = 'THINGS' ORDER BY 1"
    ) == [("dbo",), ("sales dept",)]
    assert client.rows(
        "SELECT [sales dept].Things.ID, a.Name FROM [sales dept].Things LEFT JOIN dbo.Things AS a ON 1 = 1"
    ) == [(1, None)]
    client.fails(3729, "DROP SCHEMA [sales dept]")
    client.fails(2760, "CREATE TABLE missing.Things (ID int)")


def test_what_is_not_known_is_refused(client: Client) -> None:
    name = client.table("ID int")
    for sql in (
        f"SELECT * INTO other FROM {name}",
        f"SELECT * FROM {name} FOR JSON AUTO",
        f"SELECT * FROM {name} CROSS APPLY sys.tables",
        "CREATE TABLE #t (ID int)",
        "CREATE VIEW v AS SELECT 1 AS one",
        "CREATE PROCEDURE p AS SELECT 1",
        "BACKUP DATABASE TestDB TO DISK = 'x'",
        "BEGIN TRY SELECT 1 END TRY BEGIN CATCH END CATCH",
        f"SELECT TOP (1) PERCENT ID FROM {name}",
        "WITH c AS (SELECT 1 AS a) UPDATE c SET a = 2",
        "WAITFOR DELAY '00:00:01'",
    ):
        with pytest.raises(Exception, match=r"\((102|156)\)"):
            client.run(sql)


def test_a_probe_over_500_change_tables_is_one_quick_statement(alone: Local, visitor: Client) -> None:
    names = [visitor.table("ID int PRIMARY KEY, N int", capture=True) for _ in range(20)]
    for name in names[::2]:
        visitor.run(f"INSERT INTO {name} VALUES (1, 1)")
    key = "__$start_lsn, __$command_id, __$seqval, __$operation"
    newest = ", ".join(f"{column} DESC" for column in key.split(", "))
    sql = " UNION ALL ".join(
        f"SELECT {n} AS i, p.* FROM (SELECT TOP (1) {key} FROM cdc.[dbo_{names[n % 20]}_CT] ORDER BY {newest}) AS p"
        for n in range(500)
    )
    alone.fault(reset_counts=True)
    found = visitor.rows(sql)
    assert [row[0] for row in found] == list(range(0, 500, 2))
    assert alone.state()["statements"] == 1
