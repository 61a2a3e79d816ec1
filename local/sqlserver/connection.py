"""One client's connection: login, then requests until it goes."""

import logging
import time
from collections.abc import Callable
from functools import partial

from local.sqlserver.calls import Calls
from local.sqlserver.engine.database import Database
from local.sqlserver.engine.logins import failed_login
from local.sqlserver.engine.security import Login
from local.sqlserver.errors import AttentionError, DisconnectError, SqlError
from local.sqlserver.faults import Faults
from local.sqlserver.session import Session, Shared, Variables
from local.sqlserver.tds import packets, tokens
from local.sqlserver.tds.answer import WireAnswer
from local.sqlserver.tds.login import PRELOGIN_ANSWER, read_login
from local.sqlserver.tds.login import Login as LoginRequest
from local.sqlserver.tds.requests import (
    BEGIN,
    COMMIT,
    ROLLBACK,
    TransactionRequest,
    read_batch,
    read_calls,
    read_transaction,
)
from local.sqlserver.tds.values import COLLATION

_LOG = logging.getLogger(__name__)
_TRANSACTIONS = {BEGIN: "BEGIN TRANSACTION", COMMIT: "COMMIT TRANSACTION", ROLLBACK: "ROLLBACK TRANSACTION"}
_DRIVER_TEXTS = ("EXEC sp_executesql N'set implicit_transactions off select USER_NAME()", "set ansi_nulls off")


