"""The security baseline, each demand a rule with a name; where there are options, under every choice of them."""

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tools.bicep import syntax
from tools.bicep.findings import Finding
from tools.bicep.reads import Code
from tools.bicep.syntax import Node, walk
from tools.bicep.tree import UNKNOWN, Given, Placed, Tree, Value

BUS = "Microsoft.ServiceBus/namespaces"
STORAGE = "Microsoft.Storage/storageAccounts"
VAULT = "Microsoft.KeyVault/vaults"
WORKSPACE = "Microsoft.OperationalInsights/workspaces"
INSIGHTS = "Microsoft.Insights/components"
SITE, PLAN = "Microsoft.Web/sites", "Microsoft.Web/serverfarms"
PUBLISHING = "Microsoft.Web/sites/basicPublishingCredentialsPolicies"

PRIVATE: Given = {"privateNetworking": True}
ZONES: Given = {"zoneRedundant": True}
PREMIUM_ZONES: Given = {"zoneRedundant": True, "serviceBusSku": "Premium"}


@dataclass(frozen=True, slots=True)
class Demand:
    """A property, by its path below the body, of every resource of a type has one of these values, under `given`."""

    rule: str
    type: str
    path: str
    values: tuple[Value, ...]
    ids: str = ""
    given: Given | None = None


DEMANDS = (
    Demand("no-keys-service-bus", BUS, "properties.disableLocalAuth", (True,), "AZR-000178 CKV_AZURE_203"),
    Demand("no-keys-storage", STORAGE, "properties.allowSharedKeyAccess", (False,), "CKV2_AZURE_40"),
    Demand("no-keys-storage", STORAGE, "properties.defaultToOAuthAuthentication", (True,)),
    Demand("no-keys-logs", INSIGHTS, "properties.DisableLocalAuth", (True,), "AZR-000069"),
    Demand("no-keys-logs", WORKSPACE, "properties.features.disableLocalAuth", (True,)),
    Demand("no-keys-publishing", PUBLISHING, "properties.allow", (False,), "AZR-000459"),
    Demand("tls", BUS, "properties.minimumTlsVersion", ("1.2", "1.3"), "AZR-000315 CKV_AZURE_205"),
    Demand("tls", STORAGE, "properties.minimumTlsVersion", ("TLS1_2", "TLS1_3"), "AZR-000200 CKV_AZURE_44"),
    Demand("tls", SITE, "properties.siteConfig.minTlsVersion", ("1.2", "1.3"), "AZR-000073 CKV_AZURE_145"),
    Demand("tls", SITE, "properties.siteConfig.scmMinTlsVersion", ("1.2", "1.3")),
    Demand("https-only", SITE, "properties.httpsOnly", (True,), "AZR-000084 CKV_AZURE_70"),
    Demand("https-only", STORAGE, "properties.supportsHttpsTrafficOnly", (True,)),
    Demand("managed-identity", SITE, "identity.type", ("UserAssigned",), "AZR-000082 CKV_AZURE_71"),
    Demand(
        "managed-identity",
        SITE,
        "properties.functionAppConfig.deployment.storage.authentication.type",
        ("UserAssignedIdentity",),
    ),
    Demand("vault-rbac", VAULT, "properties.enableRbacAuthorization", (True,), "AZR-000388"),
    Demand("vault-soft-delete", VAULT, "properties.enableSoftDelete", (True,), "AZR-000124 CKV_AZURE_111"),
    Demand("vault-soft-delete", VAULT, "properties.softDeleteRetentionInDays", (90,)),
    Demand("vault-purge-protection", VAULT, "properties.enablePurgeProtection", (True,), "AZR-000125 CKV_AZURE_110"),
    Demand("blob-private", STORAGE, "properties.allowBlobPublicAccess", (False,), "AZR-000198 CKV_AZURE_59"),
    Demand("blob-private", f"{STORAGE}/blobServices/containers", "properties.publicAccess", ("None",), "AZR-000199"),
    Demand("blob-private", STORAGE, "properties.allowCrossTenantReplication", (False,)),
    Demand(
        "blob-soft-delete", f"{STORAGE}/blobServices", "properties.deleteRetentionPolicy.enabled", (True,), "AZR-000197"
    ),
    Demand("blob-soft-delete", f"{STORAGE}/blobServices", "properties.containerDeleteRetentionPolicy.enabled", (True,)),
    Demand("network-closed", BUS, "properties.publicNetworkAccess", ("Disabled",), "CKV_AZURE_204", PRIVATE),
    Demand("network-closed", STORAGE, "properties.publicNetworkAccess", ("Disabled",), "CKV_AZURE_35", PRIVATE),
    Demand("network-closed", STORAGE, "properties.networkAcls.defaultAction", ("Deny",), "AZR-000202", PRIVATE),
    Demand("network-closed", VAULT, "properties.publicNetworkAccess", ("Disabled",), "CKV_AZURE_189", PRIVATE),
    Demand("network-closed", VAULT, "properties.networkAcls.defaultAction", ("Deny",), "AZR-000355", PRIVATE),
    Demand("network-premium", BUS, "sku.name", ("Premium",), "", PRIVATE),
    Demand("zones", PLAN, "properties.zoneRedundant", (True,), "CKV_AZURE_225", ZONES),
    Demand("zones", BUS, "properties.zoneRedundant", (True,), "", PREMIUM_ZONES),
    Demand("flex", PLAN, "sku.name", ("FC1",)),
    Demand("flex", PLAN, "sku.tier", ("FlexConsumption",)),
    Demand("flex", PLAN, "properties.reserved", (True,)),
    Demand("flex", SITE, "properties.functionAppConfig.runtime.name", ("python",)),
)
"""Ids of PSRule for Azure (AZR) and Checkov (CKV).

https://azure.github.io/PSRule.Rules.Azure/en/rules/
"""

