"""App settings, both ways: what the template sets is read, and what the code reads is set."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from shared.settings.load import FILES
from shared.settings.names import DEFAULTS
from tools.bicep import syntax
from tools.bicep.durations import duration
from tools.bicep.findings import Finding
from tools.bicep.parameters import given
from tools.bicep.reads import HOLE, Code, Read
from tools.bicep.syntax import Node
from tools.bicep.tree import UNKNOWN, Placed, Tree, Value

HOST = {
    "APPLICATIONINSIGHTS_AUTHENTICATION_STRING": "the host signs in to Application Insights",
    "APPLICATIONINSIGHTS_CONNECTION_STRING": "where the host sends telemetry",
    "AzureWebJobsStorage__credential": "the host uses the identity",
    "ServiceBus__credential": "the trigger uses the identity",
}
"""What the Functions host reads, not the code, and why.

https://learn.microsoft.com/azure/azure-functions/functions-app-settings
"""

UNSET = {
    "AzureWebJobsStorage": "a connection string has a key",
    "AzureWebJobsStorage__accountName": "the address is given, which says the cloud too",
    "AzureWebJobsStorage__tableServiceUri": "the host needs blobs alone; states are in StateStorage",
    "IDENTITY_ENDPOINT": "Azure sets it",
    "NO_COLOR": "of terminals",
    "SLUICE_CA_FILE": "Azure's certificates are known everywhere",
    "ServiceBus": "a connection string has a key",
    "ServiceBusAdministration": "the namespace's own address leads there",
    "StateStorage": "a connection string has a key",
    "StateStorage__accountName": "the address is given, which says the cloud too",
}
"""What the code reads and the template leaves unset, and why."""

FORBIDDEN = re.compile(
    r"FUNCTIONS_(?:WORKER_RUNTIME|EXTENSION_VERSION).*|WEBSITE_(?:RUN_FROM_PACKAGE|CONTENT\w*|TIME_ZONE)|TZ"
    r"|SCM_DO_BUILD_DURING_DEPLOYMENT|ENABLE_ORYX_BUILD"
)
"""Flex Consumption refuses them.

https://learn.microsoft.com/azure/azure-functions/flex-consumption-plan#deprecated-properties-and-settings
"""

IDENTITIES = {"TopicAdmin__clientId": "topics"}
"""Whose client id a setting has, where it is not the app's."""

_DISABLED = re.compile(r"AzureWebJobs\.(\w+)\.Disabled")
_ENV = re.compile(r"""env\s*\(?\s*\\?"(\w+)\\?"\s*\)?""")

type Setting = Placed[Node]


def check(tree: Tree, repository: Path) -> Iterator[Finding]:
    """Yield what is wrong with app settings."""
    code = Code.of(repository)
    sites = list(tree.resources("Microsoft.Web/sites/config"))
    if not sites:
        yield Finding(tree.main.path, 1, "setting", "no resource sets the app settings")
        return
    properties = sites[0].node.body.get("properties")
    found = dict(_settings(tree, Placed(sites[0].template, properties))) if properties else {}
    reads = [*code.environment(), *_bound(code)]
    yield from _unread(found, reads, code)
    yield from _unset(found, reads, sites[0])
    yield from _values(tree, found)
    yield from _functions(tree, found, code)
    yield from _secrets(tree, found, repository)
    yield from _defaults(tree)


def _settings(tree: Tree, place: Placed[Node]) -> Iterator[tuple[str, Setting]]:
    """Yield names, `…` for what only the deployment knows, with the place of their values."""
    for leaf in tree.leaves(place):
        match leaf.node:
            case syntax.Object(entries=entries):
                for entry in entries:
                    yield entry.key.literal or HOLE, Placed(leaf.template, entry.value)
            case syntax.Call(function="union", arguments=arguments):
                for argument in arguments:
                    yield from _settings(tree, Placed(leaf.template, argument))
            case syntax.Call(function="toObject", arguments=[_, syntax.Lambda(body=key), syntax.Lambda(body=value)]):
                parts = key.parts if isinstance(key, syntax.Text) else (key,)
                name = "".join(part if isinstance(part, str) else HOLE for part in parts)
                yield name, Placed(leaf.template, value)
            case _:
                yield "", leaf


