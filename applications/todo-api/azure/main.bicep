// Everything of one deployment but its resource group, in which it lies and with which it goes.
metadata description = 'sb todo-api: Azure Functions (a custom handler) -> Azure Table Storage'

@description('Part of every name; drawn anew for each deployment')
@minLength(1)
@maxLength(14)
param deployId string

param location string = resourceGroup().location

// Those of the group, by which a cleanup finds what is left.
var tags = resourceGroup().tags
var connection = 'DefaultEndpointsProtocol=https;AccountName=${storage.name};AccountKey=${storage.listKeys().keys[0].value};EndpointSuffix=${environment().suffixes.storage}'

resource storage 'Microsoft.Storage/storageAccounts@2023-05-01' = {
  name: 'sbtodo${deployId}'
  location: location
  tags: tags
  sku: { name: 'Standard_LRS' }
  kind: 'StorageV2'
  properties: {
    minimumTlsVersion: 'TLS1_2'
    supportsHttpsTrafficOnly: true
    allowBlobPublicAccess: false
  }
}

resource tables 'Microsoft.Storage/storageAccounts/tableServices@2023-05-01' = {
  parent: storage
  name: 'default'
}

resource todos 'Microsoft.Storage/storageAccounts/tableServices/tables@2023-05-01' = {
  parent: tables
  name: 'todos'
}

resource workspace 'Microsoft.OperationalInsights/workspaces@2023-09-01' = {
  name: 'sb-todo-${deployId}'
  location: location
  tags: tags
  properties: {
    sku: { name: 'PerGB2018' }
    retentionInDays: 30
  }
}

resource insights 'Microsoft.Insights/components@2020-02-02' = {
  name: 'sb-todo-${deployId}'
  location: location
  tags: tags
  kind: 'web'
  properties: {
    Application_Type: 'web'
    WorkspaceResourceId: workspace.id
  }
}

// The consumption plan on Linux.
resource plan 'Microsoft.Web/serverfarms@2023-12-01' = {
  name: 'sb-todo-${deployId}'
  location: location
  tags: tags
  kind: 'linux'
  sku: { name: 'Y1', tier: 'Dynamic' }
  properties: { reserved: true }
}

resource functions 'Microsoft.Web/sites@2023-12-01' = {
  name: 'sb-todo-${deployId}'
  location: location
  tags: tags
  kind: 'functionapp,linux'
  properties: {
    serverFarmId: plan.id
    httpsOnly: true
    siteConfig: {
      ftpsState: 'Disabled'
      minTlsVersion: '1.2'
      appSettings: [
        { name: 'AzureWebJobsStorage', value: connection }
        { name: 'FUNCTIONS_EXTENSION_VERSION', value: '~4' }
        { name: 'FUNCTIONS_WORKER_RUNTIME', value: 'custom' }
        { name: 'APPLICATIONINSIGHTS_CONNECTION_STRING', value: insights.properties.ConnectionString }
        { name: 'TABLE_CONNECTION', value: connection }
        { name: 'TABLE_NAME', value: todos.name }
      ]
    }
  }
}

output endpoint string = 'https://${functions.properties.defaultHostName}'
output app_insights_id string = insights.properties.AppId
