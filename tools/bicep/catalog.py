"""The types of resources that the templates use: the API version to name, and the class that describes each one.

The class is that of Microsoft's own Python package, which is made from the same description as the service; it may be
newer than the API version, which stays one that every region has.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Described:
    """An API version; a class as `module:Class`; the properties that have to be there beside those it says."""

    version: str
    model: str
    required: tuple[str, ...] = ()


_AUTHORIZATION = "azure.mgmt.authorization.v2022_04_01.models"
_MONITOR = "azure.mgmt.monitor.v2021_05_01_preview.models"

TYPES = {
    "Microsoft.Authorization/roleAssignments": Described(
        "2022-04-01", f"{_AUTHORIZATION}:RoleAssignmentCreateParameters"
    ),
    "Microsoft.Authorization/roleDefinitions": Described("2022-04-01", f"{_AUTHORIZATION}:RoleDefinition"),
    "Microsoft.Insights/components": Described(
        "2020-02-02", "azure.mgmt.applicationinsights.v2020_02_02.models:ApplicationInsightsComponent"
    ),
    "Microsoft.Insights/diagnosticSettings": Described(
        "2021-05-01-preview", f"{_MONITOR}:DiagnosticSettingsResource", ("properties",)
    ),
    "Microsoft.KeyVault/vaults": Described("2024-11-01", "azure.mgmt.keyvault.models:VaultCreateOrUpdateParameters"),
    "Microsoft.KeyVault/vaults/secrets": Described(
        "2024-11-01", "azure.mgmt.keyvault.models:SecretCreateOrUpdateParameters"
    ),
    "Microsoft.ManagedIdentity/userAssignedIdentities": Described(
        "2024-11-30", "azure.mgmt.msi.v2024_11_30.models:Identity"
    ),
    "Microsoft.Network/networkSecurityGroups": Described(
        "2024-05-01", "azure.mgmt.network.models:NetworkSecurityGroup", ("location",)
    ),
    "Microsoft.Network/privateDnsZones": Described(
        "2024-06-01", "azure.mgmt.privatedns.models:PrivateZone", ("location",)
    ),
    "Microsoft.Network/privateDnsZones/virtualNetworkLinks": Described(
        "2024-06-01", "azure.mgmt.privatedns.models:VirtualNetworkLink", ("location", "properties")
    ),
    "Microsoft.Network/privateEndpoints": Described(
        "2024-05-01", "azure.mgmt.network.models:PrivateEndpoint", ("location", "properties")
    ),
    "Microsoft.Network/privateEndpoints/privateDnsZoneGroups": Described(
        "2024-05-01", "azure.mgmt.network.models:PrivateDnsZoneGroup", ("properties",)
    ),
    "Microsoft.Network/virtualNetworks": Described(
        "2024-05-01", "azure.mgmt.network.models:VirtualNetwork", ("location", "properties")
    ),
    "Microsoft.OperationalInsights/workspaces": Described("2025-02-01", "azure.mgmt.loganalytics.models:Workspace"),
    "Microsoft.Resources/resourceGroups": Described("2025-04-01", "azure.mgmt.resource.resources.models:ResourceGroup"),
    "Microsoft.ServiceBus/namespaces": Described("2024-01-01", "azure.mgmt.servicebus.models:SBNamespace"),
    "Microsoft.ServiceBus/namespaces/queues": Described("2024-01-01", "azure.mgmt.servicebus.models:SBQueue"),
    "Microsoft.ServiceBus/namespaces/topics": Described("2024-01-01", "azure.mgmt.servicebus.models:SBTopic"),
    "Microsoft.ServiceBus/namespaces/topics/subscriptions": Described(
        "2024-01-01", "azure.mgmt.servicebus.models:SBSubscription"
    ),
    "Microsoft.Storage/storageAccounts": Described(
        "2025-01-01", "azure.mgmt.storage.models:StorageAccountCreateParameters"
    ),
    "Microsoft.Storage/storageAccounts/blobServices": Described(
        "2025-01-01", "azure.mgmt.storage.models:BlobServiceProperties"
    ),
    "Microsoft.Storage/storageAccounts/blobServices/containers": Described(
        "2025-01-01", "azure.mgmt.storage.models:BlobContainer"
    ),
    "Microsoft.Storage/storageAccounts/managementPolicies": Described(
        "2025-01-01", "azure.mgmt.storage.models:ManagementPolicy", ("properties",)
    ),
    "Microsoft.Storage/storageAccounts/tableServices": Described(
        "2025-01-01", "azure.mgmt.storage.models:TableServiceProperties"
    ),
    "Microsoft.Storage/storageAccounts/tableServices/tables": Described(
        "2025-01-01", "azure.mgmt.storage.models:Table"
    ),
    "Microsoft.Web/serverfarms": Described("2024-04-01", "azure.mgmt.web.models:AppServicePlan"),
    "Microsoft.Web/sites": Described("2024-04-01", "azure.mgmt.web.models:Site", ("properties",)),
    "Microsoft.Web/sites/basicPublishingCredentialsPolicies": Described(
        "2024-04-01", "azure.mgmt.web.models:CsmPublishingCredentialsPoliciesEntity", ("properties",)
    ),
    "Microsoft.Web/sites/config": Described("2024-04-01", "azure.mgmt.web.models:StringDictionary", ("properties",)),
}

READ = {
    "Microsoft.KeyVault/vaults": "azure.mgmt.keyvault.models:Vault",
    "Microsoft.Storage/storageAccounts": "azure.mgmt.storage.models:StorageAccount",
}
"""What a resource says when it is there, where that is another class than the one that creates it."""
