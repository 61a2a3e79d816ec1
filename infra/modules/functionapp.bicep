// The function app on its own Flex Consumption plan, and the app settings that the code and the host read.
param name string
param planName string
param appIdentityId string
param appClientId string
param topicsIdentityId string
param topicsClientId string
param hostAccountName string
param packageContainer string
param stateAccountName string
param vaultName string
param insightsName string
param namespaceNames array
param serviceBusSuffix string

@description('Subnet that the app goes out through; none when empty.')
param subnetId string
param zoneRedundant bool
param instanceMemoryMB int
param maximumInstanceCount int
param deliverInstances int
param captureInstances int
param shards int
param configFile string
param ingestQueue string
param captureSchedule string
param syncTopics bool
param topicsSchedule string
param secrets array
param logLevel string
param location string
param tags object

// A plan over zones takes no fewer than two of each.
var deliverReady = deliverInstances > 0 && zoneRedundant ? max(deliverInstances, 2) : deliverInstances
var captureReady = captureInstances > 0 && zoneRedundant ? max(captureInstances, 2) : captureInstances
var alwaysReady = concat(
  deliverReady > 0 ? [
    {
      name: 'function:deliver'
      instanceCount: deliverReady
    }
  ] : [],
  captureReady > 0 ? map(range(0, shards), shard => {
    name: shard == 0 ? 'function:capture' : 'function:capture_${shard}'
    instanceCount: captureReady
  }) : []
)
var further = skip(namespaceNames, 1)
var furtherHosts = toObject(range(0, length(further)), i => 'ServiceBus${i + 2}__fullyQualifiedNamespace', i => '${further[i]}.${serviceBusSuffix}')
var furtherClients = toObject(range(0, length(further)), i => 'ServiceBus${i + 2}__clientId', i => appClientId)
var secretReferences = toObject(secrets, secret => secret, secret => '@Microsoft.KeyVault(SecretUri=https://${vaultName}${environment().suffixes.keyvaultDns}/secrets/${replace(secret, '_', '-')})')

resource hostAccount 'Microsoft.Storage/storageAccounts@2025-01-01' existing = {
  name: hostAccountName
}

resource stateAccount 'Microsoft.Storage/storageAccounts@2025-01-01' existing = {
  name: stateAccountName
}

resource insights 'Microsoft.Insights/components@2020-02-02' existing = {
  name: insightsName
}

resource plan 'Microsoft.Web/serverfarms@2024-04-01' = {
  name: planName
  location: location
  tags: tags
  kind: 'functionapp'
  sku: {
    name: 'FC1'
    tier: 'FlexConsumption'
  }
  properties: {
    reserved: true
    zoneRedundant: zoneRedundant
  }
}

resource app 'Microsoft.Web/sites@2024-04-01' = {
  name: name
  location: location
  tags: union(tags, {
    'azd-service-name': 'app'
  })
  kind: 'functionapp,linux'
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: union({
      '${appIdentityId}': {}
    }, syncTopics ? {
      '${topicsIdentityId}': {}
    } : {})
  }
  properties: {
    serverFarmId: plan.id
    httpsOnly: true
    keyVaultReferenceIdentity: appIdentityId
    virtualNetworkSubnetId: empty(subnetId) ? null : subnetId
    siteConfig: {
      minTlsVersion: '1.2'
      scmMinTlsVersion: '1.2'
    }
    functionAppConfig: {
      deployment: {
        storage: {
          type: 'blobContainer'
          value: '${hostAccount.properties.primaryEndpoints.blob}${packageContainer}'
          authentication: {
            type: 'UserAssignedIdentity'
            userAssignedIdentityResourceId: appIdentityId
          }
        }
      }
      runtime: {
        name: 'python'
        version: '3.13'
      }
      scaleAndConcurrency: {
        instanceMemoryMB: instanceMemoryMB
        maximumInstanceCount: maximumInstanceCount
        alwaysReady: alwaysReady
      }
    }
  }
}

// Publishing takes a token of Microsoft Entra, never a password.
resource noFtpPassword 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2024-04-01' = {
  parent: app
  name: 'ftp'
  properties: {
    allow: false
  }
}

resource noScmPassword 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2024-04-01' = {
  parent: app
  name: 'scm'
  properties: {
    allow: false
  }
}

resource settings 'Microsoft.Web/sites/config@2024-04-01' = {
  parent: app
  name: 'appsettings'
  properties: union({
    AzureWebJobsStorage__blobServiceUri: hostAccount.properties.primaryEndpoints.blob
    AzureWebJobsStorage__credential: 'managedidentity'
    AzureWebJobsStorage__clientId: appClientId
    StateStorage__blobServiceUri: stateAccount.properties.primaryEndpoints.blob
    StateStorage__tableServiceUri: stateAccount.properties.primaryEndpoints.table
    StateStorage__clientId: appClientId
    ServiceBus__fullyQualifiedNamespace: '${namespaceNames[0]}.${serviceBusSuffix}'
    ServiceBus__credential: 'managedidentity'
    ServiceBus__clientId: appClientId
    TopicAdmin__clientId: topicsClientId
    APPLICATIONINSIGHTS_CONNECTION_STRING: insights.properties.ConnectionString
    APPLICATIONINSIGHTS_AUTHENTICATION_STRING: 'ClientId=${appClientId};Authorization=AAD'
    INGEST_QUEUE: ingestQueue
    CAPTURE_SCHEDULE: captureSchedule
    TOPICS_SCHEDULE: topicsSchedule
    'AzureWebJobs.sync_topics.Disabled': syncTopics ? 'false' : 'true'
    SLUICE_CONFIG: configFile
    SLUICE_LOG_LEVEL: logLevel
    SLUICE_LOG_FORMAT: 'json'
  }, furtherHosts, furtherClients, secretReferences)
}

output name string = app.name
output uri string = 'https://${app.properties.defaultHostName}'
