"""What each kind of statement does when a session runs it."""

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import apsw

from local.sqlserver.convert import conversion, plain
from local.sqlserver.engine import definitions, procedures, security, tables
from local.sqlserver.engine.work import Work
from local.sqlserver.errors import SqlError, syntax
from local.sqlserver.sql import commands, tree
from local.sqlserver.sql.plans import Plan
from local.sqlserver.sqltypes import INT, nvarchar
from local.sqlserver.tds.answer import WireAnswer
from local.sqlserver.tds.pages import Page
from local.sqlserver.tds.rows import encode_rows
from local.sqlserver.tds.tokens import DELETE, EXECUTE, INSERT, SELECT, UPDATE, columns

if TYPE_CHECKING:
    from local.sqlserver.session import Session, Variables

_VERBS = {INSERT: "INSERT", UPDATE: "UPDATE", DELETE: "DELETE"}
type Rule = Callable[["Session", Any, "Variables", WireAnswer], None]


class LeaveError(Exception):
    """BREAK, CONTINUE or RETURN on its way out."""

    def __init__(self, word: str) -> None:
        super().__init__(word)
        self.word = word


def _query(session: "Session", node: tree.Query, variables: "Variables", answer: WireAnswer) -> None:
    plan = session.plan(node, variables.kinds)
    bindings = session.bindings(plan, variables)
    if plan.assigns:
        _assign_rows(session, plan, variables, bindings)
        answer.done(SELECT, None)
        return
    assert plan.columns is not None
    if session.shared.pages.keeps(plan.statements[0]) and not session.work.writing:
        count = _page(session, plan, bindings, answer)
    else:
        count = answer.rows(plan.columns, _results(session, plan, bindings))
    session.context.row_count = count
    answer.done(SELECT, count)


def _page(session: "Session", plan: Plan, bindings: dict[str, Any], answer: WireAnswer) -> int:
    assert plan.columns is not None
    key = (id(plan), session.work.database.commits, *bindings.values())
    page = session.shared.pages.get(key)
    if page is None:
        rows = list(_results(session, plan, bindings))
        data = columns(plan.columns) + encode_rows(tuple(column.kind for column in plan.columns), rows)
        page = Page(data, len(rows), plan)
        session.shared.pages.put(key, page)
    answer.page(page)
    return page.rows


def _results(session: "Session", plan: Plan, bindings: dict[str, Any]) -> Iterable[Sequence[Any]]:
    execute = session.work.connection.execute
    if len(plan.statements) == 1:
        return execute(plan.statements[0], bindings)
    return _joined(session, plan, bindings)


def _joined(session: "Session", plan: Plan, bindings: dict[str, Any]) -> list[Sequence[Any]]:
    """Run the branches of a UNION ALL one by one, all over one state of the database."""
    connection = session.work.connection
    own = not connection.in_transaction
    if own:
        connection.execute("BEGIN")
    try:
        found: list[Sequence[Any]] = []
        for statement in plan.statements:
            found += connection.execute(statement, bindings)
        return found
    finally:
        if own:
            connection.execute("COMMIT")


def _assign_rows(session: "Session", plan: Plan, variables: "Variables", bindings: dict[str, Any]) -> None:
    assert plan.columns is not None
    count = 0
    last: Sequence[Any] | None = None
    for row in _results(session, plan, bindings):
        last = row
        count += 1
    session.context.row_count = count
    if last is None:
        return
    for name, value, column in zip(plan.assigns, last, plan.columns, strict=True):
        kind = variables.kinds[name.lower()]
        assert kind is not None
        step = None if value is None else conversion(column.kind, kind, cast=True)
        variables.values[name.lower()] = value if step is None else step(value)


