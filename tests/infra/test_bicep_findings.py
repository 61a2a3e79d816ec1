"""Each check fails on a template that breaks what it checks: the real tree with one text replaced."""

import re

import pytest

from cli.infra import params
from tools.bicep.__main__ import check, main
from tools.bicep.baseline import DEMANDS, RULES
from tools.bicep.roles import ROLES as ROLE_IDS

APP, ENTITIES, ROLES = "modules/functionapp.bicep", "modules/entities.bicep", "modules/roles.bicep"
STORAGE, NAMESPACE, VAULT = "modules/storage.bicep", "modules/namespace.bicep", "modules/keyvault.bicep"
NETWORK, MONITORING, MAIN = "modules/network.bicep", "modules/monitoring.bicep", "main.bicep"

SYNTAX = [
    (MAIN, "targetScope = 'subscription'", "targetScope = ", "syntax: cannot be read"),
    (MAIN, "param location string", "param location", "syntax: "),
    (MAIN, "var sku =", "var token = 'x'\nvar sku =", "syntax: token is declared twice"),
    (ROLES, "      here\n", "      resourceGroup().id\n", "syntax: the grammar reads a call in an array as two items"),
    (VAULT, "param name string", "type t = 'a'\nparam name string", "syntax: type_declaration is not used here"),
]

TYPES = [
    (STORAGE, "allowSharedKeyAccess: false", "allowSharedKeysAccess: false", "property: properties has no property"),
    (STORAGE, "  kind: 'StorageV2'\n", "", "property: account needs a property kind"),
    (STORAGE, "days: 7", "days: '7'", "type: days has to be of type int, not string"),
    (STORAGE, "'Standard_${replication}'", "'Standard${replication}'", "value: name is one of PremiumV2_LRS"),
    (STORAGE, "name: table\n", "name: 7\n", "property: tablesOfService needs a name, of type string"),
    (STORAGE, "  parent: blobs\n", "  parent: account\n", "parent: the parent of containersOfBlobs has to be"),
    (STORAGE, "  scope: blobs\n", "", "scope: the scope of blobLogs has to be a resource"),
    (STORAGE, "storageAccounts@2025-01-01'", "storageAccounts@2019-06-01'", "api-version: Microsoft.Storage/"),
    (STORAGE, "'Microsoft.Storage/storageAccounts@", "'Microsoft.Storage/accounts@", "resource-type: "),
    (NAMESPACE, "sku: {\n    name: sku", "sku: {\n    name: true", "type: name has to be of type string, not bool"),
    (ENTITIES, "lockDuration: 'PT1M'", "lockDuration: 'PT6M'", "duration: lockDuration: 'PT6M' is not between"),
    (ENTITIES, "lockDuration: 'PT1M'", "lockDuration: '1 minute'", "duration: lockDuration: '1 minute' is no duration"),
    (ENTITIES, "'PT1H'", "'P8D'", "duration: duplicateDetectionHistoryTimeWindow: 'P8D' is not between"),
    (MAIN, "= 'P14D'", "= '14 days'", "duration: defaultMessageTimeToLive: '14 days' is no duration"),
    (MAIN, "= 'P14D'", "= '14 days'", "duration: subscriptionExpiry: '14 days' is no duration"),
    (APP, "httpsOnly: true", "httpsOnly: true\n    state: 'x'", "property: state of properties is read-only"),
    (APP, "version: '3.13'", "version: 3", "type: version has to be of type string, not int"),
    (APP, "instanceCount: captureReady", "instances: captureReady", "property: alwaysReady has no property instances"),
    (NETWORK, "delegations: [", "delegation: [", "property: properties has no property delegation"),
    (ROLES, "    principalId: appPrincipalId\n", "", "property: properties needs a property principalId"),
    (MONITORING, "enableLogAccessUsing", "enableLogAccessusing", "enableLogAccessUsingOnlyResourcePermissions"),
]