class Connection:
    """Serves one socket in a thread of its own."""

    def __init__(self, wire: packets.Wire, number: int, shared: Shared, faults: Faults) -> None:
        self._wire = wire
        self._number = number
        self._shared = shared
        self._faults = faults
        self._transaction = 0
        self._session: Session | None = None
        self.busy = False

    def serve(self) -> None:
        """Serve until the client or the server goes away."""
        try:
            if self._log_in():
                while True:
                    request = self._wire.receive()
                    self.busy = True
                    self._answer(request)
        except DisconnectError:
            return
        finally:
            if self._session is not None:
                self._session.close()
            self._wire.close()

    def kill(self) -> None:
        """Cut the connection; callable from any thread."""
        self._wire.kill(busy=self.busy)

    def _log_in(self) -> bool:
        request = self._wire.receive()
        if request.kind == packets.PRELOGIN:
            self._wire.write(PRELOGIN_ANSWER)
            self._wire.end()
            request = self._wire.receive()
        if request.kind != packets.LOGIN:
            return False
        wanted = read_login(request.body)
        try:
            login, database = self._admit(wanted)
        except SqlError as why:
            self._wire.write(tokens.error(why))
            if why.number != 18456:
                self._wire.write(tokens.error(failed_login(wanted.user)))
            self._wire.write(tokens.done(tokens.DONE, tokens.FAILED))
            self._wire.end()
            return False
        self._session = Session(self._shared, login, database, self._number, self._check)
        self._calls = Calls(self._session)
        self._welcome(wanted, database.name)
        return True

    def _admit(self, wanted: LoginRequest) -> tuple[Login, Database]:
        login = self._shared.logins.admit(wanted.user, wanted.password)
        databases = self._shared.databases
        database = databases.find(wanted.database) if wanted.database else databases.default
        if database is None or not self._shared.logins.may_enter(login, database):
            name = wanted.database or databases.default.name
            text = f'Cannot open database "{name}" requested by the login. The login failed.'
            raise SqlError(4060, text, 11)
        return login, database

    def _welcome(self, wanted: LoginRequest, database: str) -> None:
        write = self._wire.write
        write(tokens.changed(1, database, "master"))
        write(tokens.info(5701, f"Changed database context to '{database}'.", 2))
        write(tokens.changed_bytes(7, COLLATION))
        write(tokens.changed(2, "us_english"))
        write(tokens.info(5703, "Changed language setting to us_english."))
        write(tokens.acknowledged())
        write(tokens.changed(4, str(wanted.packet_size), str(packets.DEFAULT_SIZE)))
        if wanted.wants_recovery and self._faults.recovery:
            write(tokens.RECOVERY_ACKNOWLEDGED)
        write(tokens.done(tokens.DONE, 0))
        self._wire.end()
        self._wire.resize(wanted.packet_size)

    def _check(self) -> None:
        """Raise when the running request has to stop."""
        interruption = self._wire.interruption()
        if interruption is not None:
            raise interruption
        if self._faults.stopping:
            raise DisconnectError

    def _between(self, rows: int) -> None:
        self._check()
        if self._faults.cuts(rows):
            self._wire.flush()
            self._wire.kill(busy=True)
            raise DisconnectError

    def _answer(self, request: packets.Request) -> None:
        if request.kind == packets.ATTENTION:
            self._stopped()
            return
        if request.reset:
            self._reset()
        rules: dict[int, Callable[[bytes], None]] = {
            packets.BATCH: self._batch,
            packets.RPC: self._rpc,
            packets.TRANSACTION: self._manage,
        }
        rule = rules.get(request.kind)
        if rule is None:
            raise DisconnectError
        try:
            rule(request.body)
        except AttentionError:
            self._wire.receive()  # what has been answered so far ends at a whole token
            self._stopped()
            return
        self.busy = False
        self._wire.end()

    def _stopped(self) -> None:
        self.busy = False
        self._wire.write(tokens.done(tokens.DONE, tokens.STOPPED))
        self._wire.end()

    def _reset(self) -> None:
        assert self._session is not None
        self._session.reset()
        self._wire.write(tokens.changed_bytes(18, b""))

    def _guarded(self, text: str | None, answer: WireAnswer, run: Callable[[], None]) -> None:
        """Run something, with the faults before and after it; every failure becomes an error the client sees."""
        try:
            if text is not None:
                self._faults.before(text, self._check)
                self._wire.hold = self._faults.holds(text)
            run()
            if text is not None:
                self._faults.after(text, self._check)
        except SqlError as why:
            answer.fail(why)
        except (AttentionError, DisconnectError):
            raise
        except Exception as why:  # noqa: BLE001 - a closed socket would look like a network fault to the client
            _LOG.exception("statement failed: %s", text)
            answer.fail(SqlError(50000, f"The stand-in failed: {type(why).__name__}: {why}"))
        finally:
            self._wire.hold = False

    def _batch(self, body: bytes) -> None:
        session = self._session
        assert session is not None
        sql = read_batch(body)
        answer = WireAnswer(self._wire, procedure=False, between=self._between)
        text = None if sql.strip().startswith(_DRIVER_TEXTS) else sql
        self._guarded(text, answer, lambda: session.batch(sql, Variables(), answer))
        answer.finish()

    def _rpc(self, body: bytes) -> None:
        calls = list(read_calls(body))
        for number, call in enumerate(calls):
            answer = WireAnswer(self._wire, procedure=True, between=self._between)
            self._guarded(self._calls.text(call), answer, partial(self._calls.run, call, answer))
            answer.finish(more=number < len(calls) - 1)

    def _manage(self, body: bytes) -> None:
        request = read_transaction(body)
        answer = WireAnswer(self._wire, procedure=False, between=self._between)
        self._guarded(_TRANSACTIONS.get(request.action), answer, lambda: self._transact(request))
        answer.finish()

    def _transact(self, request: TransactionRequest) -> None:
        session = self._session
        assert session is not None
        if request.action == BEGIN:
            session.begin()
            self._announce_begin()
            return
        old = self._transaction.to_bytes(8, "little")
        if request.action == COMMIT:
            session.commit()
            self._wire.write(tokens.changed_bytes(9, b"", old))
        elif request.action == ROLLBACK:
            session.roll_back()
            self._wire.write(tokens.changed_bytes(10, b"", old))
        else:
            raise SqlError(50000, f"transaction request {request.action} is not known to this server")
        if request.again:
            session.begin()
            self._announce_begin()

    def _announce_begin(self) -> None:
        self._transaction = time.monotonic_ns()
        self._wire.write(tokens.changed_bytes(8, self._transaction.to_bytes(8, "little")))