def _change(
    session: "Session",
    node: commands.Insert | commands.Update | commands.Delete,
    variables: "Variables",
    answer: WireAnswer,
) -> None:
    work = session.work
    _begin_implicitly(session)
    plan = session.plan(node, variables.kinds)
    bindings = session.bindings(plan, variables)
    try:
        changed, output = _apply(work, plan, bindings)
    except apsw.ConstraintError as why:
        raise tables.broken_constraint(work.catalog, work.database.name, why, _VERBS[plan.command]) from why
    session.context.row_count = changed
    if plan.columns is not None:
        answer.rows(plan.columns, output)
    answer.done(plan.command, None if session.no_count else changed)


def _apply(work: Work, plan: Plan, bindings: dict[str, Any]) -> tuple[int, list[Sequence[Any]]]:
    [statement] = plan.statements
    try:
        with work.statement():
            output = list(work.connection.execute(statement, bindings))
            return work.connection.changes(), output
    except apsw.ConstraintError:
        if plan.deferred is None:
            raise
    with work.statement():
        rows = list(work.connection.execute(plan.deferred.select, bindings))
        work.connection.executemany(plan.deferred.delete, [row[:1] for row in rows])
        work.connection.executemany(plan.deferred.insert, rows)
        return len(rows), []


def _begin_implicitly(session: "Session") -> None:
    if session.implicit and not session.work.depth:
        session.work.depth = 1


def _definition(run: Callable[[Work, Any], None]) -> Rule:
    def ruled(session: "Session", node: Any, _variables: "Variables", answer: WireAnswer) -> None:
        _begin_implicitly(session)
        with session.work.statement():
            run(session.work, node)
        answer.done(EXECUTE, None)

    return ruled


def _drop(session: "Session", node: commands.Drop, variables: "Variables", answer: WireAnswer) -> None:
    if node.what == "DATABASE":
        raise syntax(near="DATABASE")
    if node.what == "LOGIN":
        for name in node.names:
            session.shared.logins.drop(name.parts[-1])
        answer.done(EXECUTE, None)
        return
    rules: dict[str, Callable[[Work, Any], None]] = {
        "TABLE": definitions.drop_tables,
        "INDEX": definitions.drop_index,
        "USER": security.drop_principals,
        "ROLE": security.drop_principals,
        "SCHEMA": definitions.drop_schemas,
    }
    _definition(rules[node.what])(session, node, variables, answer)


def _create(session: "Session", node: commands.Create, variables: "Variables", answer: WireAnswer) -> None:
    if node.what == "DATABASE":
        session.shared.databases.create(node.name)
        answer.done(EXECUTE, None)
        return
    _definition(lambda work, create: work.catalog.add_schema(create.name))(session, node, variables, answer)


def _principal(session: "Session", node: commands.Principal, variables: "Variables", answer: WireAnswer) -> None:
    if node.what != "LOGIN":
        _definition(security.create_principal)(session, node, variables, answer)
        return
    session.shared.logins.create(node.name, node.detail)
    answer.done(EXECUTE, None)


def _declare(session: "Session", node: commands.Declare, variables: "Variables", answer: WireAnswer) -> None:
    for each in node.variables:
        value = None if each.value is None else session.evaluate(each.value, each.kind, variables)[0]
        variables.declare(each.name, each.kind, value)
    answer.done(EXECUTE, None)


def _assign(session: "Session", node: commands.Assign, variables: "Variables", answer: WireAnswer) -> None:
    if node.name.lower() not in variables.kinds:
        raise SqlError(137, f'Must declare the scalar variable "{node.name}".', 15, 2)
    kind = variables.kinds[node.name.lower()]
    variables.values[node.name.lower()] = session.evaluate(node.value, kind, variables)[0]
    answer.done(EXECUTE, None)


def _option(session: "Session", node: commands.Option, _variables: "Variables", answer: WireAnswer) -> None:
    *options, value = node.words
    if node.table is not None:
        table = session.names.target(node.table, "ALTER")
        session.names.identity_table = table.number if value == "ON" else None
        options = []
    for option in options:
        _switch(session, option, value)
    answer.done(EXECUTE, None)