NAMES = [
    (MAIN, "closed: privateNetworking", "closed: private", "unknown: private is not declared"),
    (MAIN, "scope: group\n  name: 'entities'", "name: 'entities'", "scope: entities needs a scope"),
    (MAIN, "modules/keyvault.bicep'", "modules/vault.bicep'", "module: there is no modules/vault.bicep"),
    (MAIN, "    syncTopics: syncTopics\n", "", "module: roles does not say syncTopics"),
    (MAIN, "planName: '", "plan: '", "module: modules/functionapp.bicep has no parameter plan"),
    (MAIN, "messagingUnits: messagingUnits", "messagingUnits: 'one'", "type: messagingUnits has to be of type int"),
    (MAIN, "outputs.appClientId", "outputs.clientId", "unknown: modules/identity.bicep has no output clientId"),
    (MAIN, "output INGEST_QUEUE", "output ingestQueue", "output: azd makes a variable of ingestQueue"),
    (MAIN, "output AZURE_LOCATION string", "output AZURE_LOCATION int", "type: AZURE_LOCATION is string"),
    (MAIN, "@description('Region of everything.')\n", "", "description: parameter location has no @description"),
    (MAIN, "param shards int = 1", "param shards int = 0", "value: shards is not 0: it has limits"),
    (MAIN, "param shards int = 1", "param shards int = 'one'", "type: shards has to be of type int, not string"),
    (MAIN, "string = 'Standard'", "string = 'Basic'", "value: serviceBusSku is one of Standard, Premium, not 'Basic'"),
    (MAIN, "@secure()", "@sealed()", "decorator: @sealed is not used here"),
    (VAULT, "param closed bool", "param closed bool\nparam more bool", "unused: parameter more is not used"),
    (VAULT, "var given =", "var more = 1\nvar given =", "unused: variable more is not used"),
    (VAULT, "replace(secret, '_', '-')", "replace(secret, '_')", "function: replace() does not take 2 arguments"),
    (VAULT, "replace(secret,", "substitute(secret,", "function: substitute() is not in tools/bicep/kinds.py"),
    (APP, "primaryEndpoints.blob}", "primaryEndpoints.blobs}", "unknown: Microsoft.Storage/storageAccounts has no"),
    (APP, "var further =", "resource m 'Microsoft.Web/sites@2024-04-01' existing = {\nname: 'x'\n}\nvar further =",
     "unused: existing resource m is not used"),
]  # fmt: skip

PARAMETERS = [
    ("main.bicepparam", "param location", "param region", "parameters: main.bicep has no parameter region"),
    ("main.bicepparam", "param location", "param region", "parameters: location is missing"),
    ("main.bicepparam", "using 'main.bicep'", "using 'other.bicep'", "parameters: has to say: using 'main.bicep'"),
    ("main.bicepparam", "param location", "param shards = 'x'\nparam location", "type: shards has to be of type int"),
    ("main.bicepparam", "  SqlServer:", "  Sql:", "setting-secret: Sql is not among the parameter secrets"),
    ("main.parameters.json", '"location"', '"region"', "parameters: main.bicep has no parameter region"),
    ("main.parameters.json", '"location": {', '"shards": { "value": "x" }, "location": {', "type: shards has to be"),
    ("main.parameters.json", '"SqlServer":', '"Sql":', "setting-secret: Sql is not among the parameter secrets"),
    ("main.parameters.json", "{", "", "parameters: cannot be read"),
]

