// A virtual network that the app goes out through, and a private endpoint for each service that it reaches.
param networkName string
param subnetPrefix string
param securityGroupName string
param endpointPrefix string
param addressPrefix string
param hostAccountName string
param stateAccountName string
param vaultName string
param namespaceNames array
param serviceBusSuffix string
param location string
param tags object

var storageSuffix = environment().suffixes.storage
var targets = concat([
  {
    name: '${hostAccountName}-blob'
    id: resourceId('Microsoft.Storage/storageAccounts', hostAccountName)
    service: 'blob'
    zone: 0
  }
  {
    name: '${stateAccountName}-blob'
    id: resourceId('Microsoft.Storage/storageAccounts', stateAccountName)
    service: 'blob'
    zone: 0
  }
  {
    name: '${stateAccountName}-table'
    id: resourceId('Microsoft.Storage/storageAccounts', stateAccountName)
    service: 'table'
    zone: 1
  }
  {
    name: vaultName
    id: resourceId('Microsoft.KeyVault/vaults', vaultName)
    service: 'vault'
    zone: 2
  }
], map(namespaceNames, name => {
  name: name
  id: resourceId('Microsoft.ServiceBus/namespaces', name)
  service: 'namespace'
  zone: 3
}))
var zoneNames = [
  'privatelink.blob.${storageSuffix}'
  'privatelink.table.${storageSuffix}'
  'privatelink${replace(environment().suffixes.keyvaultDns, '.vault.', '.vaultcore.')}'
  'privatelink.${serviceBusSuffix}'
]

// Its default rules let nothing in from the internet.
resource securityGroup 'Microsoft.Network/networkSecurityGroups@2024-05-01' = {
  name: securityGroupName
  location: location
  tags: tags
}

resource network 'Microsoft.Network/virtualNetworks@2024-05-01' = {
  name: networkName
  location: location
  tags: tags
  properties: {
    addressSpace: {
      addressPrefixes: [
        addressPrefix
      ]
    }
    subnets: [
      {
        name: '${subnetPrefix}app'
        properties: {
          addressPrefix: cidrSubnet(addressPrefix, 26, 0)
          networkSecurityGroup: {
            id: securityGroup.id
          }
          delegations: [
            {
              name: 'flex-consumption'
              properties: {
                serviceName: 'Microsoft.App/environments'
              }
            }
          ]
        }
      }
      {
        name: '${subnetPrefix}endpoints'
        properties: {
          addressPrefix: cidrSubnet(addressPrefix, 26, 1)
          networkSecurityGroup: {
            id: securityGroup.id
          }
          privateEndpointNetworkPolicies: 'Enabled'
        }
      }
    ]
  }
}

resource zones 'Microsoft.Network/privateDnsZones@2024-06-01' = [for zone in zoneNames: {
  name: zone
  location: 'global'
  tags: tags
}]

resource links 'Microsoft.Network/privateDnsZones/virtualNetworkLinks@2024-06-01' = [for (zone, i) in zoneNames: {
  parent: zones[i]
  name: networkName
  location: 'global'
  tags: tags
  properties: {
    registrationEnabled: false
    virtualNetwork: {
      id: network.id
    }
  }
}]

resource endpoints 'Microsoft.Network/privateEndpoints@2024-05-01' = [for target in targets: {
  name: '${endpointPrefix}${target.name}'
  location: location
  tags: tags
  properties: {
    subnet: {
      id: network.properties.subnets[1].id
    }
    privateLinkServiceConnections: [
      {
        name: target.name
        properties: {
          privateLinkServiceId: target.id
          groupIds: [
            target.service
          ]
        }
      }
    ]
  }
}]

resource zoneGroups 'Microsoft.Network/privateEndpoints/privateDnsZoneGroups@2024-05-01' = [for (target, i) in targets: {
  parent: endpoints[i]
  name: 'default'
  properties: {
    privateDnsZoneConfigs: [
      {
        name: target.service
        properties: {
          privateDnsZoneId: zones[target.zone].id
        }
      }
    ]
  }
}]

output appSubnetId string = network.properties.subnets[0].id
