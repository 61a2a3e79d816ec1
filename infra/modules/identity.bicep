// Who the app is to Azure, and who it is while it creates topics. Neither has a secret.
param appName string
param topicsName string
param location string
param tags object

resource app 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' = {
  name: appName
  location: location
  tags: tags
}

resource topics 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' = {
  name: topicsName
  location: location
  tags: tags
}

output appId string = app.id
output appName string = app.name
output appPrincipalId string = app.properties.principalId
output appClientId string = app.properties.clientId
output topicsId string = topics.id
output topicsName string = topics.name
output topicsPrincipalId string = topics.properties.principalId
output topicsClientId string = topics.properties.clientId