RULES = {
    "blob-replication": "the state survives the loss of a data centre, by default",
    "claims-expire": "blobs of the claims container expire, and nothing else does",
    "flex-refused": "the app has no property that Flex Consumption refuses; it has no FTP to switch off (CKV_AZURE_78)",
    "http-authenticated": "only health, which has no data, is open to anybody",
    "logs": "Service Bus, Key Vault and storage send their logs (AZR-000358, AZR-000119); of the state, by default,"
    " only what is deleted",
    "network-endpoints": "with private networking, each service has an endpoint, and the app a subnet of its kind",
    "no-keys": "nothing asks for a key, and no text has one",
    "secret": "secrets are @secure(), have no default, and are in no output (AZR-000279, AZR-000408, AZR-000316)",
}
"""What is more than one property."""

LOGGED = (BUS, VAULT, f"{STORAGE}/blobServices", f"{STORAGE}/tableServices")
EVERY_CALL = ("audit", "allLogs")
"""Groups of categories. https://learn.microsoft.com/azure/azure-monitor/platform/diagnostic-settings"""

OPEN_ROUTES = {"health"}
"""What anybody may ask over HTTP: it has no data."""

REFUSED = re.compile(
    r"alwaysOn|containerSize|ftpsState|functionAppScaleLimit|functionsRuntimeScaleMonitoringEnabled|isReserved|isXenon"
    r"|minimumElasticInstanceCount|preWarmedInstanceCount|use32BitWorkerProcess"
    r"|(?:java|netFramework|node|php|powerShell)Version|(?:linux|windows)FxVersion"
    r"|vnet(?:BackupRestore|ContentShare|ImagePull|RouteAll)Enabled",
    re.IGNORECASE,
)
"""Properties that a deployment of an app to Flex Consumption fails with: error 51021.

https://learn.microsoft.com/azure/azure-functions/functions-app-settings#flex-consumption-plan-deprecations
"""


def check(tree: Tree, repository: Path) -> Iterator[Finding]:
    """Yield every breach of the baseline."""
    for demand in DEMANDS:
        yield from _demanded(tree, demand)
    rules: tuple[Callable[[Tree], Iterator[Finding]], ...] = (
        _logs,
        _publishing,
        _refused,
        _secrets,
        _keys_in_expressions,
        _expiry,
        _replication,
        _endpoints,
    )
    for rule in rules:
        yield from rule(tree)
    yield from _runtime(tree, repository)
    yield from _http(repository)


def _demanded(tree: Tree, demand: Demand) -> Iterator[Finding]:
    found = list(tree.resources(demand.type))
    if not found:
        yield Finding(tree.main.path, 1, demand.rule, f"there is no {demand.type}")
    for place in found:
        node = place.node.body.get(*demand.path.split("."))
        values = tree.possible(Placed(place.template, node), demand.given) if node else frozenset()
        if not values or not values <= set(demand.values):
            said = " or ".join(sorted(map(_said, values))) or "not said"
            under = "".join(f", with {name} {_said(value)}" for name, value in (demand.given or {}).items())
            wanted = " or ".join(map(_said, demand.values))
            yield place.finding(
                demand.rule,
                f"{demand.path} of {place.node.name} has to be {wanted}{under}; it is {said}",
                node.line if node else 0,
            )


