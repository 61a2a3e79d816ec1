"""The grammar of statements: batches, variables, control of flow, changes of data, procedures.

https://learn.microsoft.com/sql/t-sql/statements/statements
"""

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

from local.sqlserver.sql import commands, tree
from local.sqlserver.sql.cursor import Cursor
from local.sqlserver.sql.parse_expressions import parse_expression
from local.sqlserver.sql.parse_queries import (
    parse_common,
    parse_items,
    parse_options,
    parse_query,
    parse_sources,
    parse_top,
    parse_values,
)
from local.sqlserver.sql.parse_security import parse_grant
from local.sqlserver.sql.parse_tables import parse_alter, parse_create, parse_drop
from local.sqlserver.sql.tokens import NAME, STRING, VARIABLE
from local.sqlserver.sqltypes import INT, SqlType, nvarchar

_ASSIGNMENTS = {"+=": "+", "-=": "-", "*=": "*", "/=": "/"}
_SET_OPTIONS = frozenset(
    """
    NOCOUNT XACT_ABORT ANSI_NULLS ANSI_PADDING ANSI_WARNINGS ANSI_NULL_DFLT_ON ANSI_DEFAULTS ARITHABORT
    QUOTED_IDENTIFIER CONCAT_NULL_YIELDS_NULL CURSOR_CLOSE_ON_COMMIT IMPLICIT_TRANSACTIONS NUMERIC_ROUNDABORT
    LOCK_TIMEOUT TEXTSIZE DEADLOCK_PRIORITY ROWCOUNT LANGUAGE DATEFORMAT DATEFIRST
    """.split()  # noqa: SIM905 - a list of words reads as one
)


@lru_cache(maxsize=4096)
def parse_batch(sql: str) -> tuple[commands.Statement, ...]:
    """Parse a batch.

    Raises:
        SqlError: 102 or 156 for what this server does not know.
    """
    cursor = Cursor(sql, parse_query)
    statements: list[commands.Statement] = []
    while True:
        while cursor.accept(";"):
            pass
        if cursor.ended:
            return tuple(statements)
        if not statements and _is_bare_procedure(cursor):
            statements.append(_procedure(cursor))
        else:
            statements.append(parse_statement(cursor))


def parse_declarations(text: str) -> tuple[tuple[str, SqlType, bool], ...]:
    """Parse the declarations of prepared parameters: name, type, whether it is OUTPUT."""
    cursor = Cursor(text, parse_query)
    found = []
    while not cursor.ended:
        name = cursor.variable()
        kind = cursor.type()
        found.append((name, kind, cursor.accept_any("OUTPUT", "OUT") is not None))
        if not cursor.ended:
            cursor.expect(",")
    return tuple(found)


def _is_bare_procedure(cursor: Cursor) -> bool:
    return cursor.is_name() and cursor.token.word != "THROW"


def parse_statement(cursor: Cursor) -> commands.Statement:
    """Take one statement."""
    word = cursor.token.word
    if word in {"SELECT", "WITH"} or word == "(":
        return _query_or_change(cursor)
    rule = _RULES.get(word)
    if rule is None or cursor.token.kind != NAME:
        raise cursor.fail()
    return rule(cursor)


def _query_or_change(cursor: Cursor) -> commands.Statement:
    if not cursor.at("WITH"):
        return parse_query(cursor)
    common = parse_common(cursor)
    if cursor.token.word in {"UPDATE", "DELETE", "WITH"}:
        raise cursor.fail()
    if cursor.at("INSERT"):
        insert = _insert(cursor)
        if not isinstance(insert.rows, tree.Query) or insert.rows.common:
            raise cursor.fail()
        return replace(insert, rows=replace(insert.rows, common=common))
    return replace(parse_query(cursor), common=common)


def _insert(cursor: Cursor) -> commands.Insert:
    cursor.expect("INSERT")
    cursor.accept("INTO")
    table = cursor.name()
    if cursor.accept("WITH"):
        cursor.names()
    columns = cursor.names() if cursor.at("(") and cursor.ahead().word != "SELECT" else ()
    output = parse_items(cursor) if cursor.accept("OUTPUT") else ()
    rows: tree.Values | tree.Query | commands.Procedure | None
    if cursor.accept("DEFAULT", "VALUES"):
        rows = None
    elif cursor.at("VALUES"):
        rows = parse_values(cursor)
    elif cursor.token.word in {"EXEC", "EXECUTE"}:
        raise cursor.fail()
    else:
        rows = parse_query(cursor)
    return commands.Insert(table, columns, rows, output)


