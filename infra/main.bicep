// Everything that Sluice needs in a subscription: a resource group, and in it the function app with what it works on.
targetScope = 'subscription'

@description('Names the environment; every name of a resource follows from it.')
@minLength(1)
@maxLength(64)
param environmentName string

@description('Region of everything.')
@minLength(1)
@metadata({
  azd: {
    type: 'location'
  }
})
param location string

@description('Resource group; named after the environment when empty.')
@maxLength(90)
param resourceGroupName string = ''

@description('Tags of everything, beside azd-env-name.')
param tags object = {}

@description('Tier of the namespaces. Premium for messages over 256 KB and high rates; private networking forces it.')
@allowed([
  'Standard'
  'Premium'
])
param serviceBusSku string = 'Standard'

@description('Messaging units of each Premium namespace.')
@allowed([
  1
  2
  4
  8
  16
])
param messagingUnits int = 1

@description('Further namespaces for topics, by name (6 to 50 characters, unique in Azure).')
param extraServiceBusNamespaces array = []

@description('DNS suffix of Service Bus in this cloud.')
param serviceBusSuffix string = 'servicebus.windows.net'

@description('Virtual network, private endpoints, and no public access to storage, Service Bus and Key Vault.')
param privateNetworking bool = false

@description('Address space of the virtual network; a /24 or larger.')
param addressPrefix string = '10.40.0.0/24'

@description('Spread over availability zones; the region must have them. Keeps two instances of each always-ready one.')
param zoneRedundant bool = false

@description('Replication of the account with checkpoints and claims; ZRS needs a region with zones.')
@allowed([
  'LRS'
  'ZRS'
  'GRS'
  'GZRS'
])
param stateReplication string = 'ZRS'

@description('Memory of an instance in MB.')
@allowed([
  512
  2048
  4096
])
param instanceMemoryMB int = 512

@description('Most instances that the app may have.')
@minValue(40)
@maxValue(1000)
param maximumInstanceCount int = 40

@description('Always-ready instances of deliver; 0 means on demand.')
@minValue(0)
@maxValue(100)
param deliverInstances int = 0

@description('Always-ready instances of each capture timer; 0 means on demand.')
@minValue(0)
@maxValue(1)
param captureInstances int = 0

@description('Capture timers, as capture.shards of the configuration file says.')
@minValue(1)
@maxValue(16)
param shards int = 1

@description('Configuration file in the package.')
param configFile string = 'sluice.hcl'

@description('Queue between capture and deliver.')
param ingestQueue string = 'ingest-queue'

@description('Queue of events that can never be delivered.')
param rejectedQueue string = 'rejected'

@description('First topics; the timer sync_topics creates what the configuration names besides.')
param topics array = []

@description('Subscription of each topic.')
@minLength(1)
@maxLength(50)
param subscriptionName string = 'sub1'

@description('Size of a topic in MB.')
@allowed([
  1024
  2048
  3072
  4096
  5120
  10240
  20480
  40960
  81920
])
param topicMegabytes int = 5120

@description('How long a subscription keeps a message that nobody takes, before it is dead-lettered: ISO 8601.')
param subscriptionExpiry string = 'P14D'

@description('Table of states and marks.')
param stateTable string = 'sluice'

@description('Container with one leased blob per capture timer.')
param leaseContainer string = 'leases'

@description('Container of bodies that are too large for a message.')
param claimsContainer string = 'claims'

@description('Container of what sources without a log remember.')
param memoContainer string = 'memos'

@description('Days after which a claim is deleted; longer than any consumer needs.')
@minValue(1)
@maxValue(3650)
param claimExpiryDays int = 30

@description('Schedule of capture: NCRONTAB with seconds.')
param captureSchedule string = '*/15 * * * * *'

@description('Whether the app creates the topics that the configuration names, with an identity of its own.')
param syncTopics bool = true

@description('Schedule of sync_topics: NCRONTAB with seconds.')
param topicsSchedule string = '0 */5 * * * *'

@description('App settings that are references to Key Vault secrets of the same name, _ written as -.')
param secrets array = [
  'SqlServer'
]

@description('Values of secrets, by app setting; one that is missing or empty is left as it is in the vault.')
@secure()
param secretValues object = {}

