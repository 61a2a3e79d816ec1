"""Logins, users, and what they may do.

Three kinds of login: an owner; one from the control port, which may do all but touch its denied schemas; one made by
CREATE LOGIN, which may do what it is granted.
"""

# ruff: noqa: S608 - statements are made of numbers, quoted names and texts of this package

from dataclasses import dataclass

from local.sqlserver.engine.catalog import Catalog
from local.sqlserver.engine.work import Work
from local.sqlserver.errors import SqlError
from local.sqlserver.sql import commands

_OWNER_ROLES = frozenset({"db_owner", "sysadmin"})
_FIXED_ROLES = {"db_datareader": "SELECT", "db_datawriter": "INSERT UPDATE DELETE"}


@dataclass(slots=True)
class Login:
    """Who may connect. `databases` are those it may enter, None for every one (or for where it has a user)."""

    name: str
    password: str
    owner: bool = False
    limited: bool = False
    denied: frozenset[str] = frozenset()
    databases: frozenset[str] | None = None
    roles: frozenset[str] = frozenset()

    def may_enter(self, catalog: Catalog, database: str) -> bool:
        """Whether the login can use a database."""
        if self.limited:
            return bool(catalog.rows("SELECT 1 FROM m_user WHERE login = ?", self.name))
        return self.databases is None or database.casefold() in self.databases

    def allows(self, catalog: Catalog, permission: str, schema: str, name: str | None = None) -> bool:
        """Whether the login has a permission on an object, or on a whole schema."""
        if self.owner:
            return True
        if schema.casefold() in self.denied:
            return False
        return not self.limited or _granted(catalog, self.name, permission, schema, name)

    def sees(self, catalog: Catalog, schema: str, name: str) -> bool:
        """Whether the catalog views show an object to the login."""
        wanted = ("VIEW DEFINITION", "SELECT", "INSERT", "UPDATE", "DELETE", "CONTROL")
        return any(self.allows(catalog, permission, schema, name) for permission in wanted)

    def is_member(self, catalog: Catalog, role: str) -> bool:
        """Whether the login plays a role, such as the gating role of a capture instance."""
        if self.owner or role.casefold() in self.roles:
            return True
        return self.limited and role.casefold() in _roles(catalog, self.name)


def _user(catalog: Catalog, login: str) -> str:
    found = catalog.rows("SELECT name FROM m_user WHERE login = ?", login)
    return str(found[0][0]) if found else ""


def _roles(catalog: Catalog, login: str) -> set[str]:
    user = _user(catalog, login)
    return {role.casefold() for (role,) in catalog.rows("SELECT role FROM m_member WHERE member = ?", user)}


def _granted(catalog: Catalog, login: str, permission: str, schema: str, name: str | None) -> bool:
    roles = _roles(catalog, login)
    if roles & _OWNER_ROLES or any(permission in _FIXED_ROLES.get(role, "").split() for role in roles):
        return True
    principals = {_user(catalog, login).casefold(), "public", *roles}
    decided = False
    for action, granted, kind, target, principal in catalog.rows("SELECT * FROM m_grant"):
        if principal.casefold() not in principals or granted not in {permission, "CONTROL"}:
            continue
        places = {"DATABASE": "", "SCHEMA": schema, "OBJECT": f"{schema}.{name}"}
        if places[kind].casefold() == target.casefold():
            if action == "DENY":
                return False
            decided = True
    return decided


def grant(work: Work, node: commands.Grant) -> None:
    """GRANT, DENY or REVOKE."""
    catalog = work.catalog
    known = catalog.rows(
        "SELECT 1 FROM m_user WHERE name = ?1 UNION SELECT 1 FROM m_role WHERE name = ?1", node.principal
    )
    if not known and node.principal.lower() != "public":
        text = f"Cannot find the user '{node.principal}', because it does not exist or you do not have permission."
        raise SqlError(15151, text)
    target = _target(catalog, node)
    for permission in node.permissions:
        key = (permission, node.kind, target, node.principal)
        sql = (
            "DELETE FROM m_grant WHERE permission = ? AND kind = ? AND "
            "target = ? COLLATE CI AND principal = ? COLLATE CI"
        )
        catalog.rows(sql, *key)
        if node.action != "REVOKE":
            catalog.rows("INSERT INTO m_grant VALUES (?, ?, ?, ?, ?)", node.action, *key)
    catalog.touch()


def _target(catalog: Catalog, node: commands.Grant) -> str:
    if node.target is None:
        return ""
    name = node.target.parts[-1]
    if node.kind == "SCHEMA":
        if catalog.schema_id(name) is None:
            text = f"Cannot find the schema '{name}', because it does not exist or you do not have permission."
            raise SqlError(15151, text)
        return name
    schema = node.target.parts[-2] if len(node.target.parts) > 1 else "dbo"
    if catalog.object_id(schema, name) is None:
        raise SqlError(
            15151, f"Cannot find the object '{name}', because it does not exist or you do not have permission."
        )
    return f"{schema}.{name}"


def create_principal(work: Work, node: commands.Principal) -> None:
    """CREATE USER or CREATE ROLE."""
    catalog = work.catalog
    taken = catalog.rows("SELECT 1 FROM m_user WHERE name = ?1 UNION SELECT 1 FROM m_role WHERE name = ?1", node.name)
    if taken:
        raise SqlError(15023, f"User, group, or role '{node.name}' already exists in the current database.")
    if node.what == "ROLE":
        catalog.rows("INSERT INTO m_role VALUES (?)", node.name)
    else:
        catalog.rows("INSERT INTO m_user VALUES (?, ?)", node.name, node.detail or node.name)
    catalog.touch()


def drop_principals(work: Work, node: commands.Drop) -> None:
    """DROP USER or DROP ROLE."""
    table = "m_user" if node.what == "USER" else "m_role"
    for name in node.names:
        work.catalog.rows(f"DELETE FROM {table} WHERE name = ?", name.parts[-1])
        work.catalog.rows("DELETE FROM m_grant WHERE principal = ? COLLATE CI", name.parts[-1])
    work.catalog.touch()


def change_role(work: Work, node: commands.Membership) -> None:
    """ALTER ROLE … ADD MEMBER or DROP MEMBER."""
    work.catalog.rows("DELETE FROM m_member WHERE role = ? AND member = ?", node.role, node.member)
    if node.add:
        work.catalog.rows("INSERT INTO m_member VALUES (?, ?)", node.role, node.member)
    work.catalog.touch()


def not_entered(login: str, database: str) -> SqlError:
    """Return error 916."""
    text = (
        f'The server principal "{login}" is not able to access the '
        f'database "{database}" under the current security context.'
    )
    return SqlError(916, text, 14, 2)