def _update(cursor: Cursor) -> commands.Update:
    cursor.expect("UPDATE")
    top = parse_top(cursor)
    table = cursor.name()
    cursor.expect("SET")
    changes = [_change(cursor)]
    while cursor.accept(","):
        changes.append(_change(cursor))
    output = parse_items(cursor) if cursor.accept("OUTPUT") else ()
    source = parse_sources(cursor) if cursor.accept("FROM") else None
    where = parse_expression(cursor) if cursor.accept("WHERE") else None
    parse_options(cursor)
    return commands.Update(table, tuple(changes), where, source, top, output)


def _change(cursor: Cursor) -> commands.Change:
    column = cursor.name().parts[-1]
    operator = cursor.accept_any(*_ASSIGNMENTS)
    if operator is not None:
        return commands.Change(column, parse_expression(cursor), _ASSIGNMENTS[operator])
    cursor.expect("=")
    return commands.Change(column, None if cursor.accept("DEFAULT") else parse_expression(cursor))


def _delete(cursor: Cursor) -> commands.Delete:
    cursor.expect("DELETE")
    top = parse_top(cursor)
    cursor.accept("FROM")
    table = cursor.name()
    output = parse_items(cursor) if cursor.accept("OUTPUT") else ()
    source = parse_sources(cursor) if cursor.accept("FROM") else None
    where = parse_expression(cursor) if cursor.accept("WHERE") else None
    parse_options(cursor)
    return commands.Delete(table, where, source, top, output)


def _declare(cursor: Cursor) -> commands.Declare:
    cursor.expect("DECLARE")
    found = []
    while True:
        name = cursor.variable()
        cursor.accept("AS")
        kind = cursor.type()
        value = parse_expression(cursor) if cursor.accept("=") else None
        found.append(commands.Declared(name, kind, value))
        if not cursor.accept(","):
            return commands.Declare(tuple(found))


def _set(cursor: Cursor) -> commands.Statement:
    cursor.expect("SET")
    if cursor.token.kind == VARIABLE:
        return _set_variable(cursor)
    if cursor.accept("TRANSACTION", "ISOLATION", "LEVEL"):
        words = [cursor.advance().word]
        if words[0] in {"READ", "REPEATABLE"}:
            words.append(cursor.advance().word)
        if " ".join(words) not in {"READ COMMITTED", "READ UNCOMMITTED", "REPEATABLE READ", "SERIALIZABLE", "SNAPSHOT"}:
            raise cursor.fail()
        return commands.Option(("ISOLATION", *words))
    if cursor.accept("IDENTITY_INSERT"):
        table = cursor.name()
        return commands.Option(("IDENTITY_INSERT", _on_off(cursor)), table)
    if cursor.token.word not in _SET_OPTIONS:
        raise cursor.fail()
    words = [cursor.advance().word]
    while cursor.accept(","):
        words.append(cursor.advance().word)
    value = cursor.accept_any("ON", "OFF") or ("-" if cursor.accept("-") else "") + cursor.advance().text
    return commands.Option((*words, value.upper()))


def _on_off(cursor: Cursor) -> str:
    word = cursor.accept_any("ON", "OFF")
    if word is None:
        raise cursor.fail()
    return word


def _set_variable(cursor: Cursor) -> commands.Statement:
    name = cursor.variable()
    operator = cursor.accept_any(*_ASSIGNMENTS)
    if operator is not None:
        return commands.Assign(name, tree.Binary(_ASSIGNMENTS[operator], tree.Variable(name), parse_expression(cursor)))
    cursor.expect("=")
    return commands.Assign(name, parse_expression(cursor))


def _execute(cursor: Cursor) -> commands.Procedure:
    if cursor.accept_any("EXEC", "EXECUTE") is None or cursor.at("("):
        raise cursor.fail()
    return _procedure(cursor)


def _procedure(cursor: Cursor) -> commands.Procedure:
    status = None
    if cursor.token.kind == VARIABLE:
        status = cursor.variable()
        cursor.expect("=")
    name = cursor.name()
    arguments = []
    while cursor.token.kind == VARIABLE or _starts_argument(cursor):
        arguments.append(_argument(cursor))
        if not cursor.accept(","):
            break
    return commands.Procedure(name, tuple(arguments), status)


