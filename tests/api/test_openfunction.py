"""The shapes that OpenFunction's users write are taken as they are, its whole vocabulary included."""

from __future__ import annotations

import io

import pytest

from api.documents import read

SHAPES = {
    "knative function with a build": """
apiVersion: core.openfunction.io/v1beta2
kind: Function
metadata: {name: shop-front}
spec:
  version: v2.0.0
  image: registry.example.com/shop/front:v1
  imageCredentials: {name: push-secret}
  workloadRuntime: OCIContainer
  build:
    builder: openfunction/builder-go:latest
    builderCredentials: {name: builder-pull}
    env: {FUNC_NAME: Front, FUNC_CLEAR_SOURCE: "true"}
    srcRepo: {url: https://git.example.com/shop.git, sourceSubPath: front, revision: main, credentials: {name: git}}
    shipwright:
      strategy: {name: buildah, kind: ClusterBuildStrategy}
      timeout: 10m
      params:
      - {name: plain, value: a}
      - {name: from-config, configMapValue: {name: c, key: k}}
      - {name: from-secret, secretValue: {name: s, key: k}}
      - {name: several, values: [{value: a}, {secretValue: {name: s, key: k}}]}
    dockerfile: Dockerfile
    timeout: 20m
    successfulBuildsHistoryLimit: 2
    failedBuildsHistoryLimit: 3
    builderMaxAge: 24h
  serving:
    scaleOptions: {minReplicas: 0, maxReplicas: 5, knative: {autoscaling.knative.dev/target: "10"}}
    template:
      containers:
      - name: function
        imagePullPolicy: IfNotPresent
        volumeMounts: [{name: data, mountPath: /data, readOnly: true}]
      - {name: sidecar, image: busybox, args: [sleep, inf], resources: {requests: {cpu: 10m}}}
      volumes: [{name: data, configMap: {name: settings}}]
    triggers:
      http:
        port: 8080
        engine: knative
        route:
          gatewayRef: {name: openfunction, namespace: openfunction}
          hostnames: [shop.example.com]
          rules: [{matches: [{path: {type: PathPrefix, value: /shop}, method: GET}]}]
""",
    "keda over http": """
apiVersion: core.openfunction.io/v1beta2
kind: Function
metadata: {name: waiter}
spec:
  image: a
  serving:
    triggers: {http: {engine: keda}}
    scaleOptions: {maxReplicas: 3, keda: {httpScaledObject: {targetPendingRequests: 10, cooldownPeriod: 30}}}
""",
    "bindings and outputs": """
apiVersion: core.openfunction.io/v1beta2
kind: Function
metadata: {name: clock}
spec:
  image: a
  serving:
    triggers: {dapr: [{name: tick, type: bindings.cron}]}
    outputs: [{dapr: {name: store, type: bindings.kafka, operation: create, metadata: {partitionKey: a}}}]
    bindings:
      tick: {type: bindings.cron, version: v1, metadata: [{name: schedule, value: "@every 2s"}]}
      store:
        type: bindings.kafka
        version: v1
        metadata:
        - {name: brokers, value: "kafka:9092"}
        - {name: authRequired, value: false}
        - {name: password, secretKeyRef: {name: kafka, key: password}}
""",
    "pubsub scaled on kafka": """
apiVersion: core.openfunction.io/v1beta2
kind: Function
metadata: {name: subscriber}
spec:
  image: a
  serving:
    workloadType: Deployment
    params: {LEVEL: info}
    labels: {team: shop}
    annotations: {dapr.io/app-protocol: http}
    timeout: 1m
    triggers:
      dapr: [{name: msg, topic: orders, type: pubsub.kafka, inputName: orders}]
      inputs: [{dapr: {name: cart, type: state.redis}}]
    pubsub: {msg: {type: pubsub.kafka, version: v1, metadata: [{name: brokers, value: "kafka:9092"}]}}
    states: {cart: {spec: {type: state.redis, version: v1}}, shared: null, other: {}}
    scaleOptions:
      minReplicas: 1
      maxReplicas: 10
      keda:
        scaledObject:
          pollingInterval: 15
          cooldownPeriod: 60
          advanced:
            restoreToOriginalReplicaCount: true
            horizontalPodAutoscalerConfig:
              behavior:
                scaleDown:
                  stabilizationWindowSeconds: 45
                  selectPolicy: Max
                  policies: [{type: Percent, value: 50, periodSeconds: 30}]
          fallback: {failureThreshold: 3, replicas: 2}
        triggers:
        - type: kafka
          metadata: {topic: orders, bootstrapServers: "kafka:9092", consumerGroup: g, lagThreshold: "20"}
          authenticationRef: {name: kafka}
          metricType: AverageValue
    hooks: {pre: [first], post: [last], policy: Append}
    tracing:
      enabled: true
      provider:
        name: opentelemetry
        exporter:
          {name: otlp, endpoint: "collector:4317", headers: a=b, compression: gzip, timeout: 10s, protocol: grpc}
      tags: {func: subscriber}
      baggage: {key: value}
""",
    "jobs": """
apiVersion: core.openfunction.io/v1beta2
kind: Function
metadata: {name: batch}
spec:
  image: a
  serving:
    triggers: {dapr: [{name: msg, topic: orders}]}
    workloadType: Job
    scaleOptions:
      keda:
        scaledJob:
          restartPolicy: OnFailure
          pollingInterval: 5
          successfulJobsHistoryLimit: 1
          failedJobsHistoryLimit: 1
          scalingStrategy:
            strategy: custom
            customScalingQueueLengthDeduction: 1
            customScalingRunningJobPercentage: 50%
            multipleScalersCalculation: max
            pendingPodConditions: [Ready]
""",
    "wasm": """
apiVersion: core.openfunction.io/v1beta2
kind: Function
metadata: {name: wasm, annotations: {module.wasm.image/variant: compat-smart}}
spec: {workloadRuntime: WasmEdge, image: a, serving: {triggers: {http: {port: 8080}}}}
""",
    "bus": """
apiVersion: events.openfunction.io/v1alpha1
kind: EventBus
metadata: {name: default}
spec:
  topic: default
  natsStreaming:
    natsURL: nats://nats.default:4222
    natsStreamingClusterID: stan
    subscriptionType: queue
    durableSubscriptionName: ImDurable
    ackWaitTime: 30s
    maxInFlight: 10
    deliverNew: true
    consumerID: me
    scaleOption: {natsServerMonitoringEndpoint: "stan:8222", lagThreshold: "10", minReplicaCount: 0}
""",
    "bus of the cluster": """
apiVersion: events.openfunction.io/v1alpha1
kind: ClusterEventBus
metadata: {name: default}
spec: {natsStreaming: {natsURL: nats://n, natsStreamingClusterID: stan, subscriptionType: topic}}
""",
    "sources": """
apiVersion: events.openfunction.io/v1alpha1
kind: EventSource
metadata: {name: many}
spec:
  logLevel: "2"
  eventBus: default
  kafka:
    orders:
      brokers: kafka:9092
      topic: orders
      authRequired: false
      saslUsername: u
      saslPassword: p
      maxMessageBytes: 1024
      scaleOption: {consumerGroup: g, topic: orders, lagThreshold: "10", pollingInterval: 5, authRef: {name: a}}
  redis: {cache: {redisHost: "redis:6379", redisPassword: p, enableTLS: true, redisDB: 0, poolSize: 5}}
  cron: {tick: {schedule: "@every 2s"}}
  mqtt:
    lamp:
      {url: "tcp://u:p@mqtt:1883", topic: lamps, consumerID: c, qos: 1, retain: false, cleanSession: true, caCert: x}
  sink: {ref: {apiVersion: core.openfunction.io/v1beta2, kind: Function, name: handler, namespace: default}}
""",
    "source with an address as sink": """
apiVersion: events.openfunction.io/v1alpha1
kind: EventSource
metadata: {name: direct}
spec:
  cron: {tick: {schedule: "0 * * * *"}}
  sink: {uri: "http://openfunction.io.svc.cluster.local/default/sink"}
""",
    "trigger": """
apiVersion: events.openfunction.io/v1alpha1
kind: Trigger
metadata: {name: both}
spec:
  logLevel: "2"
  eventBus: default
  inputs:
    A: {namespace: default, eventSource: many, event: orders}
    B: {eventSource: many, event: tick}
  subscribers:
  - condition: A && B
    sink: {ref: {apiVersion: serving.knative.dev/v1, kind: Service, name: s, namespace: default}}
    deadLetterSink: {uri: "http://dead"}
    topic: both
    deadLetterTopic: dead
  - condition: A || B
    topic: any
""",
    "gateway": """
apiVersion: networking.openfunction.io/v1alpha1
kind: Gateway
metadata: {name: openfunction, namespace: openfunction}
spec:
  domain: ofn.io
  clusterDomain: cluster.local
  hostTemplate: "{{.Name}}.{{.Namespace}}.{{.Domain}}"
  pathTemplate: "{{.Namespace}}/{{.Name}}"
  httpRouteLabelKey: app.kubernetes.io/managed-by
  gatewayRef: {name: contour, namespace: projectcontour}
  gatewaySpec:
    listeners:
    - {name: http, hostname: "*.ofn.io", port: 80, protocol: HTTP, allowedRoutes: {namespaces: {from: All}}}
""",
    "dapr and keda": """
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: msg.bus}
spec: {type: pubsub.kafka, version: v1, metadata: [{name: brokers, value: "kafka:9092"}]}
scopes: [subscriber-default]
auth: {secretStore: kubernetes}
---
apiVersion: dapr.io/v2alpha1
kind: Subscription
metadata: {name: orders}
spec: {pubsubname: msg, topic: orders, routes: {default: /orders, rules: [{match: event.type == "a", path: /a}]}}
scopes: [subscriber-default]
---
apiVersion: dapr.io/v1alpha1
kind: Resiliency
metadata: {name: r}
spec: {policies: {retries: {often: {policy: constant, duration: 5s, maxRetries: -1}}}, targets: {apps: {}}}
---
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata: {name: s}
spec:
  scaleTargetRef: {name: d}
  minReplicaCount: 0
  triggers: [{type: cron, metadata: {timezone: UTC, start: 0 6 * * *}}]
---
apiVersion: keda.sh/v1alpha1
kind: TriggerAuthentication
metadata: {name: a}
spec: {secretTargetRef: [{parameter: password, name: s, key: k}]}
""",
}


@pytest.mark.parametrize("text", SHAPES.values(), ids=SHAPES)
def test_is_taken_as_it_is(text: str) -> None:
    assert all(document.spec is not None for document in read(["-"], stdin=io.BytesIO(text.encode())))