def _switch(session: "Session", option: str, value: str) -> None:
    if option == "NOCOUNT":
        session.no_count = value == "ON"
    elif option == "XACT_ABORT":
        session.abort_on_error = value == "ON"
    elif option == "IMPLICIT_TRANSACTIONS":
        session.implicit = value == "ON"
    elif option == "LOCK_TIMEOUT":
        session.work.lock_timeout_s = None if int(value) < 0 else int(value) / 1000
    elif option == "ROWCOUNT" and value != "0":
        raise syntax(near="ROWCOUNT")


def _transaction(session: "Session", node: commands.Transaction, _variables: "Variables", answer: WireAnswer) -> None:
    rules: dict[str, Callable[[], None]] = {
        "BEGIN": session.begin,
        "COMMIT": session.commit,
        "ROLLBACK": lambda: session.roll_back(node.name),
        "SAVE": lambda: session.work.save(str(node.name)),
    }
    rules[node.action]()
    answer.done(EXECUTE, None)


def _use(session: "Session", node: commands.Use, _variables: "Variables", answer: WireAnswer) -> None:
    session.use(node.name)
    answer.entered(session.work.database.name)
    answer.done(EXECUTE, None)


def _holds(session: "Session", condition: tree.Expression, variables: "Variables") -> bool:
    return bool(session.evaluate(condition, INT, variables, condition=True)[0])


def _if(session: "Session", node: commands.If, variables: "Variables", answer: WireAnswer) -> None:
    if _holds(session, node.condition, variables):
        session.statement(node.then, variables, answer)
    elif node.otherwise is not None:
        session.statement(node.otherwise, variables, answer)


def _while(session: "Session", node: commands.While, variables: "Variables", answer: WireAnswer) -> None:
    while _holds(session, node.condition, variables):
        session.check()
        try:
            session.statement(node.body, variables, answer)
        except LeaveError as why:
            if why.word == "BREAK":
                return
            if why.word == "RETURN":
                raise


def _block(session: "Session", node: commands.Block, variables: "Variables", answer: WireAnswer) -> None:
    session.run(node.statements, variables, answer)


def _jump(_session: "Session", node: commands.Jump, _variables: "Variables", _answer: WireAnswer) -> None:
    raise LeaveError(node.word)


def _print(session: "Session", node: commands.Print, variables: "Variables", answer: WireAnswer) -> None:
    value, kind = session.evaluate(node.value, None, variables)
    answer.info(0, "" if value is None else plain(kind, value))
    answer.done(EXECUTE, None)


def _throw(session: "Session", node: commands.Throw, variables: "Variables", answer: WireAnswer) -> None:
    number = session.evaluate(node.number, INT, variables)[0]
    message = session.evaluate(node.message, nvarchar(2048), variables)[0]
    severity = 16 if node.severity is None else session.evaluate(node.severity, INT, variables)[0]
    state = session.evaluate(node.state, INT, variables)[0]
    if severity > 10:
        raise SqlError(number, message, severity, state)
    answer.info(number, message)
    answer.done(EXECUTE, None)


def _procedure(session: "Session", node: commands.Procedure, variables: "Variables", answer: WireAnswer) -> None:
    procedures.execute(session, node, variables, answer)
    answer.done(EXECUTE, None)


RULES: dict[type, Rule] = {
    tree.Query: _query,
    commands.Insert: _change,
    commands.Update: _change,
    commands.Delete: _change,
    commands.CreateTable: _definition(definitions.create_table),
    commands.CreateIndex: _definition(definitions.create_index),
    commands.AlterTable: _definition(definitions.alter_table),
    commands.Truncate: _definition(definitions.truncate),
    commands.Create: _create,
    commands.Drop: _drop,
    commands.Principal: _principal,
    commands.Membership: _definition(security.change_role),
    commands.Grant: _definition(security.grant),
    commands.Declare: _declare,
    commands.Assign: _assign,
    commands.Option: _option,
    commands.Transaction: _transaction,
    commands.Use: _use,
    commands.If: _if,
    commands.While: _while,
    commands.Block: _block,
    commands.Jump: _jump,
    commands.Print: _print,
    commands.Throw: _throw,
    commands.Procedure: _procedure,
}