def _bound(code: Code) -> Iterator[Read]:
    """Yield the settings that bindings read: `%NAME%`, and those of a connection."""
    for decorator, path in code.decorators():
        for keyword in decorator.keywords:
            for text in code.texts(keyword.value, []):
                if name := re.fullmatch(r"%(\w+)%", text):
                    yield Read(name[1], path, decorator.lineno)
                if keyword.arg == "connection":
                    for part in ("fullyQualifiedNamespace", "credential", "clientId"):
                        yield Read(f"{text}__{part}", path, decorator.lineno)


def _unread(found: dict[str, Setting], reads: list[Read], code: Code) -> Iterator[Finding]:
    functions = _function_names(code)
    for name, place in found.items():
        disabled = _DISABLED.fullmatch(name)
        if FORBIDDEN.fullmatch(name):
            yield place.finding("setting-flex", f"{name} is not for Flex Consumption")
        elif disabled:
            if disabled[1] not in functions:
                yield place.finding("function", f"{name}: there is no function {disabled[1]}")
        elif not name:
            yield place.finding("setting", "cannot be seen through: write settings as objects, union() and toObject()")
        elif name not in HOST and name != HOLE:
            sample = name.replace(HOLE, "2")
            if not any(read.matches(sample) for read in reads):
                yield place.finding("setting-unread", f"nothing reads {name}")


def _unset(found: dict[str, Setting], reads: list[Read], settings: Placed[syntax.Resource]) -> Iterator[Finding]:
    exact = {read.name: read for read in reads if HOLE not in read.name}
    for name, read in exact.items():
        if name not in found and name not in UNSET:
            yield Finding(read.path, read.line, "setting-unset", f"{name} is read, and the template does not set it")
    for name in UNSET:
        if name in found or name not in exact:
            what = "is set" if name in found else "is not read any more"
            yield settings.finding("setting-unset", f"tools/bicep/settings.py has a reason for {name}, which {what}")


def _values(tree: Tree, found: dict[str, Setting]) -> Iterator[Finding]:
    for name, place in found.items():
        if name.endswith("__clientId"):
            owner = IDENTITIES.get(name, "app")
            for leaf in tree.leaves(place):
                match leaf.node:
                    case syntax.Member(
                        of=syntax.Member(of=syntax.Name(name=whose), name="properties"), name="clientId"
                    ):
                        right = whose == owner
                    case _:
                        right = False
                if not right:
                    yield place.finding("setting-identity", f"{name} has to be the client id of the identity {owner}")
        if _DISABLED.fullmatch(name):
            for on, said in ((True, "false"), (False, "true")):
                if tree.possible(place, {"syncTopics": on}) != {said}:
                    yield place.finding("function", f"{name} has to be '{said}' with syncTopics={str(on).lower()}")
        if name.endswith("__credential") and tree.possible(place) != {"managedidentity"}:
            yield place.finding("setting-identity", f"{name} has to be 'managedidentity'")


def _functions(tree: Tree, found: dict[str, Setting], code: Code) -> Iterator[Finding]:
    """Yield always-ready instances of functions that are not there."""
    functions = _function_names(code)
    for template in tree.templates.values():
        for declared in template.declared():
            for node in syntax.walk(declared):
                text = _open(node) if isinstance(node, syntax.Text) else ""
                if text.startswith("function:") and text.removeprefix("function:") not in functions:
                    yield Placed(template, node).finding("function", f"{text}: there is no such function")
    disabled = {name[1] for name in map(_DISABLED.fullmatch, found) if name}
    if "sync_topics" not in disabled:
        yield Finding(tree.main.path, 1, "function", "sync_topics cannot be switched off")


def _function_names(code: Code) -> set[str]:
    return {
        name
        for decorator, _ in code.decorators()
        if isinstance(decorator.func, ast.Attribute) and decorator.func.attr == "function_name"
        for argument in decorator.args
        for name in code.texts(argument, [])
    }


