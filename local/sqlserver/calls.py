"""Remote procedure calls: prepared statements, and system procedures called by name."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from local.sqlserver import driver_catalog
from local.sqlserver.convert import conversion
from local.sqlserver.engine import procedures
from local.sqlserver.errors import SqlError, unknown_procedure
from local.sqlserver.session import Session, Variables
from local.sqlserver.sql.parse_statements import parse_declarations
from local.sqlserver.sqltypes import INT, MAX, SqlType
from local.sqlserver.tds.answer import WireAnswer
from local.sqlserver.tds.requests import Call, Parameter

_HANDLE_MISSING = "Could not find prepared statement with handle {}."


@dataclass(frozen=True, slots=True)
class Prepared:
    """A prepared statement: its text and the types of its parameters."""

    sql: str
    declared: tuple[tuple[str, SqlType, bool], ...]


class Calls:
    """Runs the calls of one connection and keeps its prepared statements."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._prepared: dict[int, Prepared] = {}
        self._next = 1

    def text(self, call: Call) -> str | None:
        """Return the statement a call runs, or None for one that only the driver makes for itself."""
        name = call.name.lower().replace("[", "").replace("]", "")
        if name == "sp_executesql":
            return str(call.parameters[0].value)
        if name == "sp_prepexec":
            return str(call.parameters[2].value)
        if name == "sp_execute":
            prepared = self._prepared.get(call.parameters[0].value)
            return prepared.sql if prepared else ""
        if name == "sp_prepexecrpc":
            return str(call.parameters[1].value)
        label = name.split(".")[-1]
        return None if label in _DRIVER or driver_catalog.knows(label) else call.name

    def run(self, call: Call, answer: WireAnswer) -> None:
        """Run one call."""
        name = call.name.lower().replace("[", "").replace("]", "").split(".")[-1]
        rule = _RULES.get(name)
        if rule is not None:
            rule(self, call.parameters, answer)
        elif driver_catalog.knows(name):
            driver_catalog.run(self._session, name, call.parameters, answer)
        else:
            self._by_name(name, call.parameters, answer)

    def _by_name(self, name: str, parameters: Sequence[Parameter], answer: WireAnswer) -> None:
        if not procedures.knows(name):
            raise unknown_procedure(name)
        known = procedures.parameter_names(name)
        values: dict[str, Any] = {}
        for position, parameter in enumerate(parameters):
            if not parameter.name and position >= len(known):
                raise SqlError(8144, f"Procedure or function {name} has too many arguments specified.", state=2)
            label = parameter.name.lower() or known[position]
            if label not in known:
                raise SqlError(8145, f"{parameter.name} is not a parameter for procedure {name}.")
            values[label] = parameter.value
        procedures.call(self._session, name, values, answer)

    def _variables(self, prepared: Prepared, parameters: Sequence[Parameter]) -> Variables:
        variables = Variables()
        by_name = {parameter.name.lower(): parameter for parameter in parameters if parameter.name}
        for position, (name, kind, _) in enumerate(prepared.declared):
            parameter = by_name.get(name.lower())
            if parameter is None and position < len(parameters):
                parameter = parameters[position]
            if parameter is None:
                text = (
                    f"The parameterized query '{prepared.sql[:60]}' expects "
                    f"the parameter '{name}', which was not supplied."
                )
                raise SqlError(8178, text)
            wide = _widened(kind, parameter.kind)
            variables.declare(name, wide, _held(parameter, wide))
        return variables

    def _run(self, prepared: Prepared, parameters: Sequence[Parameter], answer: WireAnswer) -> None:
        self._session.batch(prepared.sql, self._variables(prepared, parameters), answer)

    def _keep(self, sql: str, declarations: str | None) -> tuple[int, Prepared]:
        prepared = Prepared(sql, parse_declarations(declarations or ""))
        handle, self._next = self._next, self._next + 1
        self._prepared[handle] = prepared
        return handle, prepared

    def execute_sql(self, parameters: Sequence[Parameter], answer: WireAnswer) -> None:
        """sp_executesql."""
        declarations = parameters[1].value if len(parameters) > 1 else ""
        prepared = Prepared(parameters[0].value, parse_declarations(declarations or ""))
        self._run(prepared, parameters[2:], answer)

    def prepare_and_execute(self, parameters: Sequence[Parameter], answer: WireAnswer) -> None:
        """sp_prepexec: an old handle given as input is released."""
        if parameters[0].value is not None:
            self._prepared.pop(parameters[0].value, None)
        handle, prepared = self._keep(parameters[2].value, parameters[1].value)
        try:
            self._run(prepared, parameters[3:], answer)
        except SqlError as why:
            answer.fail(why)
        answer.value(0, parameters[0].name, INT, b"\x04" + handle.to_bytes(4, "little"))

    def prepare(self, parameters: Sequence[Parameter], answer: WireAnswer) -> None:
        """sp_prepare."""
        handle, _ = self._keep(parameters[2].value, parameters[1].value)
        answer.value(0, parameters[0].name, INT, b"\x04" + handle.to_bytes(4, "little"))

    def execute(self, parameters: Sequence[Parameter], answer: WireAnswer) -> None:
        """sp_execute."""
        prepared = self._prepared.get(parameters[0].value)
        if prepared is None:
            raise SqlError(8179, _HANDLE_MISSING.format(parameters[0].value), state=4)
        self._run(prepared, parameters[1:], answer)

    def unprepare(self, parameters: Sequence[Parameter], _answer: WireAnswer) -> None:
        """sp_unprepare."""
        self._prepared.pop(parameters[0].value, None)

    def call_procedure(self, parameters: Sequence[Parameter], answer: WireAnswer) -> None:
        """sp_prepexecrpc: `{call name(?)}` with parameters."""
        name = str(parameters[1].value).lower().replace("[", "").replace("]", "").split(".")[-1]
        self._by_name(name, parameters[2:], answer)
        answer.value(0, parameters[0].name, INT, b"\x04" + (0).to_bytes(4, "little"))


def _widened(kind: SqlType, sent: SqlType) -> SqlType:
    """Return a declared type, as long as what was sent: the driver executes a prepared statement with wider values."""
    if kind.name not in {"varchar", "nvarchar", "varbinary"} or sent.family is not kind.family or kind.length == MAX:
        return kind
    length = sent.length or MAX
    return SqlType(kind.name, MAX if length == MAX else max(kind.length, length))


def _held(parameter: Parameter, kind: SqlType) -> Any:
    if parameter.value is None:
        return None
    step = conversion(parameter.kind, kind)
    return parameter.value if step is None else step(parameter.value)


_DRIVER = frozenset({"sp_prepare", "sp_unprepare"})
_RULES = {
    "sp_executesql": Calls.execute_sql,
    "sp_prepexec": Calls.prepare_and_execute,
    "sp_prepare": Calls.prepare,
    "sp_execute": Calls.execute,
    "sp_unprepare": Calls.unprepare,
    "sp_prepexecrpc": Calls.call_procedure,
}
