// Every role that Sluice's identities have, each as narrow as it can be. docs/security.md has the table with the reasons.
param appPrincipalId string
param topicsPrincipalId string
param syncTopics bool
param scalingRoleId string
param namespaceNames array
param ingestQueueName string
param hostAccountName string
param stateAccountName string
param stateTableName string
param leaseContainerName string
param claimsContainerName string
param memoContainerName string
param vaultName string
param insightsName string

var here = resourceGroup().id
var administered = syncTopics ? namespaceNames : []
var blobContributor = subscriptionResourceId('Microsoft.Authorization/roleDefinitions', 'ba92f5b4-2d11-453d-a403-e96b0029c9fe')
var blobOwner = subscriptionResourceId('Microsoft.Authorization/roleDefinitions', 'b7e6dc6d-f1e8-4753-8033-0f276bb0955b')
var metricsPublisher = subscriptionResourceId('Microsoft.Authorization/roleDefinitions', '3913510d-42f4-4e42-8a64-420c390055eb')
var secretsUser = subscriptionResourceId('Microsoft.Authorization/roleDefinitions', '4633458b-17de-408a-b874-0445c86b69e6')
var serviceBusOwner = subscriptionResourceId('Microsoft.Authorization/roleDefinitions', '090c5cfd-751d-490a-894a-3ce6f1109419')
var serviceBusReceiver = subscriptionResourceId('Microsoft.Authorization/roleDefinitions', '4f6d3b9b-027b-4f4c-9142-0e5a2a2247e0')
var serviceBusSender = subscriptionResourceId('Microsoft.Authorization/roleDefinitions', '69a216fc-b8fb-44d8-bc22-1f3c2cd27a39')
var tableContributor = subscriptionResourceId('Microsoft.Authorization/roleDefinitions', '0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3')

resource namespaces 'Microsoft.ServiceBus/namespaces@2024-01-01' existing = [for name in namespaceNames: {
  name: name
}]

resource ingestNamespace 'Microsoft.ServiceBus/namespaces@2024-01-01' existing = {
  name: namespaceNames[0]
}

resource ingestQueue 'Microsoft.ServiceBus/namespaces/queues@2024-01-01' existing = {
  parent: ingestNamespace
  name: ingestQueueName
}

resource hostAccount 'Microsoft.Storage/storageAccounts@2025-01-01' existing = {
  name: hostAccountName
}

resource stateAccount 'Microsoft.Storage/storageAccounts@2025-01-01' existing = {
  name: stateAccountName
}

resource stateTables 'Microsoft.Storage/storageAccounts/tableServices@2025-01-01' existing = {
  parent: stateAccount
  name: 'default'
}

resource stateTable 'Microsoft.Storage/storageAccounts/tableServices/tables@2025-01-01' existing = {
  parent: stateTables
  name: stateTableName
}

resource stateBlobs 'Microsoft.Storage/storageAccounts/blobServices@2025-01-01' existing = {
  parent: stateAccount
  name: 'default'
}

resource leaseContainer 'Microsoft.Storage/storageAccounts/blobServices/containers@2025-01-01' existing = {
  parent: stateBlobs
  name: leaseContainerName
}

resource claimsContainer 'Microsoft.Storage/storageAccounts/blobServices/containers@2025-01-01' existing = {
  parent: stateBlobs
  name: claimsContainerName
}

resource memoContainer 'Microsoft.Storage/storageAccounts/blobServices/containers@2025-01-01' existing = {
  parent: stateBlobs
  name: memoContainerName
}

resource vault 'Microsoft.KeyVault/vaults@2024-11-01' existing = {
  name: vaultName
}

resource insights 'Microsoft.Insights/components@2020-02-02' existing = {
  name: insightsName
}

// Without it the host guesses the length of the queue and scales late, silently.
resource scalingReader 'Microsoft.Authorization/roleDefinitions@2022-04-01' = if (empty(scalingRoleId)) {
  name: guid(here, 'scaling reader')
  properties: {
    roleName: 'Sluice scaling reader ${uniqueString(here)}'
    description: 'Reads the properties of Service Bus entities, such as the number of messages; no messages, no keys.'
    type: 'CustomRole'
    permissions: [
      {
        actions: [
          'Microsoft.ServiceBus/namespaces/*/read'
        ]
        notActions: []
        dataActions: []
        notDataActions: []
      }
    ]
    assignableScopes: [
      here
    ]
  }
}

resource receivesPacks 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: ingestQueue
  name: guid(ingestQueue.id, appPrincipalId, serviceBusReceiver)
  properties: {
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: serviceBusReceiver
  }
}

// Of the namespace: over the queue alone it would add nothing to what a receiver may read.
resource seesLength 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: ingestNamespace
  name: guid(ingestNamespace.id, appPrincipalId, 'scaling reader')
  properties: {
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: empty(scalingRoleId) ? scalingReader!.id : scalingRoleId
  }
}

resource sendsPacks 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: ingestQueue
  name: guid(ingestQueue.id, appPrincipalId, serviceBusSender)
  properties: {
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: serviceBusSender
  }
}

// Of the namespace and not of each topic: a subscription takes 4,000 assignments.
resource sendsEvents 'Microsoft.Authorization/roleAssignments@2022-04-01' = [for (name, i) in namespaceNames: {
  scope: namespaces[i]
  name: guid(namespaces[i].id, appPrincipalId, serviceBusSender)
  properties: {
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: serviceBusSender
  }
}]

resource createsTopics 'Microsoft.Authorization/roleAssignments@2022-04-01' = [for (name, i) in administered: {
  scope: namespaces[i]
  name: guid(namespaces[i].id, topicsPrincipalId, serviceBusOwner)
  properties: {
    principalId: topicsPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: serviceBusOwner
  }
}]

resource keepsState 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: stateTable
  name: guid(stateTable.id, appPrincipalId, tableContributor)
  properties: {
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: tableContributor
  }
}

resource holdsLeases 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: leaseContainer
  name: guid(leaseContainer.id, appPrincipalId, blobContributor)
  properties: {
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: blobContributor
  }
}

resource keepsClaims 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: claimsContainer
  name: guid(claimsContainer.id, appPrincipalId, blobContributor)
  properties: {
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: blobContributor
  }
}

resource keepsMemos 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: memoContainer
  name: guid(memoContainer.id, appPrincipalId, blobContributor)
  properties: {
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: blobContributor
  }
}

resource runsHost 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: hostAccount
  name: guid(hostAccount.id, appPrincipalId, blobOwner)
  properties: {
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: blobOwner
  }
}

resource readsSecrets 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: vault
  name: guid(vault.id, appPrincipalId, secretsUser)
  properties: {
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: secretsUser
  }
}

resource sendsTelemetry 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: insights
  name: guid(insights.id, appPrincipalId, metricsPublisher)
  properties: {
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: metricsPublisher
  }
}

output scalingRoleId string = empty(scalingRoleId) ? scalingReader!.id : scalingRoleId