def _logs(tree: Tree) -> Iterator[Finding]:
    """Every service that keeps data sends its logs to the workspace; the state those of every call only when told."""
    for place in tree.resources(*LOGGED):
        storage = place.node.type.startswith(STORAGE)
        usual = [*EVERY_CALL, *(["StorageDelete"] if storage else [])]
        for said, enough in ((True, EVERY_CALL), (False, usual)):
            sent = _sent(tree, place, {"auditState": said})
            if not sent or not all(each & set(enough) for each in sent):
                wanted, when = " or ".join(reversed(enough)), " with auditState=true" if storage and said else ""
                yield place.finding("logs", f"{place.node.name} does not send {wanted}{when} to the workspace")
            elif not any(each & set(EVERY_CALL) for each in sent):
                yield place.finding("logs", f"no account sends the audit of {place.node.name} by default")


def _sent(tree: Tree, place: Placed[syntax.Resource], given: Given) -> list[set[str]]:
    """Return the categories, and groups of them, that a resource may send to the workspace."""
    found = []
    for each in place.template.resources.values():
        if each.type == "Microsoft.Insights/diagnosticSettings" and _name(each.body.get("scope")) == place.node.name:
            logs = each.body.get("properties", "logs")
            if logs and each.body.get("properties", "workspaceId") and not each.condition:
                found += [_enabled(leaf.node) for leaf in tree.leaves(Placed(place.template, logs), given)]
    return found


def _enabled(logs: Node) -> set[str]:
    entries = [each for each in logs.items if isinstance(each, syntax.Object)] if isinstance(logs, syntax.Array) else []
    names = [
        each.get(key)
        for each in entries
        if each.get("enabled") == _true(each.get("enabled"))
        for key in ("category", "categoryGroup")
    ]
    return {name.literal for name in names if isinstance(name, syntax.Text) and name.literal}


def _publishing(tree: Tree) -> Iterator[Finding]:
    names = {
        name.literal
        for place in tree.resources(PUBLISHING)
        if isinstance(name := place.node.body.get("name"), syntax.Text)
    }
    for missing in sorted({"ftp", "scm"} - names):
        yield Finding(tree.main.path, 1, "no-keys-publishing", f"nothing switches off the password of {missing}")


def _refused(tree: Tree) -> Iterator[Finding]:
    for place in tree.resources(SITE, f"{SITE}/config"):
        for node in walk(place.node.body):
            if isinstance(node, syntax.Entry) and REFUSED.fullmatch(node.key.literal or ""):
                yield place.finding("flex-refused", f"Flex Consumption refuses {node.key.literal}", node.line)


def _secrets(tree: Tree) -> Iterator[Finding]:
    """Secrets are @secure(), have no default, and are in no output; their names say what they are."""
    for template in tree.templates.values():
        secure = {name for name, each in template.parameters.items() if "secure" in each.decorators}
        for name, parameter in template.parameters.items():
            place = Placed(template, parameter)
            telling = any(word in name.lower() for word in ("password", "secretvalue", "token", "connectionstring"))
            if telling and name not in secure:
                yield place.finding("secret", f"parameter {name} is not @secure()")
            default = parameter.default
            empty = default is None or default in (syntax.Object(default.line, ()), syntax.Text(default.line, ()))
            if name in secure and not empty:
                yield place.finding("secret", f"@secure() parameter {name} has a default")
        for output in template.outputs.values():
            names = {node.name for node in walk(output.value) if isinstance(node, syntax.Name)}
            for name in sorted(names & secure):
                yield Placed(template, output).finding("secret", f"output {output.name} shows {name}")


def _keys_in_expressions(tree: Tree) -> Iterator[Finding]:
    """Nothing asks for a key."""
    for template in tree.templates.values():
        for declared in template.declared():
            for node in walk(declared):
                called = node.function.rpartition(".")[2] if isinstance(node, syntax.Call) else ""
                if called.lower().startswith("list"):
                    yield Placed(template, node).finding("no-keys", f"{called}() reads keys")
                text = "".join(str(part) for part in node.parts) if isinstance(node, syntax.Text) else ""
                if any(word in text for word in ("AccountKey=", "SharedAccessKey", "sig=")):
                    yield Placed(template, node).finding("no-keys", "a connection string with a key")


def _expiry(tree: Tree) -> Iterator[Finding]:
    """Claims expire, and nothing else does."""
    policies = list(tree.resources(f"{STORAGE}/managementPolicies"))
    if len(policies) != 1:
        yield Finding(tree.main.path, 1, "claims-expire", f"{len(policies)} life-cycle policies")
    for place in policies:
        rules = place.node.body.get("properties", "policy", "rules")
        for rule in rules.items if isinstance(rules, syntax.Array) else ():
            prefixes = rule.get("definition", "filters", "prefixMatch") if isinstance(rule, syntax.Object) else None
            wanted = {f"{_default(tree, 'claimsContainer')}/", UNKNOWN}
            found = {
                value
                for item in (prefixes.items if isinstance(prefixes, syntax.Array) else ())
                for value in tree.possible(Placed(place.template, item))
            } - {"/"}
            if found != wanted or _names(tree, prefixes, place.template) != {"claimsContainer"}:
                said = ", ".join(sorted(map(_said, found))) or "everything"
                yield place.finding(
                    "claims-expire", f"only blobs of the claims container expire, not {said}", rule.line
                )


