"""Change data capture as SQL Server has it."""

import datetime as dt
from itertools import pairwise

import pytest

from tests.local.sqlserver.conftest import Client, Local

PERSONS = "ID int NOT NULL PRIMARY KEY, Name nvarchar(50) NULL, Age int NULL"


def test_a_change_table_has_the_system_columns_around_the_captured_ones(client: Client) -> None:
    name = client.table(PERSONS, capture=True)
    described = client.connection.execute(f"SELECT * FROM cdc.[dbo_{name}_CT]").description
    assert [column[0] for column in described] == [
        "__$start_lsn", "__$end_lsn", "__$seqval", "__$operation", "__$update_mask",
        "ID", "Name", "Age", "__$command_id",
    ]  # fmt: skip


def test_insert_update_and_delete_have_their_operations_and_the_update_shows_both_rows(client: Client) -> None:
    name = client.table(PERSONS, capture=True)
    client.run(f"INSERT INTO {name} VALUES (1, N'a', 30)")
    client.run(f"UPDATE {name} SET Name = N'b' WHERE ID = 1")
    client.run(f"DELETE FROM {name}")
    found = client.changes(f"dbo_{name}", "__$operation, __$update_mask, ID, Name, Age, __$end_lsn")
    assert found == [
        (2, b"\x07", 1, "a", 30, None),
        (3, b"\x02", 1, "a", 30, None),
        (4, b"\x02", 1, "b", 30, None),
        (1, b"\x07", 1, "b", 30, None),
    ]


def test_a_transaction_has_one_lsn_its_statements_count_and_an_update_shares_its_sequence_value(server: Local) -> None:
    connection = server.connect(autocommit=False)
    client = Client(connection)
    name = client.table(PERSONS)
    client.capture(name)
    connection.commit()
    client.run(f"INSERT INTO {name} VALUES (1, N'a', 1), (2, N'b', 2)")
    client.run(f"UPDATE {name} SET Age = Age + 1")
    client.run(f"UPDATE {name} SET Age = Age WHERE ID = 99")
    client.run(f"DELETE FROM {name} WHERE ID = 2")
    connection.commit()
    found = client.changes(f"dbo_{name}", "__$start_lsn, __$command_id, __$seqval, __$operation")
    connection.close()
    assert len({lsn for lsn, *_ in found}) == 1
    assert [(command, operation) for _, command, _, operation in found] == [
        (1, 2), (1, 2), (2, 3), (2, 4), (2, 3), (2, 4), (3, 1),
    ]  # fmt: skip
    assert found[2][2] == found[3][2]
    assert found[4][2] == found[5][2]
    assert len({sequence for _, _, sequence, _ in found}) == 5


def test_later_transactions_have_higher_lsns_and_the_mapping_has_their_times(client: Client) -> None:
    name = client.table(PERSONS, capture=True)
    for number in range(3):
        client.run(f"INSERT INTO {name} (ID) VALUES (?)", number)
    lsns = [lsn for (lsn,) in client.changes(f"dbo_{name}", "__$start_lsn")]
    assert all(first < second for first, second in pairwise(lsns))
    assert all(len(lsn) == 10 for lsn in lsns)
    columns = "start_lsn, tran_begin_time, tran_end_time"
    sql = f"SELECT {columns} FROM cdc.lsn_time_mapping WHERE start_lsn >= ? AND start_lsn <= ?"
    mapping = client.rows(sql, lsns[0], lsns[-1])
    assert set(lsns) <= {lsn for lsn, *_ in mapping}
    now = dt.datetime.now()  # noqa: DTZ005 - the server's local time
    assert all(begin <= end <= now + dt.timedelta(seconds=1) for _, begin, end in mapping)
    assert client.value("SELECT sys.fn_cdc_get_max_lsn()") == client.value(
        "SELECT MAX(start_lsn) FROM cdc.lsn_time_mapping"
    )


def test_a_rolled_back_transaction_leaves_no_trace(server: Local) -> None:
    connection = server.connect(autocommit=False)
    client = Client(connection)
    name = client.table(PERSONS)
    client.capture(name)
    connection.commit()
    client.run(f"INSERT INTO {name} (ID) VALUES (1)")
    connection.rollback()
    client.run(f"INSERT INTO {name} (ID) VALUES (2)")
    connection.commit()
    assert client.changes(f"dbo_{name}", "ID, __$command_id") == [(2, 1)]
    connection.close()