SETTINGS = [
    (APP, "    INGEST_QUEUE:", "    INGEST:", "setting-unread: nothing reads INGEST"),
    (APP, "    INGEST_QUEUE:", "    INGEST:", "setting-unset: INGEST_QUEUE is read, and the template does not set it"),
    (APP, "    ServiceBus__credential", "    Other__credential", "setting-unset: ServiceBus__credential is read"),
    (APP, "__tableServiceUri", "__tableServiceUrl", "setting-unset: StateStorage__tableServiceUri is read"),
    (
        APP,
        "'ServiceBus${i + 2}__clientId'",
        "'ServiceBus${i + 2}__client'",
        "setting-unread: nothing reads ServiceBus…",
    ),
    (APP, "SLUICE_LOG_FORMAT: 'json'", "SLUICE_LOG_FORMAT: 'json'\n    TZ: 'UTC'", "setting-flex: TZ is not for Flex"),
    (APP, "__clientId: topicsClientId", "__clientId: appClientId", "setting-identity: TopicAdmin__clientId has to be"),
    (APP, "ServiceBus__clientId: app", "ServiceBus__clientId: topics", "setting-identity: ServiceBus__clientId has to"),
    (
        APP,
        "StateStorage__clientId: appClientId",
        "StateStorage: 'x'",
        "setting-unset: tools/bicep/settings.py has a reason",
    ),
    (
        APP,
        "ServiceBus__credential: 'managedidentity'",
        "ServiceBus__credential: 'key'",
        "setting-identity: ServiceBus__",
    ),
    (APP, "AzureWebJobs.sync_topics.Disabled", "AzureWebJobs.sync.Disabled", "function: AzureWebJobs.sync.Disabled:"),
    (
        APP,
        "AzureWebJobs.sync_topics.Disabled",
        "AzureWebJobs.sync.Disabled",
        "function: sync_topics cannot be switched",
    ),
    (
        APP,
        "syncTopics ? 'false'",
        "syncTopics ? 'true'",
        "function: AzureWebJobs.sync_topics.Disabled has to be 'false'",
    ),
    (APP, "'function:deliver'", "'function:send'", "function: function:send: there is no such function"),
    (APP, "'function:capture_${", "'function:shard_${", "function: function:shard_…: there is no such function"),
    (APP, "@Microsoft.KeyVault(", "Microsoft.KeyVault(", "setting-secret: secrets are references to the vault"),
    (
        "main.bicepparam",
        "  'SqlServer'\n",
        "",
        "SqlServer is named here, and main.bicepparam does not make it a secret",
    ),
    ("main.parameters.json", '["SqlServer"]', "[]", "and main.parameters.json does not make it a secret"),
    (
        MAIN,
        "'ingest-queue'",
        "'ingest'",
        "default: ingestQueue is 'ingest' here and 'ingest-queue' in the configuration",
    ),
    (MAIN, "'0 */5 * * * *'", "'0 0 * * * *'", "default: topicsSchedule is '0 0 * * * *' here"),
    (MAIN, "= 'P14D'", "= 'P7D'", "default: subscriptionExpiry is 'P7D' here, not 1.2096e+06 seconds"),
    (MAIN, "syncTopics bool = true", "syncTopics bool = false", "default: syncTopics is False here"),
]

CODE = [
    (
        "shared/identity.py",
        '"IDENTITY_ENDPOINT" in os',
        '"OTHER" in os',
        "setting-unset: OTHER is read, and the template",
    ),
    (
        "shared/identity.py",
        '"IDENTITY_ENDPOINT" in os',
        '"OTHER" in os',
        "has a reason for IDENTITY_ENDPOINT, which is not",
    ),
    ("shared/settings/connections.py", "__clientId", "__identity", "setting-unset: StateStorage__identity is read"),
    (
        "functions/deliver.py",
        'connection="ServiceBus"',
        'connection="Ingest"',
        "setting-unset: Ingest__clientId is read",
    ),
    ("functions/deliver.py", '"%INGEST_QUEUE%"', '"%QUEUE%"', "setting-unset: QUEUE is read"),
    ("functions/deliver.py", '("deliver")', '("forward")', "function: function:deliver: there is no such function"),
    (
        "functions/health.py",
        "AuthLevel.FUNCTION",
        "AuthLevel.ANONYMOUS",
        "http-authenticated: 'health/reasons' is open",
    ),
    (
        "shared/administration.py",
        "support_ordering=True",
        "support_ordering=False",
        "entity-sync: supportOrdering of topic",
    ),
    (
        "shared/topics.py",
        "WINDOW_S = 3_600.0",
        "WINDOW_S = 7_200.0",
        "is 'PT1H'; sluice topics sync creates it with 'PT2H'",
    ),
    ("sluice.hcl", 'env("SqlServer")', 'env("Other")', "setting-secret: Other is named here"),
    (".python-version", "3.13", "3.14", "flex: properties.functionAppConfig.runtime.version of app has to be 3.14"),
]

