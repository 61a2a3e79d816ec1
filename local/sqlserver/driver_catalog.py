"""What drivers ask by themselves: the types of the server, and the types of undeclared parameters.

https://learn.microsoft.com/sql/relational-databases/system-stored-procedures/sp-describe-undeclared-parameters-transact-sql
"""

from collections.abc import Sequence
from typing import Any

from local.sqlserver.errors import SqlError
from local.sqlserver.session import Session
from local.sqlserver.sql import commands, tree
from local.sqlserver.sql.parse_statements import parse_batch, parse_declarations
from local.sqlserver.sql.plans import plan_statement
from local.sqlserver.sql.tokens import VARIABLE, tokenize
from local.sqlserver.sqltypes import BIT, INT, MAX, SYSNAME, TINYINT, WIDE, Family, SqlType, declared, nvarchar
from local.sqlserver.tds.answer import WireAnswer
from local.sqlserver.tds.requests import Parameter
from local.sqlserver.tds.tokens import Column, type_info

# ODBC's number of each type: https://learn.microsoft.com/sql/odbc/reference/appendixes/sql-data-types
_ODBC = {
    "sql_variant": -150, "uniqueidentifier": -11, "ntext": -10, "xml": -152, "nvarchar": -9, "nchar": -8, "bit": -7,
    "tinyint": -6, "bigint": -5, "image": -4, "varbinary": -3, "binary": -2, "timestamp": -2, "text": -1, "char": 1,
    "numeric": 2, "decimal": 3, "money": 3, "smallmoney": 3, "int": 4, "smallint": 5, "float": 6, "real": 7, "date": 91,
    "time": -154, "datetime2": 93, "datetime": 93, "smalldatetime": 93, "varchar": 12, "datetimeoffset": -155,
}  # fmt: skip
_PRECISIONS = {
    "nvarchar": 4000, "nchar": 4000, "varchar": 8000, "char": 8000, "varbinary": 8000, "binary": 8000,
    "text": 2**31 - 1, "image": 2**31 - 1, "ntext": 2**30 - 1, "xml": 0, "sql_variant": 8000,
    "uniqueidentifier": 36, "timestamp": 8,
    "decimal": 38, "numeric": 38, "float": 53, "real": 24,
}  # fmt: skip
_SMALLINT = declared("smallint")
_TYPE_COLUMNS = (
    Column("TYPE_NAME", SYSNAME), Column("DATA_TYPE", _SMALLINT), Column("PRECISION", INT),
    Column("LITERAL_PREFIX", SqlType("varchar", 32)), Column("LITERAL_SUFFIX", SqlType("varchar", 32)),
    Column("CREATE_PARAMS", SqlType("varchar", 32)), Column("NULLABLE", _SMALLINT), Column("CASE_SENSITIVE", _SMALLINT),
    Column("SEARCHABLE", _SMALLINT), Column("UNSIGNED_ATTRIBUTE", _SMALLINT), Column("MONEY", _SMALLINT),
    Column("AUTO_INCREMENT", _SMALLINT), Column("LOCAL_TYPE_NAME", SYSNAME), Column("MINIMUM_SCALE", _SMALLINT),
    Column("MAXIMUM_SCALE", _SMALLINT), Column("SQL_DATA_TYPE", _SMALLINT), Column("SQL_DATETIME_SUB", _SMALLINT),
    Column("NUM_PREC_RADIX", INT), Column("INTERVAL_PRECISION", _SMALLINT), Column("USERTYPE", _SMALLINT),
)  # fmt: skip
_DESCRIBED = (
    ("parameter_ordinal", INT), ("name", SYSNAME), ("suggested_system_type_id", INT),
    ("suggested_system_type_name", nvarchar(256)), ("suggested_max_length", _SMALLINT),
    ("suggested_precision", TINYINT), ("suggested_scale", TINYINT), ("suggested_user_type_id", INT),
    ("suggested_user_type_database", SYSNAME), ("suggested_user_type_schema", SYSNAME),
    ("suggested_user_type_name", SYSNAME), ("suggested_assembly_qualified_type_name", nvarchar(4000)),
    ("suggested_xml_collection_id", INT), ("suggested_xml_collection_database", SYSNAME),
    ("suggested_xml_collection_schema", SYSNAME), ("suggested_xml_collection_name", SYSNAME),
    ("suggested_is_xml_document", BIT), ("suggested_is_case_sensitive", BIT),
    ("suggested_is_fixed_length_clr_type", BIT), ("suggested_is_input", BIT), ("suggested_is_output", BIT),
    ("formal_parameter_name", SYSNAME), ("suggested_tds_type_id", INT), ("suggested_tds_length", INT),
)  # fmt: skip