def _starts_argument(cursor: Cursor) -> bool:
    token = cursor.token
    return (
        token.kind in {STRING, "number", "binary", "quoted"}
        or token.word in {"NULL", "-", "DEFAULT"}
        or cursor.is_name()
    )


def _argument(cursor: Cursor) -> commands.Argument:
    name = None
    if cursor.token.kind == VARIABLE and cursor.ahead().word == "=":
        name = cursor.variable()
        cursor.expect("=")
    value: tree.Expression | None
    if cursor.accept("DEFAULT"):
        value = None
    elif cursor.is_name():
        word = cursor.identifier()
        value = tree.Literal(nvarchar(len(word)), word)
    else:
        value = parse_expression(cursor)
    return commands.Argument(name, value, cursor.accept_any("OUTPUT", "OUT") is not None)


def _begin(cursor: Cursor) -> commands.Statement:
    cursor.expect("BEGIN")
    if cursor.accept_any("TRAN", "TRANSACTION") is not None:
        return commands.Transaction("BEGIN", _transaction_name(cursor))
    statements = []
    while not cursor.accept("END"):
        if cursor.accept(";"):
            continue
        statements.append(parse_statement(cursor))
    return commands.Block(tuple(statements))


def _transaction_name(cursor: Cursor) -> str | None:
    return cursor.identifier() if cursor.is_name() else None


def _finish(cursor: Cursor) -> commands.Statement:
    action = cursor.advance().word
    if cursor.accept_any("TRAN", "TRANSACTION", "WORK") is None:
        return commands.Transaction(action)
    return commands.Transaction(action, _transaction_name(cursor))


def _save(cursor: Cursor) -> commands.Statement:
    cursor.expect("SAVE")
    if cursor.accept_any("TRAN", "TRANSACTION") is None:
        raise cursor.fail()
    return commands.Transaction("SAVE", cursor.identifier())


def _if(cursor: Cursor) -> commands.If:
    cursor.expect("IF")
    condition = parse_expression(cursor)
    then = parse_statement(cursor)
    while cursor.at(";") and cursor.ahead().word == "ELSE":
        cursor.advance()
    return commands.If(condition, then, parse_statement(cursor) if cursor.accept("ELSE") else None)


def _while(cursor: Cursor) -> commands.While:
    cursor.expect("WHILE")
    condition = parse_expression(cursor)
    return commands.While(condition, parse_statement(cursor))


def _jump(cursor: Cursor) -> commands.Jump:
    return commands.Jump(cursor.advance().word)


def _print(cursor: Cursor) -> commands.Print:
    cursor.expect("PRINT")
    return commands.Print(parse_expression(cursor))


def _throw(cursor: Cursor) -> commands.Throw:
    cursor.expect("THROW")
    number = parse_expression(cursor)
    cursor.expect(",")
    message = parse_expression(cursor)
    cursor.expect(",")
    return commands.Throw(number, message, None, parse_expression(cursor))


def _raiserror(cursor: Cursor) -> commands.Throw:
    cursor.expect("RAISERROR", "(")
    message = parse_expression(cursor)
    cursor.expect(",")
    severity = parse_expression(cursor)
    cursor.expect(",")
    state = parse_expression(cursor)
    cursor.expect(")")
    return commands.Throw(tree.Literal(INT, 50000), message, severity, state)


def _use(cursor: Cursor) -> commands.Use:
    cursor.expect("USE")
    return commands.Use(cursor.identifier())


def _truncate(cursor: Cursor) -> commands.Truncate:
    cursor.expect("TRUNCATE", "TABLE")
    return commands.Truncate(cursor.name())


_RULES: dict[str, Callable[[Cursor], commands.Statement]] = {
    "INSERT": _insert,
    "UPDATE": _update,
    "DELETE": _delete,
    "DECLARE": _declare,
    "SET": _set,
    "EXEC": _execute,
    "EXECUTE": _execute,
    "BEGIN": _begin,
    "COMMIT": _finish,
    "ROLLBACK": _finish,
    "SAVE": _save,
    "IF": _if,
    "WHILE": _while,
    "BREAK": _jump,
    "CONTINUE": _jump,
    "RETURN": _jump,
    "PRINT": _print,
    "THROW": _throw,
    "RAISERROR": _raiserror,
    "USE": _use,
    "TRUNCATE": _truncate,
    "CREATE": parse_create,
    "ALTER": parse_alter,
    "DROP": parse_drop,
    "GRANT": parse_grant,
    "DENY": parse_grant,
    "REVOKE": parse_grant,
}