ENTITY = [
    (ENTITIES, "requiresSession: true", "requiresSession: false", "entity: requiresSession of ingestQueue is False"),
    (ENTITIES, "maxDeliveryCount: 100", "maxDeliveryCount: 10", "entity: maxDeliveryCount of ingestQueue is 10"),
    (ENTITIES, "maxSizeInMegabytes: 5120", "maxSizeInMegabytes: 1024", "entity: maxSizeInMegabytes of ingestQueue"),
    (ENTITIES, "requiresDuplicateDetection: false", "requiresDuplicateDetection: true", "entity: requiresDuplicate"),
    (ENTITIES, "supportOrdering: true", "supportOrdering: false", "entity: supportOrdering of topic is False"),
    (ENTITIES, "supportOrdering: true\n", "\n", "entity: supportOrdering of topic is not said"),
    (ENTITIES, "'PT1H'", "'PT2H'", "entity: duplicateDetectionHistoryTimeWindow of topic is 'PT2H'"),
    (ENTITIES, "var never = 'P10675199DT2H48M5.4775807S'", "var never = 'P1D'", "entity: defaultMessageTimeToLive of"),
    (ENTITIES, "lockDuration: 'PT1M'", "lockDuration: 'PT2M'", "entity-local: lockDuration of ingestQueue is 'PT2M'"),
    (ENTITIES, "Expiration: true", "Expiration: false", "entity: deadLetteringOnMessageExpiration of subscriptionName"),
    (ENTITIES, "TimeToLive: subscriptionExpiry", "TimeToLive: 'P1D'", "entity: the expiry of a subscription is"),
    (ENTITIES, "name: rejectedQueue", "name: 'rejected'", "entity: rejectedQueue: 0 resources create it"),
]

