// The queues, and the first topics; `sluice topics sync` and the timer sync_topics create the others alike.
param namespaceName string
param ingestQueue string
param rejectedQueue string
param topics array
param topicMegabytes int
param subscriptionName string
param subscriptionExpiry string

var never = 'P10675199DT2H48M5.4775807S'

resource namespace 'Microsoft.ServiceBus/namespaces@2024-01-01' existing = {
  name: namespaceName
}

// No duplicate detection: a message id that is used again could drop new changes, and marks cover repeats.
resource ingest 'Microsoft.ServiceBus/namespaces/queues@2024-01-01' = {
  parent: namespace
  name: ingestQueue
  properties: {
    requiresSession: true
    requiresDuplicateDetection: false
    enablePartitioning: false
    lockDuration: 'PT1M'
    maxDeliveryCount: 100
    defaultMessageTimeToLive: never
    deadLetteringOnMessageExpiration: false
    maxSizeInMegabytes: 5120
  }
}

resource rejected 'Microsoft.ServiceBus/namespaces/queues@2024-01-01' = {
  parent: namespace
  name: rejectedQueue
  properties: {
    requiresSession: false
    requiresDuplicateDetection: false
    enablePartitioning: false
    lockDuration: 'PT1M'
    maxDeliveryCount: 10
    defaultMessageTimeToLive: never
    deadLetteringOnMessageExpiration: false
    maxSizeInMegabytes: 5120
  }
}

resource firstTopics 'Microsoft.ServiceBus/namespaces/topics@2024-01-01' = [for topic in topics: {
  parent: namespace
  name: topic
  properties: {
    supportOrdering: true
    requiresDuplicateDetection: true
    duplicateDetectionHistoryTimeWindow: 'PT1H'
    enablePartitioning: false
    defaultMessageTimeToLive: never
    maxSizeInMegabytes: topicMegabytes
  }
}]

// What nobody takes goes to the dead letters, which fill the topic like any other message.
resource subscriptions 'Microsoft.ServiceBus/namespaces/topics/subscriptions@2024-01-01' = [for (topic, i) in topics: {
  parent: firstTopics[i]
  name: subscriptionName
  properties: {
    requiresSession: false
    lockDuration: 'PT1M'
    maxDeliveryCount: 10
    defaultMessageTimeToLive: subscriptionExpiry
    deadLetteringOnMessageExpiration: true
  }
}]

output ingestQueue string = ingest.name
