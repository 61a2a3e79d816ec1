"""A database in memory that answers the source's statements, and lets a test come in between them."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from shared.settings.model import SqlServerSettings, TableSettings
from shared.sources.sqlserver import queries
from shared.sources.sqlserver.odbc import GoneError, Odbc, Session
from shared.sources.sqlserver.position import Place
from shared.sources.sqlserver.source import SqlServerSource

TIME = "2026-11-21T07:28:06.1230000"
_TABLE = re.compile(r"\[cdc\]\.\[(\w+)_CT\]")


def lsn(number: int) -> bytes:
    return number.to_bytes(10)


@dataclass
class CaptureInstance:
    table: str
    name: str
    object_id: int
    start: int
    columns: Sequence[tuple[str, str, int]] = (("ID", "int", 4), ("Name", "nvarchar", 100))
    readable: bool = True
    key: Sequence[str] = queries.KEY_COLUMNS
    rows: list[tuple[Any, ...]] = field(default_factory=list)

    @property
    def table_id(self) -> int:
        return sum(self.table.encode()) + 1000


class Database:
    """Both the connections of a source and the session that its work is given."""

    def __init__(self, *tables: str) -> None:
        self.scanned = 0
        self.enabled = True
        self.existing = set(tables)
        self.instances = [
            CaptureInstance(table, f"dbo_{table}", number, 1) for number, table in enumerate(tables, start=1)
        ]
        self.statements: list[str] = []
        self.before: dict[str, Callable[[], None]] = {}
        self.retention: Sequence[tuple[str, int]] = ()
        self.described: Sequence[tuple[Any, ...]] = ()
        self.is_cut = False
        self.is_lost = False
        self.most_rows = 10

    def source(self, *tables: str, **changes: Any) -> SqlServerSource:
        named = tuple(TableSettings("dbo", table, 1.0, 30.0) for table in tables or sorted(self.existing))
        settings = SqlServerSettings("sql1", "Server=x;UID=reader", "TestDB", "x", named, **changes)
        return SqlServerSource(settings, cast(Odbc, self))

    async def run[T](self, work: Callable[[Session], T]) -> T:
        return work(cast(Session, self))

    def commit(self, *rows: tuple[Any, ...], table: str = "Persons") -> None:
        """Commit one transaction: rows are `(operation, value, …)` in every instance of the table."""
        self.scanned += 1
        for instance in self.instances:
            if instance.table == table:
                instance.rows += [
                    (
                        lsn(self.scanned),
                        1,
                        lsn(number),
                        row[0],
                        b"\xff",
                        TIME,
                        *row[1 : 1 + len(instance.columns)],
                    )
                    for number, row in enumerate(rows, start=10)
                ]

    def clean_up(self, to: int) -> None:
        for instance in self.instances:
            instance.start = max(instance.start, to)
            instance.rows = [row for row in instance.rows if row[0] >= lsn(to)]

    def meanwhile(self, before: str, action: Callable[[], None]) -> None:
        """Do something once, before the next statement that contains `before` is answered."""
        self.before[before] = action

    def counted(self) -> Counter[str]:
        """Return how many statements of which kind there were since the last time."""
        counted = Counter(
            "scan" if sql == queries.SCAN else "places" if " AS n, k.*" in sql else "other" for sql in self.statements
        )
        self.statements.clear()
        return counted

    def rows(self, sql: str, *parameters: Any, most_bytes: int | None = None) -> Sequence[Sequence[Any]]:
        self.statements.append(sql)
        for part in [part for part in self.before if part in sql]:
            self.before.pop(part)()
        if sql.startswith("DECLARE @l"):
            rows = list(self._page(sql, *parameters))
            kept = self.most_rows if most_bytes else len(rows)
            self.is_cut = kept < len(rows)
            return rows[:kept]
        if " AS n, k.*" in sql:
            return list(self._places(sql))
        return self._metadata(sql, *parameters)

    def _page(self, sql: str, *parameters: Any) -> Iterator[Sequence[Any]]:
        instance = self._instance(sql)
        place, last, count = Place(*parameters[:4]), parameters[4], parameters[5]
        self.described = tuple(instance.columns)
        following = (row for row in instance.rows if Place(*row[:4]) > place and row[0] <= last)
        yield from (row for row, _ in zip(following, range(count), strict=False))

    def _places(self, sql: str) -> Iterator[Sequence[Any]]:
        for number, part in enumerate(sql.split(" UNION ALL ")):
            rows = self._instance(part).rows
            if rows:
                yield (number, *rows[-1][:4])

    def _instance(self, sql: str) -> CaptureInstance:
        found = _TABLE.search(sql)
        assert found
        for instance in self.instances:
            if instance.name == found[1]:
                return instance
        msg = f"Invalid object name 'cdc.{found[1]}_CT'. (208) (SQLExecDirectW)"
        raise GoneError(msg)

    def _metadata(self, sql: str, *parameters: Any) -> Sequence[Sequence[Any]]:
        if sql not in _METADATA:
            self.described = (("job_type",), ("retention",))
            return self.retention
        return list(_METADATA[sql](self, *parameters))

    def of(self, object_id: int) -> Sequence[CaptureInstance]:
        return [instance for instance in self.instances if instance.object_id == object_id]


type Rows = Iterable[Sequence[Any]]


def _scan(database: Database) -> Rows:
    if not database.enabled:
        msg = "Invalid object name 'cdc.lsn_time_mapping'. (208) (SQLExecDirectW)"
        raise GoneError(msg)
    yield (
        lsn(database.scanned) if database.scanned else None,
        0,
        len(database.instances),
        max((each.object_id for each in database.instances), default=None),
    )


def _database(database: Database) -> Rows:
    yield "TestDB", database.enabled


def _instances(database: Database) -> Rows:
    for each in database.instances:
        yield "dbo", each.table, each.table_id, each.object_id, each.name, lsn(each.start), each.readable


def _clustered_keys(database: Database) -> Rows:
    return [(each.object_id, name) for each in database.instances for name in each.key]


def _watermarks(database: Database, table_id: int) -> Rows:
    return [(each.object_id, lsn(each.start)) for each in database.instances if each.table_id == table_id]


def _columns(database: Database, object_id: int) -> Rows:
    return [column for instance in database.of(object_id) for column in instance.columns]


def _captured_columns(database: Database, object_id: int) -> Rows:
    return [(name, ordinal, False) for ordinal, (name, *_) in enumerate(_columns(database, object_id), start=1)]


def _index_columns(_database: Database, _object_id: int) -> Rows:
    yield ("ID",)


def _table_id(database: Database, name: str) -> Rows:
    yield (1 if name.removeprefix("[dbo].[").removesuffix("]") in database.existing else None,)


_METADATA: Mapping[str, Callable[..., Rows]] = {
    queries.SCAN: _scan,
    queries.DATABASE: _database,
    queries.INSTANCES: _instances,
    queries.CLUSTERED_KEYS: _clustered_keys,
    queries.WATERMARKS: _watermarks,
    queries.COLUMNS: _columns,
    queries.CAPTURED_COLUMNS: _captured_columns,
    queries.INDEX_COLUMNS: _index_columns,
    queries.TABLE_ID: _table_id,
}
