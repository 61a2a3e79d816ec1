// Secrets of sources. Access is by role alone; what is deleted stays for 90 days.
param name string
param secrets array

@secure()
param secretValues object
param closed bool
param workspaceId string
param location string
param tags object

var given = filter(secrets, secret => !empty(secretValues[?secret] ?? ''))

resource vault 'Microsoft.KeyVault/vaults@2024-11-01' = {
  name: name
  location: location
  tags: tags
  properties: {
    tenantId: subscription().tenantId
    sku: {
      family: 'A'
      name: 'standard'
    }
    enableRbacAuthorization: true
    enableSoftDelete: true
    softDeleteRetentionInDays: 90
    enablePurgeProtection: true
    enabledForDeployment: false
    enabledForDiskEncryption: false
    enabledForTemplateDeployment: false
    publicNetworkAccess: closed ? 'Disabled' : 'Enabled'
    networkAcls: {
      bypass: 'AzureServices'
      defaultAction: closed ? 'Deny' : 'Allow'
    }
  }
}

resource values 'Microsoft.KeyVault/vaults/secrets@2024-11-01' = [for secret in given: {
  parent: vault
  name: replace(secret, '_', '-')
  properties: {
    contentType: 'app setting'
    value: secretValues[secret]
  }
}]

resource logs 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  scope: vault
  name: 'to-workspace'
  properties: {
    workspaceId: workspaceId
    logs: [
      {
        categoryGroup: 'allLogs'
        enabled: true
      }
    ]
    metrics: [
      {
        category: 'AllMetrics'
        enabled: true
      }
    ]
  }
}

output name string = vault.name
