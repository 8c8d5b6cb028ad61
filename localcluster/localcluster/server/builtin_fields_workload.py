"""Fields of workloads: Jobs, Deployments, ReplicaSets, StatefulSets, their revisions and budgets.

Notation: builtin_schemas.py.
"""

DEFINITIONS = r"""
apps/v1 ControllerRevision: Something as it was at one time. Made by controllers; its data cannot be changed.
  data! Any: What is kept.
  revision! int64: The greater, the later.
apps/v1 Deployment: Keeps a number of equal Pods running and replaces them step by step when the template changes.
  spec! DeploymentSpec: Desired state.
  status DeploymentStatus: Observed state.
apps/v1 ReplicaSet: Keeps a number of equal Pods running.
  spec! ReplicaSetSpec: Desired state.
  status ReplicaSetStatus: Observed state.
apps/v1 StatefulSet: Keeps Pods with stable names running.
  spec! StatefulSetSpec: Desired state.
  status StatefulSetStatus: Observed state.
apps/v1 DeploymentSpec: What a Deployment keeps running.
  minReadySeconds int32: A Pod counts as available when it has been ready for this long. Default 0.
  paused bool: True stops roll-outs.
  progressDeadlineSeconds int32: A roll-out that makes no progress for this long is reported as failed. Default 600.
  replicas int32: Number of Pods. Default 1.
  revisionHistoryLimit int32: Old ReplicaSets that are kept. Default 10.
  selector! meta/v1.LabelSelector: Pods that belong to it; must match the template's labels. Cannot be changed.
  strategy DeploymentStrategy retain: How old Pods are replaced by new ones.
  template! core/v1.PodTemplateSpec: What its Pods look like.
apps/v1 DeploymentStatus: State of a Deployment.
  availableReplicas int32: Pods that have been ready long enough.
  collisionCount int32:
  conditions []DeploymentCondition key=type: Aspects of the state, one entry per type.
  observedGeneration int64: Generation of the object this is about.
  readyReplicas int32: Pods that are ready.
  replicas int32: Number of Pods.
  terminatingReplicas int32:
  unavailableReplicas int32: Pods that are missing or not available.
  updatedReplicas int32: Pods made from the current template.
apps/v1 ReplicaSetSpec: What a ReplicaSet keeps running.
  minReadySeconds int32:
  replicas int32: Number of Pods. Default 1.
  selector! meta/v1.LabelSelector: Pods that belong to it. Cannot be changed.
  template core/v1.PodTemplateSpec: What its Pods look like.
apps/v1 ReplicaSetStatus: State of a ReplicaSet.
  availableReplicas int32: Pods that have been ready long enough.
  conditions []ReplicaSetCondition key=type: Aspects of the state, one entry per type.
  fullyLabeledReplicas int32:
  observedGeneration int64: Generation of the object this is about.
  readyReplicas int32: Pods that are ready.
  replicas! int32: Number of Pods.
  terminatingReplicas int32:
apps/v1 StatefulSetSpec: What a StatefulSet keeps running.
  minReadySeconds int32:
  ordinals Any:
  persistentVolumeClaimRetentionPolicy Any:
  podManagementPolicy string: OrderedReady (default) or Parallel.
  replicas int32: Number of Pods. Default 1.
  revisionHistoryLimit int32:
  selector! meta/v1.LabelSelector: Pods that belong to it. Cannot be changed.
  serviceName string: Headless Service that gives the Pods their names.
  template! core/v1.PodTemplateSpec: What its Pods look like.
  updateStrategy StatefulSetUpdateStrategy:
  volumeClaimTemplates []core/v1.PersistentVolumeClaim atomic: Claims made for every Pod.
apps/v1 StatefulSetStatus: State of a StatefulSet.
  availableReplicas int32: Pods that have been ready long enough.
  collisionCount int32:
  conditions []StatefulSetCondition key=type: Aspects of the state, one entry per type.
  currentReplicas int32:
  currentRevision string:
  observedGeneration int64: Generation of the object this is about.
  readyReplicas int32: Pods that are ready.
  replicas! int32: Number of Pods.
  updateRevision string:
  updatedReplicas int32: Pods made from the current template.
apps/v1 DeploymentStrategy: How Pods are replaced.
  rollingUpdate RollingUpdateDeployment: Pace of a rolling update.
  type string: RollingUpdate (default) or Recreate.
apps/v1 DeploymentCondition: An aspect of a Deployment's state: Available, Progressing, ReplicaFailure.
  lastTransitionTime Time: When the status changed last.
  lastUpdateTime Time: When this was updated last.
  message string: Human-readable message.
  reason string: Reason as one CamelCase word, for programs.
  status string: True, False or Unknown.
  type string: What aspect it is about.
apps/v1 ReplicaSetCondition: An aspect of a ReplicaSet's state.
  lastTransitionTime Time: When the status changed last.
  message string: Human-readable message.
  reason string: Reason as one CamelCase word, for programs.
  status string: True, False or Unknown.
  type string: What aspect it is about.
apps/v1 StatefulSetUpdateStrategy: How Pods are replaced.
  rollingUpdate RollingUpdateStatefulSetStrategy:
  type string: Type.
apps/v1 StatefulSetCondition: An aspect of a StatefulSet's state.
  lastTransitionTime Time: When the status changed last.
  message string: Human-readable message.
  reason string: Reason as one CamelCase word, for programs.
  status string: True, False or Unknown.
  type string: What aspect it is about.
apps/v1 RollingUpdateDeployment: Pace of a rolling update.
  maxSurge IntOrString: Pods above the wanted number, as number or percentage. Default 25%.
  maxUnavailable IntOrString: Pods below the wanted number, as number or percentage. Default 25%.
apps/v1 RollingUpdateStatefulSetStrategy: Pace of a rolling update.
  maxUnavailable IntOrString:
  partition int32:
batch/v1 Job: Runs Pods until enough of them have succeeded.
  spec JobSpec: Desired state.
  status JobStatus: Observed state.
batch/v1 JobSpec: What a Job runs and when it is done.
  activeDeadlineSeconds int64: The Job fails when it has been active for this long.
  backoffLimit int32: Failed Pods that are retried before the Job fails. Default 6.
  backoffLimitPerIndex int32:
  completionMode string: NonIndexed (default) or Indexed.
  completions int32: Pods that must succeed. Default 1 when parallelism is not set either.
  managedBy string: Controller that runs the Job; cannot be changed.
  manualSelector bool: True: the selector is given by the user. Rarely needed.
  maxFailedIndexes int32:
  parallelism int32: Pods that run at the same time. Default 1.
  podFailurePolicy Any: What certain failures of Pods mean.
  podReplacementPolicy string: When a failed Pod is replaced: TerminatingOrFailed or Failed.
  scheduling Any:
  selector meta/v1.LabelSelector: Pods that belong to it; made by the server.
  successPolicy Any:
  suspend bool: True runs no Pods. Default false.
  template! core/v1.PodTemplateSpec: What its Pods look like; restartPolicy must be Never or OnFailure. Cannot be
    changed.
  ttlSecondsAfterFinished int32: The Job is deleted this long after it finished.
batch/v1 JobStatus: State of a Job.
  active int32: Pods that are pending or running.
  completedIndexes string:
  completionTime Time: When the Job completed.
  conditions []JobCondition atomic patch=type: Aspects of the state, one entry per type.
  failed int32: Pods that failed.
  failedIndexes string:
  ready int32: Pods that are ready.
  startTime Time: When the Job was started.
  succeeded int32: Pods that succeeded.
  terminating int32: Pods that are being deleted.
  uncountedTerminatedPods UncountedTerminatedPods: Finished Pods that are not counted yet.
batch/v1 JobCondition: An aspect of a Job's state: Complete, Failed, Suspended, SuccessCriteriaMet, FailureTarget.
  lastProbeTime Time: When this was checked last.
  lastTransitionTime Time: When the status changed last.
  message string: Human-readable message.
  reason string: Reason as one CamelCase word, for programs.
  status! string: True, False or Unknown.
  type! string: What aspect it is about.
batch/v1 UncountedTerminatedPods: Identities of finished Pods that are not counted yet.
  failed []string set:
  succeeded []string set:
policy/v1 PodDisruptionBudget: How many Pods of a set may be away at a time. Stored here, not enforced.
  spec PodDisruptionBudgetSpec: Desired state.
  status PodDisruptionBudgetStatus: Observed state.
policy/v1 PodDisruptionBudgetSpec: The bound and the Pods it is about.
  maxUnavailable IntOrString: Pods that may be away, as number or percentage.
  minAvailable IntOrString: Pods that must stay, as number or percentage.
  selector meta/v1.LabelSelector: Labels of the Pods it is about.
  unhealthyPodEvictionPolicy string:
policy/v1 PodDisruptionBudgetStatus: State of a budget.
  conditions []meta/v1.Condition key=type: Aspects of the state, one entry per type.
  currentHealthy int32:
  desiredHealthy int32:
  disruptedPods map Time:
  disruptionsAllowed int32:
  expectedPods int32:
  observedGeneration int64: Generation of the object this is about.
"""
