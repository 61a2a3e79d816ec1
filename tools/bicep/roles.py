"""Role assignments against the table of `docs/security.md`: exactly those, no other.

The table names what a role is held by and over as the templates do: the identity of `identity.bicep`, and the resource
of `roles.bicep`, its words written apart.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tools.bicep import syntax
from tools.bicep.findings import Finding
from tools.bicep.syntax import Node, Resource
from tools.bicep.tree import Placed, Tree

PAGE = Path("docs/security.md")
CUSTOM = "created by the template"

ROLES = {
    "090c5cfd-751d-490a-894a-3ce6f1109419": "Azure Service Bus Data Owner",
    "4f6d3b9b-027b-4f4c-9142-0e5a2a2247e0": "Azure Service Bus Data Receiver",
    "69a216fc-b8fb-44d8-bc22-1f3c2cd27a39": "Azure Service Bus Data Sender",
    "4633458b-17de-408a-b874-0445c86b69e6": "Key Vault Secrets User",
    "3913510d-42f4-4e42-8a64-420c390055eb": "Monitoring Metrics Publisher",
    "ba92f5b4-2d11-453d-a403-e96b0029c9fe": "Storage Blob Data Contributor",
    "b7e6dc6d-f1e8-4753-8033-0f276bb0955b": "Storage Blob Data Owner",
    "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3": "Storage Table Data Contributor",
}
"""Source: https://learn.microsoft.com/azure/role-based-access-control/built-in-roles."""

ACTIONS = {"Microsoft.ServiceBus/namespaces/*/read"}
"""All that the role created by the template may do."""

_ROW = re.compile(r"^\| `(\w+)` \| ([^|`]+?) \| ([^|]+?) \| ([^|]+?) \|$", re.MULTILINE)
_ID = re.compile(rf"^\| ([^|`]+?) \| (`[0-9a-f-]{{36}}`|{CUSTOM}) \|$", re.MULTILINE)


@dataclass(frozen=True, slots=True, order=True)
class Assignment:
    """Who holds which role over what."""

    identity: str
    role: str
    scope: str

    def __str__(self) -> str:
        return f"{self.identity}: {self.role} on {self.scope}"


def check(tree: Tree, repository: Path) -> Iterator[Finding]:
    """Yield roles that are assigned and not listed, or listed and not assigned, and custom roles that may do more."""
    page = repository / PAGE
    text = page.read_text(encoding="utf-8")
    ids = {row[1]: row[2].strip("`") for row in _ID.finditer(text)}
    listed: dict[Assignment, int] = {}
    for row in _ROW.finditer(text):
        line = text.count("\n", 0, row.start()) + 1
        identity, role, scope, _ = row.groups()
        id_ = ids.get(role, "not said")
        if id_ != CUSTOM and ROLES.get(id_) != role:
            yield Finding(page, line, "role", f"the id of {role} is not {id_}")
        listed[Assignment(identity, CUSTOM if id_ == CUSTOM else role, scope)] = line
    assigned = {}
    for place in tree.resources("Microsoft.Authorization/roleAssignments"):
        assignment = _assignment(tree, place)
        if assignment in assigned:
            yield place.finding("role", f"twice: {assignment}")
        assigned[assignment] = place
    for assignment in sorted(assigned.keys() - listed.keys()):
        yield assigned[assignment].finding("role", f"{assignment} is assigned, and {PAGE} does not list it")
    for assignment in sorted(listed.keys() - assigned.keys()):
        yield Finding(page, listed[assignment], "role", f"{assignment} is listed, and nothing assigns it")
    yield from _details(tree)


def _assignment(tree: Tree, place: Placed[Resource]) -> Assignment:
    body = place.node.body
    return Assignment(
        _identity(tree, place.template, body.get("properties", "principalId")),
        _role(tree, place, body.get("properties", "roleDefinitionId")),
        _words(body.get("scope")),
    )


def _identity(tree: Tree, template: syntax.Template, node: Node | None) -> str:
    """Return whose principal it is, by the resource of its identity."""
    leaves = list(tree.leaves(Placed(template, node))) if node else []
    found = set()
    for leaf in leaves:
        match leaf.node:
            case syntax.Member(of=syntax.Member(of=syntax.Name(name=name), name="properties"), name="principalId"):
                found.add(name)
            case _:
                found.add("…")
    return " or ".join(sorted(found))


def _role(tree: Tree, place: Placed[Resource], node: Node | None) -> str:
    found = set()
    for leaf in tree.leaves(Placed(place.template, node)) if node else ():
        match leaf.node:
            case syntax.Call(function="subscriptionResourceId", arguments=[_, syntax.Text() as guid]):
                found.add(ROLES.get(guid.literal or "", f"role {guid.literal}"))
            case syntax.Member(of=syntax.Name(name=name), name="id") if name in place.template.resources:
                found.add(CUSTOM)
            case syntax.Name(name="scalingRoleId"):
                found.add(CUSTOM)
            case _:
                found.add("…")
    return " or ".join(sorted(found))


def _words(node: Node | None) -> str:
    each = ""
    while isinstance(node, syntax.Index):
        each, node = ("each of the " if not isinstance(node.index, syntax.Literal) else ""), node.of
    name = node.name if isinstance(node, syntax.Name) else "…"
    return each + re.sub(r"(?=[A-Z])", " ", name).lower()


def _details(tree: Tree) -> Iterator[Finding]:
    for place in tree.resources("Microsoft.Authorization/roleAssignments"):
        if tree.possible(_property(place, "principalType")) != {"ServicePrincipal"}:
            yield place.finding("role", "principalType has to be ServicePrincipal: a new identity is not found else")
    for place in tree.resources("Microsoft.Authorization/roleDefinitions"):
        name = place.node.body.get("properties", "roleName")
        calls = [each.function for each in syntax.walk(name) if isinstance(each, syntax.Call)] if name else []
        if "uniqueString" not in calls:
            yield place.finding(
                "role", "the name of a custom role has to be its tenant's only one: it needs uniqueString()"
            )
        permissions = place.node.body.get("properties", "permissions")
        for node in syntax.walk(permissions) if permissions else ():
            match node:
                case syntax.Entry(key=key, value=syntax.Array(items=items)):
                    said = {item.literal for item in items if isinstance(item, syntax.Text)}
                    allowed = ACTIONS if key.literal == "actions" else set()
                    if len(said) != len(items) or not said <= allowed:
                        yield place.finding("role", f"{key.literal} of a custom role is {sorted(allowed)}", node.line)
                case _:
                    pass


def _property(place: Placed[Resource], name: str) -> Placed[Node]:
    return Placed(place.template, place.node.body.get("properties", name) or syntax.Literal(place.node.line, None))