BASELINE = [
    (NAMESPACE, "disableLocalAuth: true", "disableLocalAuth: false", "no-keys-service-bus: "),
    (NAMESPACE, "    disableLocalAuth: true\n", "", "no-keys-service-bus: "),
    (STORAGE, "allowSharedKeyAccess: false", "allowSharedKeyAccess: true", "no-keys-storage: "),
    (STORAGE, "defaultToOAuthAuthentication: true", "defaultToOAuthAuthentication: false", "no-keys-storage: "),
    (MONITORING, "DisableLocalAuth: true", "DisableLocalAuth: false", "no-keys-logs: "),
    (MONITORING, "disableLocalAuth: true", "disableLocalAuth: false", "no-keys-logs: "),
    (APP, "allow: false", "allow: true", "no-keys-publishing: "),
    (APP, "name: 'scm'", "name: 'other'", "no-keys-publishing: nothing switches off the password of scm"),
    (APP, "INGEST_QUEUE: ingestQueue", "INGEST_QUEUE: hostAccount.listKeys()", "no-keys: listKeys() reads keys"),
    (APP, "INGEST_QUEUE: ingestQueue", "INGEST_QUEUE: 'AccountKey=${ingestQueue}'", "no-keys: a connection string"),
    (NAMESPACE, "minimumTlsVersion: '1.2'", "minimumTlsVersion: '1.0'", "tls: "),
    (STORAGE, "'TLS1_2'", "'TLS1_0'", "tls: "),
    (APP, "minTlsVersion: '1.2'", "minTlsVersion: '1.1'", "tls: "),
    (APP, "httpsOnly: true", "httpsOnly: false", "https-only: "),
    (STORAGE, "supportsHttpsTrafficOnly: true", "supportsHttpsTrafficOnly: false", "https-only: "),
    (APP, "minTlsVersion: '1.2'", "ftpsState: 'Disabled'", "flex-refused: Flex Consumption refuses ftpsState"),
    (APP, "httpsOnly: true", "httpsOnly: true\n    containerSize: 512", "flex-refused: Flex Consumption refuses"),
    (APP, "type: 'UserAssigned'", "type: 'SystemAssigned'", "managed-identity: "),
    (APP, "type: 'UserAssignedIdentity'", "type: 'StorageAccountConnectionString'", "managed-identity: "),
    (VAULT, "enableRbacAuthorization: true", "enableRbacAuthorization: false", "vault-rbac: "),
    (VAULT, "enableSoftDelete: true", "enableSoftDelete: false", "vault-soft-delete: "),
    (VAULT, "enablePurgeProtection: true", "enablePurgeProtection: null", "vault-purge-protection: "),
    (STORAGE, "allowBlobPublicAccess: false", "allowBlobPublicAccess: true", "blob-private: "),
    (STORAGE, "publicAccess: 'None'", "publicAccess: 'Blob'", "blob-private: "),
    (STORAGE, "enabled: true\n      days", "enabled: false\n      days", "blob-soft-delete: "),
    (NAMESPACE, "closed ? 'Disabled' : 'Enabled'", "'Enabled'", "network-closed: "),
    (STORAGE, "closed ? 'Disabled'", "closed ? 'Enabled'", "network-closed: "),
    (STORAGE, "closed ? 'Deny' : 'Allow'", "closed ? 'Allow' : 'Deny'", "network-closed: "),
    (VAULT, "closed ? 'Disabled' : 'Enabled'", "'Enabled'", "network-closed: "),
    (MAIN, "closed: privateNetworking", "closed: false", "network-closed: "),
    (MAIN, "privateNetworking ? 'Premium' : serviceBusSku", "serviceBusSku", "network-premium: "),
    (NETWORK, "service: 'table'", "service: 'queue'", "network-endpoints: table of stateAccountName has no private"),
    (
        NETWORK,
        "'Microsoft.App/environments'",
        "'Microsoft.Web/serverFarms'",
        "network-endpoints: Flex Consumption wants",
    ),
    (NAMESPACE, "categoryGroup: 'allLogs'", "categoryGroup: 'none'", "logs: "),
    (
        VAULT,
        "categoryGroup: 'allLogs'\n        enabled: true",
        "categoryGroup: 'allLogs'\n        enabled: false",
        "logs: ",
    ),
    (STORAGE, "scope: tableService", "scope: blobs", "logs: tableService does not send"),
    (STORAGE, "category: 'StorageDelete'", "category: 'StorageRead'", "logs: blobs does not send StorageDelete"),
    (MAIN, "audited: auditState", "audited: false", "logs: blobs does not send allLogs or audit with auditState=true"),
    (MAIN, "audited: true", "audited: auditState", "logs: no account sends the audit of blobs by default"),
    (APP, "    zoneRedundant: zoneRedundant\n", "    zoneRedundant: false\n", "zones: "),
    (MAIN, "zoneRedundant ? 'ZRS' : 'LRS'", "'LRS'", "zones: "),
    (MAIN, "string = 'ZRS'", "string = 'LRS'", "blob-replication: "),
    (MAIN, "@secure()\n", "", "secret: parameter secretValues is not @secure()"),
    (VAULT, "@secure()\n", "", "secret: secretValues of keyvault.bicep is not @secure()"),
    (
        MAIN,
        "param secretValues object = {}",
        "param secretValues object = {\n  a: 'b'\n}",
        "secret: @secure() parameter",
    ),
    (
        VAULT,
        "output name string = vault.name",
        "output name string = string(secretValues)",
        "secret: output name shows",
    ),
    (STORAGE, "'${expiringContainer}/'", "''", "claims-expire: only blobs of the claims container expire"),
    (
        MAIN,
        "expiringContainer: claimsContainer",
        "expiringContainer: memoContainer",
        "claims-expire: only blobs of the",
    ),
    (APP, "name: 'FC1'", "name: 'Y1'", "flex: "),
    (APP, "reserved: true", "reserved: false", "flex: "),
]

ROLE = [
    (ROLES, "scope: memoContainer\n", "scope: stateAccount\n", "app: Storage Blob Data Contributor on state account"),
    (ROLES, "scope: memoContainer\n", "scope: stateAccount\n", "Contributor on memo container is listed, and nothing"),
    (ROLES, "roleDefinitionId: serviceBusReceiver", "roleDefinitionId: serviceBusOwner", "app: Azure Service Bus Data"),
    (ROLES, "principalId: topicsPrincipalId", "principalId: appPrincipalId", "role: app: Azure Service Bus Data Owner"),
    (ROLES, "'69a216fc-b8fb-44d8-bc22-1f3c2cd27a39'", "'00000000-0000-0000-0000-000000000000'", "app: role 00000000"),
    (ROLES, "${uniqueString(here)}", "${resourceGroup().name}", "role: the name of a custom role has to be"),
    (ROLES, "scope: ingestNamespace\n", "scope: ingestQueue\n", "template on ingest namespace is listed"),
    (ROLES, "namespaces/*/read", "namespaces/*", "role: actions of a custom role is"),
    (ROLES, "dataActions: []", "dataActions: [\n          'Microsoft.ServiceBus/*'\n        ]", "dataActions of a"),
    (ROLES, "principalType: 'ServicePrincipal'", "principalType: 'User'", "role: principalType has to be"),
    (MAIN, "outputs.topicsPrincipalId", "outputs.appPrincipalId", "role: app: Azure Service Bus Data Owner on each"),
    ("modules/identity.bicep", "output topicsPrincipalId string = topics", "output topicsPrincipalId string = app",
     "role: topics: Azure Service Bus Data Owner on each of the namespaces is listed"),
]  # fmt: skip