def knows(name: str) -> bool:
    """Whether this is a procedure only drivers call."""
    return name in {"sp_datatype_info_100", "sp_describe_undeclared_parameters"}


def run(session: Session, name: str, parameters: Sequence[Parameter], answer: WireAnswer) -> None:
    """Run one of them."""
    if name == "sp_datatype_info_100":
        wanted = parameters[0].value if parameters else 0
        answer.rows(_TYPE_COLUMNS, [_type_row(n, number) for n, number in _ODBC.items() if wanted in {0, None, number}])
    else:
        declarations = parameters[1].value if len(parameters) > 1 else ""
        columns = [Column(*each) for each in _DESCRIBED]
        answer.rows(columns, _describe(session, parameters[0].value, declarations or ""))


def _type_row(name: str, number: int) -> tuple[Any, ...]:
    kind = declared(name)
    quoted = kind.family in {Family.TEXT, Family.DATE, Family.TIME, Family.MOMENT, Family.OFFSET, Family.GUID}
    prefix = ("N'" if name in WIDE else "'") if quoted else "0x" if kind.family is Family.BINARY else None
    size = _PRECISIONS.get(name, kind.precision)
    scaled = name in {"decimal", "numeric", "time", "datetime2", "datetimeoffset"}
    return (
        name, number, size, prefix, "'" if quoted else None, "length" if size in {4000, 8000} else None, 1, 0, 3,
        int(name == "tinyint"), int(name.endswith("money")), 0, name, 0 if scaled else None,
        (38 if kind.family is Family.DECIMAL else 7) if scaled else None, number, None,
        10 if kind.family in {Family.INTEGER, Family.DECIMAL} else None, None, kind.number,
    )  # fmt: skip


def _describe(session: Session, sql: str, declarations: str) -> list[tuple[Any, ...]]:
    kinds: dict[str, SqlType | None] = {name.lower(): kind for name, kind, _ in parse_declarations(declarations)}
    undeclared = []
    for token in tokenize(sql):
        if token.kind == VARIABLE and not token.value.startswith("@@") and token.value.lower() not in kinds:
            kinds[token.value.lower()] = None
            undeclared.append(token.value)
    inferred: dict[str, SqlType] = {}
    for statement in parse_batch(sql):
        if isinstance(statement, (tree.Query, commands.Insert, commands.Update, commands.Delete)):
            inferred |= plan_statement(statement, session.names, kinds).inferred or {}
        elif isinstance(statement, commands.Declare):
            for each in statement.variables:
                kinds[each.name.lower()] = each.kind
                if isinstance(each.value, tree.Variable):
                    inferred[each.value.name.lower()] = each.kind
    rows = []
    for ordinal, name in enumerate(undeclared, 1):
        kind = inferred.get(name.lower())
        if kind is None:
            text = (
                f"The undeclared parameter '{name}' is used more than once in the "
                "batch being analyzed, or its type cannot be deduced."
            )
            raise SqlError(11508, text)
        rows.append(_described_row(ordinal, name, kind))
    return rows


def _described_row(ordinal: int, name: str, kind: SqlType) -> tuple[Any, ...]:
    # rowversion, CLR types and the old LOB types are given as what a client sends for them.
    kind = {
        "timestamp": SqlType("binary", 8), "text": SqlType("varchar", MAX), "ntext": nvarchar(MAX),
        "image": SqlType("varbinary", MAX), "hierarchyid": SqlType("varbinary", MAX),
        "geometry": SqlType("varbinary", MAX), "geography": SqlType("varbinary", MAX),
    }.get(kind.name, kind)  # fmt: skip
    length = kind.max_length
    wire_length = 65535 if length == MAX else length if kind.family is not Family.DECIMAL else 17
    return (
        ordinal, name, kind.number, str(kind), length, kind.precision, kind.scale, *[None] * 9, 0, 0, 0, 1, 0, None,
        type_info(kind)[0], wire_length,
    )  # fmt: skip
