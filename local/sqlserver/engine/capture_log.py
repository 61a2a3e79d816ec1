"""The capture job: committed changes either reach the change tables at once, or wait until the job is let go on.

Triggers write change rows inside the transaction that changes the table. While capture is held, a commit moves its
rows to a log beside each change table; a step moves whole transactions back, in order, as the log reader would.
"""

# ruff: noqa: S608 - statements are made of numbers, quoted names and texts of this package

from local.sqlserver import temporal
from local.sqlserver.engine.catalog import Catalog
from local.sqlserver.engine.lsn import LogRange


def commit(catalog: Catalog, log: LogRange, begin_time: int, *, held: bool) -> None:
    """Record a transaction's commit; `held` puts it aside for the capture job."""
    utc, minutes = temporal.now()
    end_time = temporal.thirds_to_ticks(temporal.ticks_to_thirds(utc + minutes * temporal.MINUTE))
    begin_time = temporal.thirds_to_ticks(temporal.ticks_to_thirds(begin_time))
    number = catalog.state("transaction") + 1
    catalog.put_state("transaction", number)
    values = (log.commit, begin_time, end_time, number.to_bytes(10), log.begin)
    target = "m_lsn_log" if held else "m_lsn"
    catalog.rows(f"INSERT INTO {target} VALUES (?, ?, ?, ?, ?)", *values)
    if held:
        _move_rows(catalog, log.commit, "", "log")


def _move_rows(catalog: Catalog, lsn: bytes, source: str, target: str) -> None:
    for (number,) in catalog.rows("SELECT object_id FROM m_instance"):
        origin, goal = f"t{number}{source}", f"t{number}{target}"
        if source:
            if not catalog.rows("SELECT 1 FROM sqlite_schema WHERE name = ?", origin):
                continue
        else:
            catalog.rows(f"CREATE TABLE IF NOT EXISTS {goal} AS SELECT * FROM {origin} WHERE 0")
        catalog.rows(f'INSERT INTO {goal} SELECT * FROM {origin} WHERE "__$start_lsn" = ?', lsn)
        catalog.rows(f'DELETE FROM {origin} WHERE "__$start_lsn" = ?', lsn)


def release(catalog: Catalog, count: int | None) -> int:
    """Let the capture job take so many held transactions, all for None; return how many it took."""
    sql = "SELECT start_lsn FROM m_lsn_log ORDER BY start_lsn LIMIT ?"
    held = [lsn for (lsn,) in catalog.rows(sql, -1 if count is None else count)]
    for lsn in held:
        _move_rows(catalog, lsn, "log", "")
        catalog.rows("INSERT INTO m_lsn SELECT * FROM m_lsn_log WHERE start_lsn = ?", lsn)
        catalog.rows("DELETE FROM m_lsn_log WHERE start_lsn = ?", lsn)
    return len(held)


def move(catalog: Catalog, table: int, row: bytes, to: bytes, command: int | None) -> None:
    """Give the insert half of a key update another sequence value, and another command."""
    sets = '"__$seqval" = ?' + ("" if command is None else ', "__$command_id" = ?')
    values = (to,) if command is None else (to, command)
    where = '"__$seqval" = ? AND "__$operation" = 2'
    lsn = catalog.rows(f'SELECT max("__$start_lsn") FROM t{table}')[0][0]
    catalog.rows(f'UPDATE t{table} SET {sets} WHERE "__$start_lsn" = ? AND {where}', *values, lsn, row)


def clean(catalog: Catalog, low: bytes, instance: str | None) -> None:
    """Raise the low watermark of one instance, or of all, and delete the rows below it."""
    for number, name in catalog.rows("SELECT object_id, name FROM m_instance"):
        if instance is not None and name.casefold() != instance.casefold():
            continue
        catalog.rows("UPDATE m_instance SET start_lsn = max(start_lsn, ?) WHERE object_id = ?", low, number)
        catalog.rows(f'DELETE FROM t{number} WHERE "__$start_lsn" < ?', low)
    catalog.rows("DELETE FROM m_lsn WHERE start_lsn < (SELECT min(start_lsn) FROM m_instance)")
