"""Fields of Pods: containers and everything about them. Notation: builtin_schemas.py."""

DEFINITIONS = r"""
core/v1 PodSpec: What runs in a Pod and how.
  activeDeadlineSeconds int64: The Pod is failed when it has been active for this long.
  affinity Affinity: Rules for choosing a node.
  automountServiceAccountToken bool: False keeps the service-account token out of the containers.
  containers! []Container key=name: Containers that run side by side; at least one. Cannot be added or removed later.
  dnsConfig Any: DNS settings beyond dnsPolicy.
  dnsPolicy string: ClusterFirst (default), ClusterFirstWithHostNet, Default or None.
  enableServiceLinks bool: Whether Services of the namespace show up as environment variables. Default true.
  ephemeralContainers []Any key=name: Containers added to a running Pod for debugging.
  evictionResponders []Any key=name:
  hostAliases []HostAlias key=ip: Extra lines for /etc/hosts.
  hostIPC bool: Use the IPC namespace of the node. Default false.
  hostNetwork bool: Use the network of the node. Default false.
  hostPID bool: Use the process namespace of the node. Default false.
  hostUsers bool: False runs the Pod in a user namespace of its own. Default true.
  hostname string: Host name inside the Pod; default is the Pod's name.
  hostnameOverride string:
  imagePullSecrets []LocalObjectReference key=name: Secrets with credentials for image registries.
  initContainers []Container key=name: Containers that run one after another, each to completion, before the others
    start. With restartPolicy Always they keep running beside them (sidecars).
  nodeName string: Node that runs the Pod. Set by the scheduler; a user who sets it skips scheduling.
  nodeSelector map string atomic: Labels a node must have.
  os PodOS: Operating system the containers need.
  overhead map Quantity: Resources used by running the Pod itself.
  preemptionPolicy string: PreemptLowerPriority (default) or Never.
  priority int32: Priority as a number; higher is more important.
  priorityClassName string: Name of a PriorityClass.
  readinessGates []PodReadinessGate atomic: Further conditions that must be true before the Pod counts as ready.
  resourceClaims []Any key=name retain:
  resources ResourceRequirements: CPU and memory of the Pod as a whole.
  restartPolicy string: Always (default), OnFailure or Never.
  runtimeClassName string: RuntimeClass to run with.
  schedulerName string: Scheduler that assigns the Pod. Default default-scheduler.
  schedulingGates []PodSchedulingGate key=name: While this list is not empty, the Pod is not scheduled.
  schedulingGroup Any:
  securityContext PodSecurityContext: User, groups and the like for all containers.
  serviceAccount string: Old name of serviceAccountName.
  serviceAccountName string: ServiceAccount the containers act as. Default default.
  setHostnameAsFQDN bool: Use the full name as host name.
  shareProcessNamespace bool: Let the containers see each other's processes.
  subdomain string: Subdomain of the Pod's host name.
  terminationGracePeriodSeconds int64: Time between SIGTERM and SIGKILL when the Pod is deleted. Default 30.
  tolerations []Toleration atomic: Taints the Pod tolerates.
  topologySpreadConstraints []Any key=topologyKey,whenUnsatisfiable: How Pods are spread over zones and nodes.
  volumes []Volume key=name retain: Volumes that containers may mount.
core/v1 Affinity: Rules for choosing a node.
  nodeAffinity Any: Rules about labels of nodes.
  podAffinity Any: Rules that bring Pods together.
  podAntiAffinity Any: Rules that keep Pods apart.
core/v1 Container: A process run from an image, with its environment, mounts and probes.
  args []string atomic: Arguments, in place of the image's CMD. $(NAME) is replaced by environment variables.
  command []string atomic: Program and first arguments, in place of the image's ENTRYPOINT. $(NAME) is replaced by
    environment variables.
  env []EnvVar key=name: Environment variables. Later entries of one name win.
  envFrom []EnvFromSource atomic: ConfigMaps and Secrets whose entries become environment variables. env wins over
    them.
  image string: Image to run, e.g. ghcr.io/example/app:1.2.
  imagePullPolicy string: Always, IfNotPresent or Never. Default IfNotPresent, for tag latest Always.
  lifecycle Lifecycle: Actions after start and before stop.
  livenessProbe Probe: The container is restarted when this probe fails.
  name! string: Name of the container, unique in its Pod (DNS label).
  ports []ContainerPort key=containerPort,protocol: Ports the container listens on; for documentation and Services.
  readinessProbe Probe: The container gets no traffic while this probe fails.
  resizePolicy []ContainerResizePolicy atomic: What a resize of resources does to the container.
  resources ResourceRequirements: CPU, memory and other resources.
  restartPolicy string: Only for init containers: Always makes it a sidecar.
  restartPolicyRules []Any atomic:
  securityContext SecurityContext: User, capabilities and the like of the container.
  startupProbe Probe: Other probes wait until this one has succeeded.
  stdin bool: Keep standard input open. Default false.
  stdinOnce bool: Close standard input after the first attach. Default false.
  terminationMessagePath string: File whose content becomes the termination message. Default /dev/termination-log.
  terminationMessagePolicy string: File (default), or FallbackToLogsOnError to use the end of the log when a failed
    container wrote no message.
  tty bool: Allocate a terminal. Default false.
  volumeDevices []VolumeDevice key=devicePath: Where block devices appear.
  volumeMounts []VolumeMount key=mountPath: Where volumes are mounted.
  workingDir string: Working directory; default is the image's.
core/v1 HostAlias: A line for /etc/hosts.
  hostnames []string atomic: Names for the address.
  ip! string: IP address.
core/v1 LocalObjectReference atomic: The name of an object in the same namespace.
  name string: Name.
core/v1 PodOS: Operating system of a Pod.
  name! string: linux or windows.
core/v1 PodReadinessGate: A condition that must hold before a Pod is ready.
  conditionType! string: Type of the condition.
core/v1 ResourceRequirements: Resources of a container.
  claims []ResourceClaim key=name: Dynamic resources used, by name.
  limits map Quantity: The most that may be used, by resource name (cpu, memory, …).
  requests map Quantity: The least that is needed; default is the limit.
core/v1 PodSchedulingGate: Something that holds back scheduling.
  name! string: Name.
core/v1 PodSecurityContext: Rights shared by all containers of a Pod.
  appArmorProfile Any:
  fsGroup int64: Group that owns the files of volumes.
  fsGroupChangePolicy string:
  runAsGroup int64: Group id of the processes.
  runAsNonRoot bool: Refuse to run as user 0.
  runAsUser int64: User id of the processes.
  seLinuxChangePolicy string:
  seLinuxOptions Any:
  seccompProfile SeccompProfile: System calls that are allowed.
  supplementalGroups []int64 atomic: Further groups of the processes.
  supplementalGroupsPolicy string:
  sysctls []Sysctl atomic: Kernel parameters.
  windowsOptions Any:
core/v1 Toleration: Lets a Pod onto nodes with a matching taint.
  effect string: Effect that is tolerated; empty tolerates all.
  key string: Key of the taint; empty with operator Exists matches every taint.
  operator string: Exists or Equal (the default).
  tolerationSeconds int64: How long a NoExecute taint is tolerated.
  value string: Value of the taint, for operator Equal.
core/v1 EnvVar: An environment variable.
  name! string: Name of the variable.
  value string: Its value; $(NAME) refers to variables before it, $$ is a dollar sign. Default empty.
  valueFrom EnvVarSource: Where the value comes from. Not together with value.
core/v1 EnvFromSource: A ConfigMap or Secret whose entries become variables.
  configMapRef ConfigMapEnvSource: The ConfigMap.
  prefix string: Put before every name.
  secretRef SecretEnvSource: The Secret.
core/v1 Lifecycle: Actions at the beginning and end of a container's life.
  postStart LifecycleHandler: Done right after the container has started.
  preStop LifecycleHandler: Executed before the container is asked to stop.
  stopSignal string: Signal that asks the container to stop; default SIGTERM.
core/v1 Probe: A check that is made again and again.
  exec ExecAction: Run a command; exit code 0 is success.
  failureThreshold int32: Failures in a row that count as failure. Default 3.
  grpc GRPCAction: Ask the gRPC health service.
  httpGet HTTPGetAction: Make an HTTP request; 200 to 399 is success.
  initialDelaySeconds int32: Wait this long after start before the first check.
  periodSeconds int32: Time between checks. Default 10.
  successThreshold int32: Successes in a row that count as success. Default 1.
  tcpSocket TCPSocketAction: Open a TCP connection.
  terminationGracePeriodSeconds int64:
  timeoutSeconds int32: A check may take this long. Default 1.
core/v1 ContainerPort: A port of a container.
  containerPort! int32: Port number inside the Pod, 1 to 65535.
  hostIP string:
  hostPort int32: Port on the node, if any.
  name string: Name that Services and probes can refer to.
  protocol string default=TCP: TCP (default), UDP or SCTP.
core/v1 ContainerResizePolicy: What a resize of one resource does.
  resourceName! string:
  restartPolicy! string:
core/v1 SecurityContext: Rights of a container; wins over those of the Pod.
  allowPrivilegeEscalation bool: Whether a process may gain more rights than its parent.
  appArmorProfile Any:
  capabilities Capabilities: Capabilities added and dropped.
  privileged bool: Run with all rights of the node. Default false.
  procMount string:
  readOnlyRootFilesystem bool: Make the root file system read-only. Default false.
  runAsGroup int64: Group id of the process.
  runAsNonRoot bool: Refuse to run as user 0.
  runAsUser int64: User id of the process.
  seLinuxOptions Any:
  seccompProfile SeccompProfile: System calls that are allowed.
  windowsOptions Any:
core/v1 VolumeDevice: Where a block device appears.
  devicePath! string:
  name! string: Name.
core/v1 VolumeMount: Where a volume is mounted.
  bindMountOptions []string set:
  mountPath! string: Path inside the container.
  mountPropagation string:
  name! string: Name of one of the Pod's volumes.
  readOnly bool: Mount read-only. Default false.
  recursiveReadOnly string:
  subPath string: Path inside the volume that is mounted; default is its root.
  subPathExpr string: Like subPath, with $(NAME) replaced by environment variables.
core/v1 ResourceClaim: A dynamic resource a container uses.
  name! string: Name.
  request string:
core/v1 SeccompProfile: System calls that are allowed.
  localhostProfile string:
  type! string: RuntimeDefault, Unconfined or Localhost.
core/v1 Sysctl: A kernel parameter.
  name! string: Name.
  value! string: Value.
core/v1 EnvVarSource: Source of a variable's value; exactly one is set.
  configMapKeyRef ConfigMapKeySelector: An entry of a ConfigMap.
  fieldRef ObjectFieldSelector: A field of the Pod, such as metadata.name or status.podIP.
  fileKeyRef Any:
  resourceFieldRef ResourceFieldSelector: A resource limit or request of a container.
  secretKeyRef SecretKeySelector: An entry of a Secret.
core/v1 ConfigMapEnvSource: A ConfigMap read as variables.
  name string: Name.
  optional bool: True when it need not exist.
core/v1 SecretEnvSource: A Secret read as variables.
  name string: Name.
  optional bool: True when it need not exist.
core/v1 LifecycleHandler: One action; exactly one field is set.
  exec ExecAction: Run a command in the container.
  httpGet HTTPGetAction: Make an HTTP request.
  sleep SleepAction: Wait.
  tcpSocket TCPSocketAction: Open a TCP connection.
core/v1 ExecAction: A command run in the container.
  command []string atomic: Program and arguments; no shell.
core/v1 GRPCAction: A gRPC health check.
  mode string: Permission bits of the file.
  port! int32: Port number.
  service string: The Service to call.
core/v1 HTTPGetAction: An HTTP request.
  host string: Host.
  httpHeaders []HTTPHeader atomic: Headers to send.
  path string: Path.
  port! IntOrString: Port number.
  protocol string: Protocol.
  scheme string: HTTP (default) or HTTPS.
core/v1 TCPSocketAction: A TCP connection.
  host string: Host.
  port! IntOrString: Port number.
core/v1 Capabilities: Capabilities of a container.
  add []string atomic:
  drop []string atomic:
core/v1 ConfigMapKeySelector atomic: An entry of a ConfigMap.
  key! string: Key.
  name string: Name.
  optional bool: True when it need not exist.
core/v1 SecretKeySelector atomic: An entry of a Secret.
  key! string: Key.
  name string: Name.
  optional bool: True when it need not exist.
core/v1 SleepAction: A pause.
  seconds! int64: How long.
core/v1 HTTPHeader: A header of a request.
  name! string: Name.
  value! string: Value.
core/v1 PodStatus: What is known of a Pod. Written by its node.
  allocatedResources map Quantity:
  conditions []PodCondition key=type: Aspects of the state, one entry per type.
  containerStatuses []ContainerStatus atomic: State of each container.
  ephemeralContainerStatuses []ContainerStatus atomic: State of each ephemeral container.
  extendedResourceClaimStatus Any:
  hostIP string: Address of the node.
  hostIPs []HostIP atomic patch=ip: Addresses of the node.
  initContainerStatuses []ContainerStatus atomic: State of each init container.
  message string: Human-readable message.
  nodeAllocatableResourceClaimStatuses []Any key=resourceClaimName:
  nominatedNodeName string: Node where room is being made for the Pod.
  observedGeneration int64: Generation of the object this is about.
  phase string: Pending, Running, Succeeded, Failed or Unknown.
  podIP string: Address of the Pod.
  podIPs []PodIP key=ip: Addresses of the Pod, first the main one.
  qosClass string: Guaranteed, Burstable or BestEffort, from requests and limits.
  reason string: Reason as one CamelCase word, for programs.
  resize string:
  resourceClaimStatuses []Any key=name retain:
  resources ResourceRequirements: Resources of the Pod as a whole.
  startTime Time: When the node accepted the Pod.
  volumeHealth []Any key=name:
core/v1 PodCondition: An aspect of a Pod's state: PodScheduled, Initialized, ContainersReady, Ready and others.
  lastProbeTime Time: When this was checked last.
  lastTransitionTime Time: When the status changed last.
  message string: Human-readable message.
  observedGeneration int64: Generation of the object this is about.
  reason string: Reason as one CamelCase word, for programs.
  status! string: True, False or Unknown.
  type! string: What aspect it is about.
core/v1 ContainerStatus: State of a container.
  allocatedResources map Quantity:
  allocatedResourcesStatus []Any key=name:
  containerID string: Identity of the container, as type://id.
  image! string: Image.
  imageID! string: Identity of the image.
  lastState ContainerState: How the run before this one ended.
  name! string: Name.
  ready! bool: Whether the container is ready for traffic.
  resources ResourceRequirements: Resources the container runs with.
  restartCount! int32: How often it was restarted.
  started bool: Whether it has passed its startup probe.
  state ContainerState: What it is doing now.
  stopSignal string:
  user Any:
  volumeMounts []Any key=mountPath:
core/v1 HostIP: An address of a Node.
  ip! string: IP address.
core/v1 PodIP: An address of a Pod.
  ip! string: IP address.
core/v1 ContainerState: Exactly one of waiting, running and terminated.
  running ContainerStateRunning: Set while it runs.
  terminated ContainerStateTerminated: Set when it has ended.
  waiting ContainerStateWaiting: Set while it waits to run.
core/v1 ContainerStateRunning: A container that runs.
  startedAt Time: When it started.
core/v1 ContainerStateTerminated: A container that ended.
  containerID string:
  exitCode! int32: Exit code of the process.
  finishedAt Time: When it ended.
  message string: Human-readable message.
  reason string: Reason as one CamelCase word, for programs.
  signal int32: Signal that ended it.
  startedAt Time: When it started.
core/v1 ContainerStateWaiting: A container that does not run yet.
  message string: Human-readable message.
  reason string: Reason as one CamelCase word, for programs.
"""