PAGE = [
    ("| `app` | Key Vault Secrets User |", "| `app` | Reader |", "role: the id of Reader is not not said"),
    ("`4633458b-17de", "`5633458b-17de", "role: the id of Key Vault Secrets User is not 5633458b"),
    (
        "| `app` | Scaling reader | ingest namespace |",
        "| `app` | Scaling reader | vault |",
        "role: app: created by the template",
    ),
    ("| `topics` | Azure", "| topics | Azure", "is assigned, and docs/security.md does not list it"),
]

IN_INFRA = [*SYNTAX, *TYPES, *NAMES, *PARAMETERS, *SETTINGS, *ENTITY, *BASELINE, *ROLE]
CASES = [
    *((f"infra/{file}", *rest) for file, *rest in IN_INFRA),
    *CODE,
    *(("docs/security.md", *rest) for rest in PAGE),
]


def shown(place) -> list[str]:
    return [finding.show(place) for finding in check(place)[0]]


def test_nothing_is_wrong_with_the_templates_of_this_repository(original):
    assert shown(original) == []


@pytest.mark.parametrize(("file", "old", "new", "expected"), CASES, ids=lambda text: re.sub(r"\W+", "-", text)[:40])
def test_what_is_broken_is_found(broken, file, old, new, expected):
    found = shown(broken(file, old, new))

    assert [line for line in found if expected in line], found or "nothing was found"


async def test_what_infra_params_writes_for_another_source_is_as_it_has_to_be(broken):
    place = broken(
        "sluice.hcl",
        'output "topics"',
        'source "consul" "c1" {\n  address = env("Consul")\n  token = env("ConsulToken")\n}\n\noutput "topics"',
    )
    assert [line for line in shown(place) if "ConsulToken is named here" in line]

    await params(place / "sluice.hcl", place / "infra", check=False)

    assert shown(place) == []


def test_every_rule_of_the_baseline_has_a_broken_template():
    broken_here = {expected.partition(":")[0] for *_, expected in CASES}

    assert {demand.rule for demand in DEMANDS} | RULES.keys() <= broken_here


def test_the_condition_for_pipelines_allows_the_listed_roles_and_no_other(original):
    text = (original / "docs/security.md").read_text()
    condition = text.partition("ActionMatches")[2].partition("```")[0]

    assert set(re.findall(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", condition)) == ROLE_IDS.keys()


def test_a_finding_names_the_line(broken):
    place = broken("infra/modules/namespace.bicep", "disableLocalAuth: true", "disableLocalAuth: false")
    text = (place / "infra/modules/namespace.bicep").read_text().splitlines()
    line = text.index("    disableLocalAuth: false") + 1

    [found] = shown(place)

    assert found.startswith(f"infra/modules/namespace.bicep:{line}: no-keys-service-bus: ")


def test_the_command_prints_findings_and_fails(broken, capsys, monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("BICEP", raising=False)
    place = broken("infra/modules/functionapp.bicep", "httpsOnly: true", "httpsOnly: false")

    assert main([str(place)]) == 1
    assert "https-only: properties.httpsOnly of app has to be true; it is false" in capsys.readouterr().out


def test_the_command_says_what_it_looked_at(original, capsys, monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("BICEP", raising=False)

    assert main([str(original)]) == 0
    assert re.search(r"\d+ templates, \d+ resources: nothing to object to", capsys.readouterr().out)


def test_the_command_prints_its_rules(capsys):
    assert main(["--rules"]) == 0
    assert "no-keys-service-bus" in capsys.readouterr().out