def test_the_mask_of_a_wide_table_counts_from_its_last_byte(client: Client) -> None:
    columns = [f"c{number}" for number in range(1, 41)]
    name = client.table("ID int PRIMARY KEY, " + ", ".join(f"{column} int" for column in columns), capture=True)
    client.run(f"INSERT INTO {name} (ID) VALUES (1)")
    client.run(f"UPDATE {name} SET c1 = 1, c9 = 1, c17 = 1, c40 = 1")
    masks = dict(client.changes(f"dbo_{name}", "__$operation, __$update_mask"))
    assert len(masks[4]) == 6
    assert masks[2] == b"\x01" + b"\xff" * 5
    changed = [ordinal for ordinal in range(1, 42) if int.from_bytes(masks[4]) >> (ordinal - 1) & 1]
    assert changed == [2, 10, 18, 41]
    assert masks[3] == masks[4]
    sql = "SELECT sys.fn_cdc_is_bit_set(sys.fn_cdc_get_column_ordinal(?, N'c17'), ?), sys.fn_cdc_is_bit_set(1, ?)"
    assert client.rows(sql, f"dbo_{name}", masks[4], masks[4]) == [(True, False)]


def test_an_update_that_changes_nothing_is_not_captured(client: Client) -> None:
    name = client.table(PERSONS, capture=True)
    client.run(f"INSERT INTO {name} VALUES (1, N'a', 1)")
    client.run(f"UPDATE {name} SET Name = N'a'")
    client.run(f"UPDATE {name} SET Name = N'A'")
    assert client.changes(f"dbo_{name}", "__$operation, Name") == [(2, "a"), (3, "a"), (4, "A")]


def test_an_update_of_one_key_is_delete_and_insert_with_one_sequence_value_and_two_commands(client: Client) -> None:
    name = client.table(PERSONS, capture=True)
    client.run(f"INSERT INTO {name} VALUES (1, N'a', 1)")
    client.run(f"UPDATE {name} SET ID = 7, Name = N'b'")
    found = client.changes(
        f"dbo_{name}", "__$operation, ID, Name, __$update_mask, __$start_lsn, __$seqval, __$command_id"
    )[1:]
    assert [row[:4] for row in found] == [(1, 1, "a", b"\x07"), (2, 7, "b", b"\x07")]
    assert found[0][4:6] == found[1][4:6]
    assert [row[6] for row in found] == [1, 2]


def test_an_update_of_several_keys_deletes_first_and_has_one_command(client: Client) -> None:
    name = client.table(PERSONS, capture=True)
    client.run(f"INSERT INTO {name} (ID) VALUES (1), (2), (3)")
    client.run(f"UPDATE {name} SET ID = ID + 10")
    found = client.changes(f"dbo_{name}", "__$operation, ID, __$command_id")[3:]
    assert found == [(1, 1, 1), (1, 2, 1), (1, 3, 1), (2, 11, 1), (2, 12, 1), (2, 13, 1)]


def test_keys_may_move_onto_each_other_s_places(client: Client) -> None:
    name = client.table(PERSONS, capture=True)
    client.run(f"INSERT INTO {name} (ID, Age) VALUES (1, 1), (2, 2), (3, 3)")
    client.run(f"UPDATE {name} SET ID = ID + 1")
    assert client.rows(f"SELECT ID, Age FROM {name} ORDER BY ID") == [(2, 1), (3, 2), (4, 3)]
    assert [operation for (operation,) in client.changes(f"dbo_{name}", "__$operation")[3:]] == [1, 1, 1, 2, 2, 2]


def test_large_values_are_left_out_where_nothing_changed(client: Client) -> None:
    name = client.table(
        "ID int PRIMARY KEY, N int, Big nvarchar(max), Bin varbinary(max), Doc xml, Old ntext", capture=True
    )
    client.run(f"INSERT INTO {name} VALUES (1, 1, N'big', 0x01, N'<a/>', N'old')")
    client.run(f"UPDATE {name} SET N = 2")
    client.run(f"UPDATE {name} SET Big = N'bigger', Old = N'new'")
    client.run(f"DELETE FROM {name}")
    columns = "__$operation, N, Big, Bin, Doc, CAST(Old AS nvarchar(10))"
    assert client.changes(f"dbo_{name}", columns) == [
        (2, 1, "big", b"\x01", "<a/>", "old"),
        (3, 1, None, None, None, None),
        (4, 2, None, None, None, None),
        (3, 2, "big", None, None, None),
        (4, 2, "bigger", None, None, "new"),
        (1, 2, "bigger", b"\x01", "<a/>", None),
    ]