def _open(text: syntax.Text) -> str:
    return "".join(part if isinstance(part, str) else HOLE for part in text.parts)


def _secrets(tree: Tree, found: dict[str, Setting], repository: Path) -> Iterator[Finding]:
    """Yield what `sluice.hcl` names and nothing sets, and values of secrets that are none."""
    parameter = tree.main.parameters.get("secrets")
    if parameter is None or not isinstance(parameter.default, syntax.Array):
        yield Finding(tree.main.path, 1, "setting-secret", "the parameter secrets lists the settings that are secret")
        return
    for name, place in found.items():
        if name == HOLE and "@Microsoft.KeyVault(SecretUri=" not in _starts(place.node):
            yield place.finding(
                "setting-secret", "secrets are references to the vault: @Microsoft.KeyVault(SecretUri=…)"
            )
    file = repository / FILES[0]
    text = re.sub(r"(?m)^\s*(?:#|//).*$", "", file.read_text(encoding="utf-8"))
    named = set(_ENV.findall(text)) - found.keys()
    values = dict(given(tree, "secretValues"))
    for path, secrets in given(tree, "secrets"):  # `sluice infra params` says it to both files
        known = set(_texts(parameter.default if secrets is None else secrets))
        for name in sorted(named - known):
            yield Finding(file, 1, "setting-secret", f"{name} is named here, and {path.name} does not make it a secret")
        for name in sorted(set(_texts(values[path])) - known):
            yield Finding(path, 1, "setting-secret", f"{name} is not among the parameter secrets")


def _texts(node: Node | None) -> Iterator[str]:
    """Yield the texts of a list, or the keys of an object."""
    items = node.items if isinstance(node, syntax.Array) else ()
    keys = [entry.key for entry in node.entries] if isinstance(node, syntax.Object) else ()
    yield from (each.literal for each in (*items, *keys) if isinstance(each, syntax.Text) and each.literal)


def _starts(node: Node) -> str:
    return str(node.parts[0]) if isinstance(node, syntax.Text) and node.parts else ""


def _defaults(tree: Tree) -> Iterator[Finding]:
    """Yield defaults of `main.bicep` that are not those of the settings."""
    topics = DEFAULTS.topics
    expected: dict[str, Value] = {
        "captureSchedule": DEFAULTS.capture.schedule,
        "claimsContainer": DEFAULTS.claims_container,
        "configFile": FILES[0],
        "ingestQueue": DEFAULTS.ingest_queue,
        "leaseContainer": DEFAULTS.lease_container,
        "memoContainer": DEFAULTS.memo_container,
        "rejectedQueue": DEFAULTS.rejected_queue,
        "shards": DEFAULTS.capture.shards,
        "stateTable": DEFAULTS.state_table,
        "subscriptionName": topics.subscription,
        "syncTopics": topics.sync,
        "topicMegabytes": topics.max_size_bytes // 1024**2,
        "topicsSchedule": topics.schedule,
    }
    for name, value in expected.items():
        found = _default(tree, name)
        if found != value:
            yield _at(tree, name, f"{name} is {found!r} here and {value!r} in the configuration")
    expiry = _default(tree, "subscriptionExpiry")
    length = duration(expiry) if isinstance(expiry, str) else None
    if length is None or length.total_seconds() != topics.expiry_s:
        yield _at(tree, "subscriptionExpiry", f"subscriptionExpiry is {expiry!r} here, not {topics.expiry_s:g} seconds")


def _default(tree: Tree, name: str) -> Value:
    parameter = tree.main.parameters.get(name)
    if parameter is None or parameter.default is None:
        return UNKNOWN
    [value, *others] = tree.possible(Placed(tree.main, parameter.default))
    return UNKNOWN if others else value


def _at(tree: Tree, name: str, message: str) -> Finding:
    parameter = tree.main.parameters.get(name)
    return Finding(tree.main.path, parameter.line if parameter else 1, "default", message)
