using 'main.bicep'

param environmentName = readEnvironmentVariable('AZURE_ENV_NAME', 'sluice')
param location = readEnvironmentVariable('AZURE_LOCATION', 'westeurope')
param secrets = [
  'SqlServer'
]
param secretValues = {
  SqlServer: readEnvironmentVariable('SqlServer', '')
}