def test_a_computed_column_is_null_and_a_row_version_is_binary(client: Client) -> None:
    name = client.table("ID int PRIMARY KEY, N int, Twice AS (N * 2), V rowversion", capture=True)
    client.run(f"INSERT INTO {name} (ID, N) VALUES (1, 21)")
    [(value, version)] = client.rows(f"SELECT Twice, V FROM {name}")
    assert (value, len(version)) == (42, 8)
    assert client.changes(f"dbo_{name}", "Twice, V") == [(None, version)]
    sql = """SELECT column_name, column_ordinal, is_computed, column_type FROM cdc.captured_columns AS c
             JOIN cdc.change_tables AS t ON t.object_id = c.object_id WHERE capture_instance = ?
             ORDER BY column_ordinal"""
    assert client.rows(sql, f"dbo_{name}") == [
        ("ID", 1, False, "int"),
        ("N", 2, False, "int"),
        ("Twice", 3, True, "int"),
        ("V", 4, False, "timestamp"),
    ]
    client.run(f"UPDATE {name} SET N = 1")
    assert client.value(f"SELECT V FROM {name}") > version


def test_chosen_columns_alone_are_captured_under_the_chosen_name(client: Client) -> None:
    name = client.table(PERSONS)
    client.capture(name, capture_instance=f"mine_{name}", captured_column_list="[ID], Age")
    client.run(f"INSERT INTO {name} VALUES (1, N'a', 5)")
    client.run(f"UPDATE {name} SET Name = N'b'")
    client.run(f"UPDATE {name} SET Age = 6")
    assert client.changes(f"mine_{name}", "__$operation, ID, Age, __$update_mask") == [
        (2, 1, 5, b"\x03"),
        (3, 1, 5, b"\x02"),
        (4, 1, 6, b"\x02"),
    ]


def test_two_instances_of_a_table_each_start_when_they_were_made_and_a_third_is_refused(client: Client) -> None:
    name = client.table(PERSONS, capture=True)
    client.run(f"INSERT INTO {name} (ID) VALUES (1)")
    client.run(f"ALTER TABLE {name} ADD City nvarchar(20) NULL")
    client.capture(name, capture_instance=f"{name}_2")
    client.run(f"INSERT INTO {name} VALUES (2, N'b', 2, N'Oslo')")
    assert client.changes(f"dbo_{name}", "ID") == [(1,), (2,)]
    assert client.changes(f"{name}_2", "ID, City") == [(2, "Oslo")]
    sql = """SELECT capture_instance, start_lsn FROM cdc.change_tables WHERE source_object_id = OBJECT_ID(?)
             ORDER BY create_date, object_id"""
    (first, low), (second, high) = client.rows(sql, f"dbo.{name}")
    assert (first, second) == (f"dbo_{name}", f"{name}_2")
    assert low < high
    assert client.value("SELECT sys.fn_cdc_get_min_lsn(?)", second) == high
    client.fails(22962, f"EXEC sys.sp_cdc_enable_table 'dbo', '{name}', @role_name = NULL, @capture_instance = 'third'")
    [(command,)] = client.rows("SELECT ddl_command FROM cdc.ddl_history WHERE source_object_id = OBJECT_ID(?)", name)
    assert "ADD City" in command


def test_a_dropped_column_stays_null_in_the_change_table(client: Client) -> None:
    name = client.table(PERSONS, capture=True)
    client.run(f"INSERT INTO {name} VALUES (1, N'a', 5)")
    client.run(f"ALTER TABLE {name} DROP COLUMN Age")
    client.run(f"INSERT INTO {name} VALUES (2, N'b')")
    assert client.changes(f"dbo_{name}", "ID, Name, Age") == [(1, "a", 5), (2, "b", None)]


def test_a_changed_type_reaches_the_change_table(client: Client) -> None:
    name = client.table(PERSONS, capture=True)
    client.run(f"INSERT INTO {name} VALUES (1, N'a', 5)")
    client.run(f"ALTER TABLE {name} ALTER COLUMN Age decimal(10, 2) NULL")
    client.run(f"UPDATE {name} SET Age = 7.25")
    assert [str(age) for (age,) in client.changes(f"dbo_{name}", "Age")] == ["5.00", "5.00", "7.25"]


