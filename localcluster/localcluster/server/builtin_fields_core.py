"""Fields of the other kinds of the core group, and of the metadata of all kinds. Notation: builtin_schemas.py."""

DEFINITIONS = r"""
meta/v1 LabelSelector atomic: Selects objects by labels; all terms must match, an empty selector matches everything.
  matchExpressions []LabelSelectorRequirement atomic: Further terms.
  matchLabels map string: Labels with exactly these values.
meta/v1 Condition: An aspect of an object's state.
  lastTransitionTime! Time: When the status changed last.
  message! string: Human-readable message.
  observedGeneration int64: Generation of the object this is about.
  reason! string: Reason as one CamelCase word, for programs.
  status! string: True, False or Unknown.
  type! string: What aspect it is about.
meta/v1 LabelSelectorRequirement: A term about one label.
  key! string: Key.
  operator! string: In, NotIn, Exists or DoesNotExist.
  values []string atomic: Values for In and NotIn.
meta/v1 ObjectMeta: What every stored object has: names, labels, owners, versions.
  annotations map string: Names and values that tools keep with the object.
  creationTimestamp Time: When the object was created (UTC).
  deletionGracePeriodSeconds int64: Grace that was given when it was deleted.
  deletionTimestamp Time: When the object will be deleted; set by deleting it.
  finalizers []string set merge: Names that must be removed before the object is deleted.
  generateName string: Prefix for a name that the server makes up when name is empty.
  generation int64: Rises whenever the wanted state changes.
  labels map string: Names and values to select objects by.
  managedFields []Any atomic: Who applied which fields.
  name string: Name, unique among objects of its kind in its namespace. Cannot be changed.
  namespace string: Namespace the object lives in. Cannot be changed.
  ownerReferences []OwnerReference key=uid: Objects that own this one; when all are deleted, it is also deleted.
  resourceVersion string: Changes with every write; send it back to detect a write in between.
  selfLink string:
  uid string: Unique id of this object, made by the server.
meta/v1 OwnerReference atomic: An object another one belongs to, in the same namespace or cluster-scoped.
  apiVersion! string: API version of the object referred to.
  blockOwnerDeletion bool: True makes foreground deletion of the owner wait for this object.
  controller bool: True for the one owner that manages the object.
  kind! string: Kind of the object referred to.
  name! string: Name.
  uid! string: Identity.
core/v1 ConfigMap: Configuration that is not secret: small strings, read by Pods as files or environment variables.
  binaryData map bytes: Entries that are not valid UTF-8, base64 encoded. Keys must not occur in data.
  data map string: Entries as text, by key. Keys hold letters, digits, '-', '_' and '.'.
  immutable bool: True forbids any further change of data and binaryData.
core/v1 Event: A note about something that happened to an object. It may be dropped; nothing should depend on it.
  action string: What was being done, e.g. Binding.
  count int32: How often this happened.
  eventTime MicroTime: When it happened, with microseconds.
  firstTimestamp Time: When it was seen first.
  involvedObject! ObjectReference: The object the event is about.
  lastTimestamp Time: When it was seen last.
  message string: Human-readable message.
  reason string: Reason as one CamelCase word, for programs.
  related ObjectReference: A second object that plays a part.
  reportingComponent string: Name of the controller that reported it, e.g. example.com/controller.
  reportingInstance string: Which instance of the controller reported it.
  series EventSeries: Set when the same thing happened repeatedly.
  source EventSource: Component that reported the event (older form of reportingComponent).
  type string: Normal or Warning.
core/v1 LimitRange: Bounds and defaults for resources in a namespace. Stored here, not enforced.
  spec LimitRangeSpec: Desired state.
core/v1 Namespace: A scope for names. Deleting it deletes everything inside.
  spec NamespaceSpec: Desired state.
  status NamespaceStatus: Observed state.
core/v1 Node: A machine (here: a process) that runs Pods.
  spec NodeSpec: Desired state.
  status NodeStatus: Observed state.
core/v1 PersistentVolumeClaim: A request for storage.
  spec PersistentVolumeClaimSpec: Desired state.
  status PersistentVolumeClaimStatus: Observed state.
core/v1 Pod: One or more containers that run together on one node and share network and volumes.
  spec PodSpec: Desired state.
  status PodStatus: Observed state.
core/v1 ResourceQuota: Limits on what a namespace may use. Stored here, not enforced.
  spec ResourceQuotaSpec: Desired state.
  status ResourceQuotaStatus: Observed state.
core/v1 Secret: Confidential data, read by Pods as files or environment variables.
  data map bytes: Entries, base64 encoded, by key.
  immutable bool: True forbids any further change of the data.
  stringData map string: Entries as plain text; written into data when the Secret is stored, never shown.
  type string: What the entries mean, e.g. Opaque (default) or kubernetes.io/tls. Cannot be changed.
core/v1 ServiceAccount: An identity for processes that run in Pods.
  automountServiceAccountToken bool: False keeps tokens out of Pods, unless a Pod asks for one.
  imagePullSecrets []LocalObjectReference atomic: Secrets for image registries, added to Pods that use this account.
  secrets []ObjectReference key=name: Secrets that Pods of this account may use.
core/v1 Service: A name and address for a set of Pods.
  spec ServiceSpec: Desired state.
  status ServiceStatus: Observed state.
core/v1 ObjectReference atomic: A reference to any object.
  apiVersion string: API version of the object referred to.
  fieldPath string: A part of the object, e.g. spec.containers{name}.
  kind string: Kind of the object referred to.
  name string: Name.
  namespace string: Namespace.
  resourceVersion string:
  uid string: Identity.
core/v1 EventSeries: Repetitions of one event.
  count int32: Number of repetitions so far.
  lastObservedTime MicroTime: When it was seen last.
core/v1 EventSource: Who reported an event.
  component string: Component that reported.
  host string: Host.
core/v1 LimitRangeSpec: Limits of a LimitRange.
  limits! []Any atomic: One entry per type of thing that is limited.
core/v1 NamespaceSpec: Attributes of a Namespace.
  finalizers []string atomic: Names that must be removed before the namespace is deleted.
core/v1 NamespaceStatus: State of a Namespace.
  conditions []NamespaceCondition key=type: Aspects of the state, one entry per type.
  phase string: Active, or Terminating while contents are being deleted.
core/v1 NodeSpec: Desired state of a Node.
  configSource Any:
  externalID string:
  podCIDR string: Addresses for Pods on this node.
  podCIDRs []string set merge:
  podPreemptionPolicy Any:
  providerID string: Identity of the machine at its cloud provider.
  taints []Taint atomic: Marks that keep away Pods that do not tolerate them.
  unschedulable bool: True keeps new Pods away (kubectl cordon).
core/v1 NodeStatus: What is known of a Node.
  addresses []NodeAddress key=type: Addresses of the node.
  allocatable map Quantity: Resources that Pods may use.
  capacity map Quantity: Resources the machine has.
  conditions []NodeCondition key=type: Aspects of the state, one entry per type.
  config Any:
  daemonEndpoints NodeDaemonEndpoints: Ports of the daemons on the node.
  declaredFeatures []string atomic:
  features Any:
  images []ContainerImage atomic: Container images present on the node.
  nodeInfo NodeSystemInfo: Identity and software versions of the node.
  phase string:
  runtimeHandlers []Any atomic:
  volumesAttached []Any atomic:
  volumesInUse []string atomic:
core/v1 PersistentVolumeClaimSpec: What storage is wanted.
  accessModes []string atomic: ReadWriteOnce, ReadOnlyMany, ReadWriteMany or ReadWriteOncePod.
  dataSource Any:
  dataSourceRef Any:
  resources VolumeResourceRequirements: Size that is wanted.
  selector meta/v1.LabelSelector: Labels of the Pods it is about.
  storageClassName string: Class of storage.
  volumeAttributesClassName string:
  volumeMode string: Filesystem or Block.
  volumeName string: Volume bound to this claim.
core/v1 PersistentVolumeClaimStatus: State of a claim.
  accessModes []string atomic:
  allocatedResourceStatuses map string atomic:
  allocatedResources map Quantity:
  capacity map Quantity: Size of the bound volume.
  conditions []Any key=type: Aspects of the state, one entry per type.
  currentVolumeAttributesClassName string:
  healthStatus Any:
  modifyVolumeStatus Any:
  phase string: Pending, Bound or Lost.
core/v1 ResourceQuotaSpec: Limits of a quota.
  hard map Quantity: The most, by resource name.
  scopeSelector Any:
  scopes []string atomic:
core/v1 ResourceQuotaStatus: Limits and use of a quota.
  hard map Quantity:
  used map Quantity: What is used, by resource name.
core/v1 ServiceSpec: How a Service leads to its Pods.
  allocateLoadBalancerNodePorts bool:
  clusterIP string: Address of the Service; None makes it headless.
  clusterIPs []string atomic: Addresses of the Service, first clusterIP.
  externalIPs []string atomic: Further addresses that lead to the Service.
  externalName string: DNS name that a Service of type ExternalName stands for.
  externalTrafficPolicy string:
  healthCheckNodePort int32:
  internalTrafficPolicy string:
  ipFamilies []string atomic:
  ipFamilyPolicy string:
  loadBalancerClass string:
  loadBalancerIP string:
  loadBalancerSourceRanges []string atomic:
  ports []ServicePort key=port,protocol: Ports of the Service.
  publishNotReadyAddresses bool: Also publish Pods that are not ready.
  selector map string atomic: Labels of the Pods it leads to.
  sessionAffinity string: None (default) or ClientIP.
  sessionAffinityConfig Any:
  trafficDistribution string:
  type string: ClusterIP (default), NodePort, LoadBalancer or ExternalName.
core/v1 ServiceStatus: State of a Service.
  conditions []meta/v1.Condition key=type: Aspects of the state, one entry per type.
  loadBalancer LoadBalancerStatus:
core/v1 NamespaceCondition: An aspect of a Namespace's state.
  lastTransitionTime Time: When the status changed last.
  message string: Human-readable message.
  reason string: Reason as one CamelCase word, for programs.
  status! string: True, False or Unknown.
  type! string: What aspect it is about.
core/v1 Taint: A mark on a Node that repels Pods.
  effect! string: NoSchedule, PreferNoSchedule or NoExecute.
  key! string: Key.
  timeAdded Time: When a NoExecute taint was set.
  value string: Value.
core/v1 NodeAddress: One address of a Node.
  address! string:
  type! string: Hostname, InternalIP, ExternalIP, InternalDNS or ExternalDNS.
core/v1 NodeCondition: An aspect of a Node's state.
  lastHeartbeatTime Time: When this was confirmed last.
  lastTransitionTime Time: When the status changed last.
  message string: Human-readable message.
  reason string: Reason as one CamelCase word, for programs.
  status! string: True, False or Unknown.
  type! string: What aspect it is about.
core/v1 NodeDaemonEndpoints: Ports of the daemons on a Node.
  kubeletEndpoint DaemonEndpoint: Where the kubelet API is served.
core/v1 ContainerImage: A container image on a Node.
  names []string atomic:
  sizeBytes int64:
core/v1 NodeSystemInfo: Identity and software versions of a Node.
  architecture! string:
  bootID! string:
  containerRuntimeVersion! string:
  kernelVersion! string:
  kubeProxyVersion! string:
  kubeletVersion! string:
  machineID! string:
  operatingSystem! string:
  osImage! string:
  runningInUserNamespace bool:
  swap Any:
  systemUUID! string:
core/v1 VolumeResourceRequirements: Size requested for a volume.
  limits map Quantity:
  requests map Quantity:
core/v1 ServicePort: A port of a Service.
  appProtocol string:
  name string: Name.
  nodePort int32: Port on every node, for types NodePort and LoadBalancer.
  port! int32: Port number of the Service.
  protocol string default=TCP: TCP (default), UDP or SCTP.
  targetPort IntOrString: Port number or name at the Pods; default is port.
core/v1 LoadBalancerStatus: State of a load balancer.
  ingress []LoadBalancerIngress atomic:
core/v1 PodTemplateSpec: Metadata and spec of Pods that are created from a template.
  metadata meta/v1.ObjectMeta: Metadata of the object.
  spec PodSpec: Desired state.
core/v1 DaemonEndpoint: A port of a daemon.
  Port! int32: Port number.
core/v1 LoadBalancerIngress: An address of a load balancer.
  hostname string: Host name.
  ip string: IP address.
  ipMode string:
  ports []PortStatus atomic: Ports.
core/v1 PortStatus: State of a load balancer's port.
  error string:
  port! int32: Port number.
  protocol! string: Protocol.
"""