def _replication(tree: Tree) -> Iterator[Finding]:
    """The state survives the loss of a data centre by default; the host's account follows `zoneRedundant`."""
    if _default(tree, "stateReplication") not in {"ZRS", "GZRS", "GRS"}:
        yield Finding(tree.main.path, 1, "blob-replication", "stateReplication is ZRS, GRS or GZRS by default")
    for place in tree.resources(STORAGE):
        sku = place.node.body.get("sku", "name")
        values = (
            tree.possible(Placed(place.template, sku), {**ZONES, "stateReplication": "ZRS"}) if sku else frozenset()
        )
        if values != {"Standard_ZRS"}:
            yield place.finding(
                "zones", f"with zoneRedundant, storage is Standard_ZRS, not {sorted(map(_said, values))}"
            )


def _endpoints(tree: Tree) -> Iterator[Finding]:
    """With private networking, each service that is closed has an endpoint, and the app a subnet of its own kind."""
    services = {
        (node.get("service"), node.get("id"))
        for template in tree.templates.values()
        for variable in template.variables.values()
        for node in walk(variable.value)
        if isinstance(node, syntax.Object)
    }
    found = sorted(
        f"{service.literal} of {_last(target)}"
        for service, target in services
        if isinstance(service, syntax.Text) and isinstance(target, syntax.Call)
    )
    wanted = [
        "blob of hostAccountName",
        "blob of stateAccountName",
        "namespace of name",
        "table of stateAccountName",
        "vault of vaultName",
    ]
    for one in sorted(set(wanted) ^ set(found)):
        what = "has no private endpoint" if one in wanted else "is no service of ours"
        yield Finding(tree.main.path, 1, "network-endpoints", f"{one} {what}")
    for place in tree.resources("Microsoft.Network/virtualNetworks"):
        delegations = {
            entry.value.literal
            for entry in walk(place.node.body)
            if isinstance(entry, syntax.Entry)
            and entry.key.literal == "serviceName"
            and isinstance(entry.value, syntax.Text)
        }
        if delegations != {"Microsoft.App/environments"}:
            yield place.finding("network-endpoints", "Flex Consumption wants a subnet for Microsoft.App/environments")


def _runtime(tree: Tree, repository: Path) -> Iterator[Finding]:
    """The app runs on the Python that it is tested with."""
    version = (repository / ".python-version").read_text(encoding="utf-8").strip()
    yield from _demanded(tree, Demand("flex", SITE, "properties.functionAppConfig.runtime.version", (version,)))


def _http(repository: Path) -> Iterator[Finding]:
    """Only health, which has no data, is open to anybody."""
    for decorator, path in Code.of(repository).decorators():
        if isinstance(decorator.func, ast.Attribute) and decorator.func.attr == "route":
            route = next((each.value for each in decorator.args if isinstance(each, ast.Constant)), None)
            levels = [ast.unparse(each.value) for each in decorator.keywords if each.arg == "auth_level"]
            level = levels[0].rpartition(".")[2] if levels else "not said"
            if level not in {"FUNCTION", "ADMIN"} and route not in OPEN_ROUTES:
                yield Finding(path, decorator.lineno, "http-authenticated", f"{route!r} is open to anybody: {level}")


def _said(value: Value) -> str:
    return {True: "true", False: "false", None: "null"}[value] if isinstance(value, bool | None) else str(value)


def _true(node: Node | None) -> Node:
    return syntax.Literal(node.line if node else 0, value=True)


def _name(node: Node | None) -> str:
    return node.name if isinstance(node, syntax.Name) else ""


def _last(call: syntax.Call) -> str:
    return _name(call.arguments[-1]) if call.arguments else ""


def _names(tree: Tree, node: Node | None, template: syntax.Template) -> set[str]:
    """Return the parameters of `main.bicep` that an expression comes from, those for "nothing" left out."""
    names = {each.name for each in walk(node) if isinstance(each, syntax.Name)} if node else set()
    leaves = [leaf for name in names for leaf in tree.leaves(Placed(template, syntax.Name(0, name)))]
    return {_name(leaf.node) for leaf in leaves if not isinstance(leaf.node, syntax.Text)}


def _default(tree: Tree, name: str) -> Value:
    parameter = tree.main.parameters.get(name)
    default = parameter.default if parameter else None
    return default.literal if isinstance(default, syntax.Text) and default.literal is not None else UNKNOWN