def test_disabling_an_instance_takes_its_change_table_and_leaves_the_other(client: Client) -> None:
    name = client.table(PERSONS, capture=True)
    client.capture(name, capture_instance=f"{name}_2")
    client.run(f"EXEC sys.sp_cdc_disable_table 'dbo', '{name}', 'dbo_{name}'")
    client.run(f"INSERT INTO {name} (ID) VALUES (1)")
    client.fails(208, f"SELECT * FROM cdc.[dbo_{name}_CT]")
    assert client.changes(f"{name}_2", "ID") == [(1,)]
    assert client.value("SELECT sys.fn_cdc_get_min_lsn(?)", f"dbo_{name}") == bytes(10)
    client.run(f"EXEC sys.sp_cdc_disable_table 'dbo', '{name}', 'all'")
    assert client.value("SELECT is_tracked_by_cdc FROM sys.tables WHERE name = ?", name) is False


def test_a_captured_table_cannot_be_truncated_and_dropping_it_ends_capture(client: Client) -> None:
    name = client.table(PERSONS, capture=True)
    client.fails(4711, f"TRUNCATE TABLE {name}")
    client.run(f"DROP TABLE {name}")
    assert client.rows("SELECT 1 AS one FROM cdc.change_tables WHERE capture_instance = ?", f"dbo_{name}") == []


@pytest.mark.parametrize("name", ["we]]ird [name", "sp ace", "Größe", "select", 'quo"te', "a.b"])
def test_any_legal_name_is_captured(client: Client, name: str) -> None:
    full = f"{name} {id(name)}"
    schema = f"schema {id(name)} {name}"
    bracketed, owner = full.replace("]", "]]"), schema.replace("]", "]]")
    client.run(f"CREATE SCHEMA [{owner}]")
    client.run(f"CREATE TABLE [{owner}].[{bracketed}] (ID int PRIMARY KEY, [{bracketed}] nvarchar(10))")
    client.run("EXEC sys.sp_cdc_enable_table @source_schema = ?, @source_name = ?, @role_name = NULL", schema, full)
    client.run(f"INSERT INTO [{owner}].[{bracketed}] VALUES (1, N'x')")
    instance = f"{owner}_{bracketed}"
    assert client.rows(f"SELECT ID, [{bracketed}] FROM cdc.[{instance}_CT]") == [(1, "x")]


def test_net_changes_need_a_key_and_the_key_is_listed(client: Client) -> None:
    heap = client.table("N int")
    client.fails(22939, f"EXEC sys.sp_cdc_enable_table 'dbo', '{heap}', @role_name = NULL, @supports_net_changes = 1")
    keyed = client.table("A int, B nvarchar(10), C int, PRIMARY KEY (B, A)")
    client.capture(keyed)
    sql = (
        "SELECT column_name, index_ordinal FROM cdc.index_columns WHERE object_id = OBJECT_ID(?) ORDER BY index_ordinal"
    )
    assert client.rows(sql, f"cdc.dbo_{keyed}_CT") == [("B", 1), ("A", 2)]


def test_the_change_table_s_clustered_index_is_the_four_column_key(client: Client) -> None:
    name = client.table(PERSONS, capture=True)
    sql = """SELECT c.name FROM sys.indexes AS i
             JOIN sys.index_columns AS k ON k.object_id = i.object_id AND k.index_id = i.index_id
             JOIN sys.columns AS c ON c.object_id = k.object_id AND c.column_id = k.column_id
             WHERE i.object_id = OBJECT_ID(?) AND i.type = 1 ORDER BY k.key_ordinal"""
    found = [column for (column,) in client.rows(sql, f"cdc.[dbo_{name}_CT]")]
    assert found == ["__$start_lsn", "__$command_id", "__$seqval", "__$operation"]


def test_clean_up_raises_the_low_watermark_and_deletes_below_it(client: Client) -> None:
    name = client.table(PERSONS, capture=True)
    for number in range(4):
        client.run(f"INSERT INTO {name} (ID) VALUES (?)", number)
    lsns = [lsn for (lsn,) in client.changes(f"dbo_{name}", "__$start_lsn")]
    client.fails(22964, f"EXEC sys.sp_cdc_cleanup_change_table 'dbo_{name}', @low_water_mark = 0x01")
    client.run("DECLARE @l binary(10) = ?; EXEC sys.sp_cdc_cleanup_change_table ?, @l", lsns[2], f"dbo_{name}")
    assert client.changes(f"dbo_{name}", "ID") == [(2,), (3,)]
    assert client.value("SELECT sys.fn_cdc_get_min_lsn(?)", f"dbo_{name}") == lsns[2]


