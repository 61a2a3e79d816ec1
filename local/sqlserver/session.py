"""A session: runs batches statement by statement, holds variables and options, and answers with results."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import apsw

from local.sqlserver import temporal
from local.sqlserver.convert import conversion
from local.sqlserver.engine.bound import Context, Functions
from local.sqlserver.engine.database import Database
from local.sqlserver.engine.databases import Databases
from local.sqlserver.engine.logins import Logins
from local.sqlserver.engine.names import SessionNames
from local.sqlserver.engine.security import Login, not_entered
from local.sqlserver.engine.work import Work
from local.sqlserver.errors import AttentionError, SqlError, syntax, unknown_object
from local.sqlserver.rules import RULES, LeaveError
from local.sqlserver.sql import commands, tree
from local.sqlserver.sql.parse_statements import parse_batch
from local.sqlserver.sql.plans import Plan, expression_query, plan_statement
from local.sqlserver.sqltypes import SqlType
from local.sqlserver.tds.answer import WireAnswer
from local.sqlserver.tds.pages import Pages

_GOES_ON = frozenset({515, 547, 2601, 2627, 2628, 8152, 3621})
_PLANS = 4000


@dataclass(frozen=True, slots=True)
class Shared:
    """What all sessions of a server share."""

    databases: Databases
    logins: Logins
    pages: Pages


@dataclass(slots=True)
class Variables:
    """The variables of a batch."""

    kinds: dict[str, SqlType | None] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)

    def declare(self, name: str, kind: SqlType, value: Any) -> None:
        """Add a variable."""
        self.kinds[name.lower()] = kind
        self.values[name.lower()] = value


class Session:
    """One connection's session."""

    def __init__(
        self, shared: Shared, login: Login, database: Database, spid: int, interrupted: Callable[[], None]
    ) -> None:
        self.shared = shared
        self.login = login
        self.no_count = False
        self.abort_on_error = False
        self.implicit = False
        self._interrupted = interrupted
        self._works: dict[int, Work] = {}
        self.context = Context(login, spid, self._listed, self._can_enter)
        self.work = self._enter(database)
        self.context.depth = lambda: self.work.depth
        self.names = SessionNames(lambda: self.work, login)

    def _enter(self, database: Database) -> Work:
        found = self._works.get(database.number)
        if found is None:
            found = Work(database, database.connect(), self._interrupted)
            found.connection.set_progress_handler(self._progress, 200_000)
            Functions(found, self.context)
            self._works[database.number] = found
        return found

    def _can_enter(self, name: str) -> bool:
        database = self.shared.databases.find(name)
        return database is not None and self.shared.logins.may_enter(self.login, database)

    def _listed(self) -> list[tuple[str, int, bool]]:
        return [(database.name, database.number, database.cdc) for database in self.shared.databases.all()]

    def _progress(self) -> bool:
        try:
            self._interrupted()
        except AttentionError:
            return True
        return False

    def use(self, name: str) -> None:
        """Change the database; SqlError 911 or 916."""
        database = self.shared.databases.find(name)
        if database is None:
            text = f"Database '{name}' does not exist. Make sure that the name is entered correctly."
            raise SqlError(911, text)
        if not self.shared.logins.may_enter(self.login, database):
            raise not_entered(self.login.name, name)
        if self.work.writing or self.work.depth:
            raise syntax(near="USE")  # a transaction over two databases is beyond this server
        self.work = self._enter(database)

    def check(self) -> None:
        """Raise when the client, or the server's end, wants the running request to stop."""
        self._interrupted()

    def begin(self) -> None:
        """BEGIN TRANSACTION."""
        self.work.depth += 1

    def commit(self) -> None:
        """COMMIT; error 3902 without a transaction."""
        if not self.work.depth:
            raise SqlError(3902, "The COMMIT TRANSACTION request has no corresponding BEGIN TRANSACTION.")
        if self.work.depth > 1:
            self.work.depth -= 1
        else:
            self.work.commit()

    def roll_back(self, name: str | None = None) -> None:
        """ROLLBACK, whole or to a savepoint; error 3903 without a transaction, 3908 without the savepoint."""
        if not self.work.depth:
            raise SqlError(3903, "The ROLLBACK TRANSACTION request has no corresponding BEGIN TRANSACTION.")
        if name is None:
            self.work.rollback()
            return
        try:
            self.work.rollback_to(name)
        except apsw.SQLError as why:
            raise SqlError(
                6401, f"Cannot roll back {name}. No transaction or savepoint of that name was found."
            ) from why

    def reset(self) -> None:
        """Forget options and undo what is open, as a pooled connection is handed on."""
        self.work.rollback()
        self.no_count = self.abort_on_error = self.implicit = False
        self.names.identity_table = None

    def close(self) -> None:
        """Undo what is open."""
        for work in self._works.values():
            work.close()

    def batch(self, sql: str, variables: Variables, answer: WireAnswer) -> None:
        """Run a batch; SqlError for the first error that ends it."""
        statements = parse_batch(sql)
        try:
            self.run(statements, variables, answer)
        except LeaveError:
            return

    def run(self, statements: Sequence[commands.Statement], variables: Variables, answer: WireAnswer) -> None:
        """Run statements in order; a broken constraint ends its statement alone."""
        for statement in statements:
            try:
                self.statement(statement, variables, answer)
                self.context.error = 0
            except SqlError as why:
                self.context.error = why.number
                if self.abort_on_error:
                    self.work.rollback()
                if why.number not in _GOES_ON or self.abort_on_error:
                    raise
                answer.fail(why)

    def statement(self, node: commands.Statement, variables: Variables, answer: WireAnswer) -> None:
        """Run one statement."""
        self.context.clock = temporal.now()
        rule = RULES.get(type(node))
        if rule is None:
            raise syntax(type(node).__name__)
        try:
            rule(self, node, variables, answer)
        except apsw.InterruptError as why:
            self._interrupted()
            raise AttentionError from why
        except apsw.SQLError as why:
            if "no such table" not in str(why):
                raise
            raise unknown_object(str(why)) from why  # dropped by another session a moment ago
        except apsw.BusyError as why:
            raise SqlError(
                1205,
                "Transaction was deadlocked on lock resources and has been "
                "chosen as the deadlock victim. Rerun the transaction.",
                13,
                45,
            ) from why

    def plan(
        self,
        node: tree.Query | commands.Insert | commands.Update | commands.Delete,
        kinds: Mapping[str, SqlType | None],
    ) -> Plan:
        """Translate a statement, or take the plan made for it before."""
        database, login = self.work.database, self.login
        version = self.work.catalog.state("version")
        key = (id(node), version, login.name, login.denied, self.names.identity_table, *kinds.items())
        found = database.plans.get(key)
        if found is not None:
            known: Plan = found[1]
            return known
        plan = plan_statement(node, self.names, kinds)
        if len(database.plans) >= _PLANS:
            database.plans.clear()
        database.plans[key] = (node, plan)  # the node is kept so that its id stays its own
        return plan

    def bindings(self, plan: Plan, variables: Variables) -> dict[str, Any]:
        """Return the values of a plan's parameters."""
        return {f"v{n}": variables.values[name] for n, name in enumerate(plan.uses)}

    def evaluate(
        self, node: tree.Expression, kind: SqlType | None, variables: Variables, *, condition: bool = False
    ) -> tuple[Any, SqlType]:
        """Return the value of an expression, converted to a type if one is given."""
        plan = plan_statement(expression_query(node, condition=condition), self.names, variables.kinds)
        assert plan.columns is not None
        rows = list(self.work.connection.execute(plan.statements[0], self.bindings(plan, variables)))
        value, own = rows[0][0], plan.columns[0].kind
        if kind is None or value is None:
            return value, kind or own
        step = conversion(own, kind, cast=True)
        return (value if step is None else step(value)), kind
