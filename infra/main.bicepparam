using 'main.bicep'

param environmentName = readEnvironmentVariable('AZURE_ENV_NAME', 'sluice')
param location = readEnvironmentVariable('AZURE_LOCATION', 'westeurope')
param scalingRoleId = readEnvironmentVariable('SCALING_ROLE_ID', '')
param secrets = [
  'SqlServer'
]
param secretValues = {
  SqlServer: readEnvironmentVariable('SqlServer', '')
}