def test_the_capture_job_can_be_held_and_stepped(alone: Local, visitor: Client) -> None:
    name = visitor.table(PERSONS, capture=True)
    visitor.run(f"INSERT INTO {name} (ID) VALUES (1)")
    seen = visitor.value("SELECT sys.fn_cdc_get_max_lsn()")
    alone.fault(capture="off")
    visitor.run(f"INSERT INTO {name} (ID) VALUES (2)")
    visitor.run(f"UPDATE {name} SET Age = 9 WHERE ID = 2")
    visitor.run(f"INSERT INTO {name} (ID) VALUES (3)")
    assert alone.state()["databases"]["TestDB"] == {"capture": "off", "held": 3}
    assert visitor.changes(f"dbo_{name}", "ID") == [(1,)]
    assert visitor.value("SELECT sys.fn_cdc_get_max_lsn()") == seen
    alone.fault(capture="step")
    assert visitor.changes(f"dbo_{name}", "ID") == [(1,), (2,)]
    assert visitor.value("SELECT sys.fn_cdc_get_max_lsn()") > seen
    alone.fault(capture="on")
    assert visitor.changes(f"dbo_{name}", "__$operation, ID") == [(2, 1), (2, 2), (3, 2), (4, 2), (2, 3)]
    visitor.run(f"INSERT INTO {name} (ID) VALUES (4)")
    assert len(visitor.changes(f"dbo_{name}")) == 6


def test_the_clean_up_job_moves_every_instance(alone: Local, visitor: Client) -> None:
    busy, quiet = visitor.table(PERSONS, capture=True), visitor.table(PERSONS, capture=True)
    visitor.run(f"INSERT INTO {busy} (ID) VALUES (1)")
    visitor.run(f"INSERT INTO {busy} (ID) VALUES (2)")
    last = visitor.value("SELECT sys.fn_cdc_get_max_lsn()")
    alone.fault(cleanup={"lsn": last.hex()})
    assert visitor.changes(f"dbo_{busy}", "ID") == [(2,)]
    assert visitor.rows("SELECT DISTINCT start_lsn FROM cdc.change_tables") == [(last,)]
    assert visitor.value("SELECT sys.fn_cdc_get_min_lsn(?)", f"dbo_{quiet}") == last


def test_an_idle_server_writes_empty_rows_into_the_mapping(alone: Local, visitor: Client) -> None:
    assert visitor.value("SELECT sys.fn_cdc_get_max_lsn()") is None
    alone.fault(idle_lsn=2)
    rows = visitor.rows("SELECT start_lsn, tran_id FROM cdc.lsn_time_mapping ORDER BY start_lsn")
    assert [tran for _, tran in rows] == [b"\0", b"\0"]
    assert visitor.value("SELECT sys.fn_cdc_get_max_lsn()") == rows[-1][0]


def test_without_capture_there_are_no_capture_tables(alone: Local, visitor: Client) -> None:
    visitor.run("EXEC sys.sp_cdc_disable_db")
    assert visitor.value("SELECT is_cdc_enabled FROM sys.databases WHERE name = DB_NAME()") is False
    visitor.fails(208, "SELECT * FROM cdc.change_tables")
    name = visitor.table(PERSONS)
    visitor.fails(22901, f"EXEC sys.sp_cdc_enable_table 'dbo', '{name}', @role_name = NULL")
    visitor.run("EXEC sys.sp_cdc_enable_db")
    assert visitor.rows("SELECT is_cdc_enabled FROM sys.databases") == [(True,)]


def test_jobs_say_their_retention(client: Client) -> None:
    assert client.rows("SELECT job_type, retention FROM msdb.dbo.cdc_jobs WHERE job_type = N'cleanup'") == [
        ("cleanup", 4320)
    ]
    cursor = client.connection.execute("EXEC sys.sp_cdc_help_jobs")
    names = [column[0] for column in cursor.description]
    assert [(row[names.index("job_type")], row[names.index("retention")]) for row in cursor] == [
        ("capture", 0),
        ("cleanup", 4320),
    ]


def test_an_lsn_maps_to_its_time_and_back(client: Client) -> None:
    name = client.table(PERSONS, capture=True)
    client.run(f"INSERT INTO {name} (ID) VALUES (1)")
    lsn = client.value("SELECT sys.fn_cdc_get_max_lsn()")
    time = client.value("SELECT sys.fn_cdc_map_lsn_to_time(?)", lsn)
    back = "SELECT sys.fn_cdc_map_time_to_lsn('largest less than or equal', CAST(? AS datetime))"
    assert client.value(back, time) >= lsn
    assert client.value("SELECT sys.fn_cdc_increment_lsn(?)", lsn) == (int.from_bytes(lsn) + 1).to_bytes(10)