@description('Level of the log.')
@allowed([
  'debug'
  'info'
  'warn'
  'error'
])
param logLevel string = 'info'

@description('Days that logs are kept.')
@minValue(30)
@maxValue(730)
param logRetentionDays int = 30

@description('Whether every call of the state is logged, for what docs/deploy.md says; what is deleted is logged anyhow.')
param auditState bool = false

@description('Role that may read the length of the ingest queue; created when empty, which needs the right to do so.')
param scalingRoleId string = ''

var abbreviations = loadJsonContent('abbreviations.json')
var token = toLower(uniqueString(subscription().id, environmentName, location))
var allTags = union(tags, {
  'azd-env-name': environmentName
})
var packageContainer = 'app-package'
var sku = privateNetworking ? 'Premium' : serviceBusSku
var namespaceNames = concat([
  '${abbreviations.serviceBusNamespaces}${token}'
], extraServiceBusNamespaces)

resource group 'Microsoft.Resources/resourceGroups@2025-04-01' = {
  name: empty(resourceGroupName) ? '${abbreviations.resourcesResourceGroups}${environmentName}' : resourceGroupName
  location: location
  tags: allTags
}

module identity 'modules/identity.bicep' = {
  scope: group
  name: 'identity'
  params: {
    appName: '${abbreviations.managedIdentityUserAssignedIdentities}app-${token}'
    topicsName: '${abbreviations.managedIdentityUserAssignedIdentities}topics-${token}'
    location: location
    tags: allTags
  }
}

module monitoring 'modules/monitoring.bicep' = {
  scope: group
  name: 'monitoring'
  params: {
    workspaceName: '${abbreviations.operationalInsightsWorkspaces}${token}'
    insightsName: '${abbreviations.insightsComponents}${token}'
    retentionDays: logRetentionDays
    location: location
    tags: allTags
  }
}

// The host may do anything in its account; checkpoints are therefore in another one.
module hostStorage 'modules/storage.bicep' = {
  scope: group
  name: 'hostStorage'
  params: {
    name: '${abbreviations.storageStorageAccounts}host${token}'
    replication: zoneRedundant ? 'ZRS' : 'LRS'
    containers: [
      packageContainer
    ]
    audited: true
    closed: privateNetworking
    workspaceId: monitoring.outputs.workspaceId
    location: location
    tags: union(allTags, {
      'resource-usage': 'azure-functions'
    })
  }
}

module stateStorage 'modules/storage.bicep' = {
  scope: group
  name: 'stateStorage'
  params: {
    name: '${abbreviations.storageStorageAccounts}state${token}'
    replication: stateReplication
    containers: [
      leaseContainer
      claimsContainer
      memoContainer
    ]
    tables: [
      stateTable
    ]
    expiringContainer: claimsContainer
    expiryDays: claimExpiryDays
    audited: auditState
    closed: privateNetworking
    workspaceId: monitoring.outputs.workspaceId
    location: location
    tags: allTags
  }
}

module namespaces 'modules/namespace.bicep' = [for name in namespaceNames: {
  scope: group
  name: 'namespace-${name}'
  params: {
    name: name
    sku: sku
    messagingUnits: messagingUnits
    zoneRedundant: zoneRedundant
    closed: privateNetworking
    workspaceId: monitoring.outputs.workspaceId
    location: location
    tags: allTags
  }
}]

module entities 'modules/entities.bicep' = {
  scope: group
  name: 'entities'
  params: {
    namespaceName: namespaces[0].outputs.name
    ingestQueue: ingestQueue
    rejectedQueue: rejectedQueue
    topics: topics
    topicMegabytes: topicMegabytes
    subscriptionName: subscriptionName
    subscriptionExpiry: subscriptionExpiry
  }
}

module keyVault 'modules/keyvault.bicep' = {
  scope: group
  name: 'keyVault'
  params: {
    name: '${abbreviations.keyVaultVaults}${token}'
    secrets: secrets
    secretValues: secretValues
    closed: privateNetworking
    workspaceId: monitoring.outputs.workspaceId
    location: location
    tags: allTags
  }
}

