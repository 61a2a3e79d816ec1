"""What the demo commits: rows of two tables, and what each commit must look like when it arrives."""

import random
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pyodbc

from local.sqlserver import driver

TABLES = {
    "Persons": "ID int NOT NULL PRIMARY KEY, FirstName nvarchar(50) NOT NULL, LastName nvarchar(50) NOT NULL, "
    "Balance decimal(18, 2) NULL, Active bit NOT NULL, UpdatedAt datetime2(7) NOT NULL",
    "Cars": "ID int NOT NULL PRIMARY KEY, Model nvarchar(50) NOT NULL, Price money NULL, "
    "Token uniqueidentifier NOT NULL, Owner int NULL, UpdatedAt datetime2(7) NOT NULL",
}
FIRST = ("Ada", "Grace", "Edsger", "Barbara", "Diana", "Tony", "Søren", "Chidi", "Mei", "José")
LAST = ("Lovelace", "Hopper", "Dijkstra", "Liskov", "Williams", "Hoare", "Kierkegaard", "Okafor", "Lin", "O'Neill")
MODELS = ("Amazon", "Traction Avant", "Mini", "Käfer", "2CV", "Kei", "Volga", "Model T")
START = datetime(2026, 11, 21, 7, 28, 6)  # noqa: DTZ001 - a datetime2 column has no zone

type Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Expected:
    """One change as it must arrive: the operation type, the row, and for an update the row before."""

    kind: str
    data: Row
    before: Row | None = None


@dataclass(slots=True)
class Workload:
    """Commits transactions over the ODBC driver, and writes down what it committed, by table, in commit order."""

    seed: int = 7
    committed: dict[str, list[Expected]] = field(default_factory=lambda: {name: [] for name in TABLES})
    _rows: dict[str, dict[int, Row]] = field(default_factory=lambda: {name: {} for name in TABLES})
    _next: int = 1
    _connection: pyodbc.Connection | None = None

    def create(self, odbc: str) -> None:
        """Connect, and create the tables with change data capture."""
        self._connection = pyodbc.connect(f"Driver={driver.path()};{odbc}", timeout=10, autocommit=True)
        connection = self._open()
        connection.execute("EXEC sys.sp_cdc_enable_db")
        for name, columns in TABLES.items():
            connection.execute(f"CREATE TABLE dbo.[{name}] ({columns})")
            connection.execute(
                "EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = ?, @role_name = NULL", name
            )
        connection.autocommit = False

    def transaction(self, rng: random.Random) -> None:
        """Commit one transaction of one to four changes, on either table."""
        connection, done = self._open(), list[tuple[str, Expected]]()
        for _ in range(rng.randint(1, 4)):
            table = rng.choice(list(TABLES))
            rows = self._rows[table]
            roll = rng.random()
            if len(rows) < 5 or roll < 0.5:
                done.append((table, self._insert(connection, table, rng)))
            elif roll < 0.85:
                done.append((table, self._update(connection, table, rng.choice(list(rows)), rng)))
            else:
                done.append((table, self._delete(connection, table, rng.choice(list(rows)))))
        connection.commit()
        self._note(done)

    def large_transaction(self, count: int, rng: random.Random) -> None:
        """Commit `count` insertions into Cars as one transaction."""
        connection = self._open()
        rows = [self._row("Cars", self._new_id(), rng) for _ in range(count)]
        names = list(rows[0])
        sql = f"INSERT INTO dbo.Cars ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"  # noqa: S608
        cursor = connection.cursor()
        cursor.fast_executemany = True
        as_text = [{**row, "UpdatedAt": str(row["UpdatedAt"])} for row in rows]  # arrays of times lose their fraction
        cursor.executemany(sql, [tuple(row.values()) for row in as_text])
        connection.commit()
        self._rows["Cars"] |= {row["ID"]: row for row in rows}
        self._note([("Cars", Expected("Insert", _shown(row))) for row in rows])

    def captured(self) -> dict[str, int]:
        """Return how many changes the database's change tables hold, by table; an update counts once."""
        cursor = self._open().cursor()
        return {
            name: cursor.execute(f"SELECT COUNT(*) FROM cdc.[dbo_{name}_CT] WHERE __$operation <> 3").fetchval()  # noqa: S608
            for name in TABLES
        }

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()

    def _open(self) -> pyodbc.Connection:
        if self._connection is None:
            msg = "create comes first"
            raise RuntimeError(msg)
        return self._connection

    def _insert(self, connection: pyodbc.Connection, table: str, rng: random.Random) -> Expected:
        row = self._row(table, self._new_id(), rng)
        marks = ", ".join("?" * len(row))
        connection.execute(f"INSERT INTO dbo.[{table}] ({', '.join(row)}) VALUES ({marks})", *row.values())  # noqa: S608
        self._rows[table][row["ID"]] = row
        return Expected("Insert", _shown(row))

    def _update(self, connection: pyodbc.Connection, table: str, key: int, rng: random.Random) -> Expected:
        before = self._rows[table][key]
        fresh = self._row(table, key, rng)
        others = [name for name in fresh if name not in ("ID", "UpdatedAt")]
        names: Sequence[str] = ["UpdatedAt", *rng.sample(others, rng.randint(0, 2))]  # a change of nothing is no change
        row = before | {name: fresh[name] for name in names}
        sets = ", ".join(f"{name} = ?" for name in names)
        connection.execute(f"UPDATE dbo.[{table}] SET {sets} WHERE ID = ?", *(row[name] for name in names), key)  # noqa: S608
        self._rows[table][key] = row
        return Expected("Update", _shown(row), _shown(before))

    def _delete(self, connection: pyodbc.Connection, table: str, key: int) -> Expected:
        row = self._rows[table].pop(key)
        connection.execute(f"DELETE FROM dbo.[{table}] WHERE ID = ?", key)  # noqa: S608
        return Expected("Delete", _shown(row))

    def _row(self, table: str, key: int, rng: random.Random) -> Row:
        updated = START + timedelta(microseconds=rng.randrange(86_400_000_000))
        if table == "Persons":
            balance = None if rng.random() < 0.1 else Decimal(rng.randrange(-10_000_000, 10_000_000)) / 100
            names = {"FirstName": rng.choice(FIRST), "LastName": rng.choice(LAST)}
            return {"ID": key, **names, "Balance": balance, "Active": rng.random() < 0.5, "UpdatedAt": updated}
        token = uuid.UUID(int=rng.getrandbits(128), version=4)
        price = Decimal(rng.randrange(1_000_0000, 90_000_0000)) / 10_000
        owner = None if rng.random() < 0.3 else rng.randint(1, key)
        return {
            "ID": key, "Model": rng.choice(MODELS), "Price": price, "Token": token, "Owner": owner, "UpdatedAt": updated
        }  # fmt: skip

    def _new_id(self) -> int:
        self._next += 1
        return self._next - 1

    def _note(self, done: Sequence[tuple[str, Expected]]) -> None:
        for table, expected in done:
            self.committed[table].append(expected)


def _shown(row: Row) -> Row:
    """Return the row as a message's JSON must show it, worked out without the product's own code."""
    return {name: _shown_value(name, value) for name, value in row.items()}


def _shown_value(name: str, value: Any) -> Any:
    match value:
        case Decimal():
            return f"{value:.4f}" if name == "Price" else f"{value:.2f}"
        case datetime():
            return f"{value:%Y-%m-%dT%H:%M:%S.%f}0"
        case uuid.UUID():
            return str(value)
        case _:
            return value
