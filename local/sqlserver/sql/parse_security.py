"""The grammar of logins, users, roles and permissions.

https://learn.microsoft.com/sql/t-sql/statements/grant-transact-sql
"""

from local.sqlserver.sql import commands, tree
from local.sqlserver.sql.cursor import Cursor

_PERMISSIONS = frozenset({"SELECT", "INSERT", "UPDATE", "DELETE", "EXECUTE", "CONTROL", "REFERENCES", "ALTER"})


def parse_principal(cursor: Cursor, what: str) -> commands.Principal:
    """Take the rest of CREATE LOGIN, USER or ROLE."""
    name = cursor.identifier()
    if what == "LOGIN":
        cursor.expect("WITH", "PASSWORD", "=")
        password = cursor.string()
        while cursor.accept(","):
            cursor.identifier()
            cursor.expect("=")
            cursor.advance()
        return commands.Principal(what, name, password)
    if what == "ROLE":
        return commands.Principal(what, name)
    if cursor.accept("WITHOUT", "LOGIN"):
        return commands.Principal(what, name, "")
    login = cursor.identifier() if cursor.accept("FOR", "LOGIN") or cursor.accept("FROM", "LOGIN") else name
    return commands.Principal(what, name, login)


def parse_membership(cursor: Cursor) -> commands.Membership:
    """Take the rest of ALTER ROLE."""
    role = cursor.identifier()
    if cursor.accept("ADD"):
        add = True
    else:
        cursor.expect("DROP")
        add = False
    cursor.expect("MEMBER")
    return commands.Membership(role, cursor.identifier(), add)


def parse_grant(cursor: Cursor) -> commands.Grant:
    """Take GRANT, DENY or REVOKE."""
    action = cursor.advance().word
    permissions = [_permission(cursor)]
    while cursor.accept(","):
        permissions.append(_permission(cursor))
    kind, target = "DATABASE", None
    if cursor.accept("ON"):
        kind, target = _securable(cursor)
    if not cursor.accept("TO"):
        if action != "REVOKE":
            raise cursor.fail()
        cursor.expect("FROM")
    principal = "public" if cursor.accept("PUBLIC") else cursor.identifier()
    return commands.Grant(action, tuple(permissions), kind, target, principal)


def _permission(cursor: Cursor) -> str:
    if cursor.accept("VIEW"):
        if cursor.accept("DEFINITION"):
            return "VIEW DEFINITION"
        cursor.expect("DATABASE", "STATE")
        return "VIEW DATABASE STATE"
    word = cursor.accept_any(*_PERMISSIONS)
    if word is None:
        raise cursor.fail()
    return word


def _securable(cursor: Cursor) -> tuple[str, tree.Name | None]:
    if cursor.accept("SCHEMA", "::"):
        return "SCHEMA", tree.Name((cursor.identifier(),))
    if cursor.accept("DATABASE", "::"):
        cursor.identifier()
        return "DATABASE", None
    cursor.accept("OBJECT", "::")
    return "OBJECT", cursor.name()