module network 'modules/network.bicep' = if (privateNetworking) {
  scope: group
  name: 'network'
  params: {
    networkName: '${abbreviations.networkVirtualNetworks}${token}'
    subnetPrefix: abbreviations.networkSubnets
    securityGroupName: '${abbreviations.networkNetworkSecurityGroups}${token}'
    endpointPrefix: abbreviations.networkPrivateEndpoints
    addressPrefix: addressPrefix
    hostAccountName: hostStorage.outputs.name
    stateAccountName: stateStorage.outputs.name
    vaultName: keyVault.outputs.name
    namespaceNames: namespaceNames
    serviceBusSuffix: serviceBusSuffix
    location: location
    tags: allTags
  }
  dependsOn: [
    namespaces
  ]
}

module roles 'modules/roles.bicep' = {
  scope: group
  name: 'roles'
  params: {
    appPrincipalId: identity.outputs.appPrincipalId
    topicsPrincipalId: identity.outputs.topicsPrincipalId
    syncTopics: syncTopics
    scalingRoleId: scalingRoleId
    namespaceNames: namespaceNames
    ingestQueueName: entities.outputs.ingestQueue
    hostAccountName: hostStorage.outputs.name
    stateAccountName: stateStorage.outputs.name
    stateTableName: stateTable
    leaseContainerName: leaseContainer
    claimsContainerName: claimsContainer
    memoContainerName: memoContainer
    vaultName: keyVault.outputs.name
    insightsName: monitoring.outputs.insightsName
  }
  dependsOn: [
    namespaces
  ]
}

module app 'modules/functionapp.bicep' = {
  scope: group
  name: 'app'
  params: {
    name: '${abbreviations.webSitesFunctions}${token}'
    planName: '${abbreviations.webServerFarms}${token}'
    appIdentityId: identity.outputs.appId
    appClientId: identity.outputs.appClientId
    topicsIdentityId: identity.outputs.topicsId
    topicsClientId: identity.outputs.topicsClientId
    hostAccountName: hostStorage.outputs.name
    packageContainer: packageContainer
    stateAccountName: stateStorage.outputs.name
    vaultName: keyVault.outputs.name
    insightsName: monitoring.outputs.insightsName
    namespaceNames: namespaceNames
    serviceBusSuffix: serviceBusSuffix
    subnetId: privateNetworking ? network!.outputs.appSubnetId : ''
    zoneRedundant: zoneRedundant
    instanceMemoryMB: instanceMemoryMB
    maximumInstanceCount: maximumInstanceCount
    deliverInstances: deliverInstances
    captureInstances: captureInstances
    shards: shards
    configFile: configFile
    ingestQueue: ingestQueue
    captureSchedule: captureSchedule
    syncTopics: syncTopics
    topicsSchedule: topicsSchedule
    secrets: secrets
    logLevel: logLevel
    location: location
    tags: allTags
  }
  // A host that starts before it may read its storage and its secrets stays broken for minutes.
  dependsOn: [
    roles
  ]
}

output AZURE_LOCATION string = location
output AZURE_TENANT_ID string = subscription().tenantId
output AZURE_RESOURCE_GROUP string = group.name
output SERVICE_APP_NAME string = app.outputs.name
output SERVICE_APP_URI string = app.outputs.uri
output APP_IDENTITY_NAME string = identity.outputs.appName
output APP_IDENTITY_CLIENT_ID string = identity.outputs.appClientId
output TOPICS_IDENTITY_NAME string = identity.outputs.topicsName
output TOPICS_IDENTITY_CLIENT_ID string = identity.outputs.topicsClientId
output SERVICE_BUS_NAMESPACE string = '${namespaceNames[0]}.${serviceBusSuffix}'
output SERVICE_BUS_NAMESPACES array = [for name in namespaceNames: '${name}.${serviceBusSuffix}']
output INGEST_QUEUE string = ingestQueue
output STATE_STORAGE_ACCOUNT string = stateStorage.outputs.name
output HOST_STORAGE_ACCOUNT string = hostStorage.outputs.name
output KEY_VAULT_NAME string = keyVault.outputs.name
output SCALING_ROLE_ID string = roles.outputs.scalingRoleId
