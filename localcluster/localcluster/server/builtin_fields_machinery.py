"""Fields of the machinery: definitions, webhooks, leases, events, endpoint slices. Notation: builtin_schemas.py."""

DEFINITIONS = r"""
admissionregistration/v1 MutatingWebhookConfiguration: Webhooks that may change objects before they are stored.
  webhooks []MutatingWebhook key=name: The webhooks, called one after another.
admissionregistration/v1 ValidatingWebhookConfiguration: Webhooks that may refuse objects before they are stored.
  webhooks []ValidatingWebhook key=name: The webhooks; all must agree.
admissionregistration/v1 MutatingWebhook: A webhook that may change objects.
  admissionReviewVersions! []string atomic: Versions of AdmissionReview the webhook understands, best first.
  clientConfig! WebhookClientConfig: How the webhook is reached.
  failurePolicy string: Fail (default) or Ignore, when the webhook cannot be asked.
  matchConditions []MatchCondition key=name: CEL expressions that must all be true for the webhook to be called.
  matchPolicy string: Equivalent (default) or Exact.
  name! string: Name.
  namespaceSelector meta/v1.LabelSelector: Only objects in namespaces with these labels.
  objectSelector meta/v1.LabelSelector: Only objects with these labels.
  reinvocationPolicy string: Never (default), or IfNeeded to be asked again when a later webhook changed the object.
  rules []RuleWithOperations atomic: Requests it is about.
  sideEffects! string: None or NoneOnDryRun.
  timeoutSeconds int32: Seconds the webhook may take, 1 to 30. Default 10.
admissionregistration/v1 ValidatingWebhook: A webhook that may refuse objects.
  admissionReviewVersions! []string atomic: Versions of AdmissionReview the webhook understands, best first.
  clientConfig! WebhookClientConfig: How the webhook is reached.
  failurePolicy string: Fail (default) or Ignore, when the webhook cannot be asked.
  matchConditions []MatchCondition key=name: CEL expressions that must all be true for the webhook to be called.
  matchPolicy string: Equivalent (default) or Exact.
  name! string: Name.
  namespaceSelector meta/v1.LabelSelector: Only objects in namespaces with these labels.
  objectSelector meta/v1.LabelSelector: Only objects with these labels.
  rules []RuleWithOperations atomic: Requests it is about.
  sideEffects! string: None or NoneOnDryRun.
  timeoutSeconds int32: Seconds the webhook may take, 1 to 30. Default 10.
admissionregistration/v1 ValidatingAdmissionPolicy: Conditions in CEL that the server itself checks before a write.
  spec ValidatingAdmissionPolicySpec: Desired state.
  status ValidatingAdmissionPolicyStatus: Observed state.
admissionregistration/v1 ValidatingAdmissionPolicySpec: Which requests are checked, and how.
  auditAnnotations []AuditAnnotation atomic: Notes for the audit log, which does not exist here.
  failurePolicy string: Fail (default) or Ignore, when an expression has no value.
  matchConditions []MatchCondition key=name: CEL expressions that must all be true for the policy to be asked.
  matchConstraints MatchResources: Requests it is about.
  paramKind ParamKind: Kind of the objects that expressions see as params.
  validations []Validation atomic: CEL expressions that must all be true for the write to be allowed.
  variables []Variable key=name: Values that expressions see as variables.NAME; each is computed when it is used.
admissionregistration/v1 ValidatingAdmissionPolicyStatus: Observed state.
  conditions []meta/v1.Condition key=type: Aspects of the state, one entry per type.
  observedGeneration int64: Generation of the object this is about.
  typeChecking TypeChecking: Result of the type checks, which nobody makes here.
admissionregistration/v1 ValidatingAdmissionPolicyBinding: Enables a policy for some requests, with parameters.
  spec! ValidatingAdmissionPolicyBindingSpec: Desired state.
admissionregistration/v1 ValidatingAdmissionPolicyBindingSpec: Which policy is enabled, and what a failure does.
  matchResources MatchResources: Requests it is about; those of the policy if absent.
  paramRef ParamRef: Objects that expressions see as params.
  policyName! string: Name of the policy.
  validationActions! []string set: Deny, Warn, Audit; not both Deny and Warn.
admissionregistration/v1 MatchResources atomic: Requests that a policy is about.
  excludeResourceRules []NamedRuleWithOperations atomic: Requests it is not about.
  matchPolicy string: Equivalent (default) or Exact.
  namespaceSelector meta/v1.LabelSelector: Only objects in namespaces with these labels.
  objectSelector meta/v1.LabelSelector: Only objects with these labels.
  resourceRules []NamedRuleWithOperations atomic: Requests it is about.
admissionregistration/v1 NamedRuleWithOperations atomic: Requests a policy is about.
  apiGroups []string atomic: API groups; * is all.
  apiVersions []string atomic: API versions; * is all.
  operations []string atomic: CREATE, UPDATE, DELETE, CONNECT or *.
  resourceNames []string atomic: Names of objects; empty is all.
  resources []string atomic: Resources such as pods or pods/status; * is all.
  scope string: Cluster, Namespaced or * (default).
admissionregistration/v1 ParamKind atomic: Kind of the objects that parameterize a policy.
  apiVersion string: API group and version.
  kind string: Kind.
admissionregistration/v1 ParamRef atomic: Objects that parameterize a policy.
  name string: Name of one object.
  namespace string: Namespace; that of the request if absent.
  parameterNotFoundAction string: Allow or Deny, when there is no such object.
  selector meta/v1.LabelSelector: All objects with these labels.
admissionregistration/v1 Validation: An expression that must be true.
  expression! string: CEL.
  message string: Text of the refusal.
  messageExpression string: CEL for the text of the refusal.
  reason string: Reason of the refusal: Invalid (default), Forbidden, Unauthorized or RequestEntityTooLarge.
admissionregistration/v1 Variable atomic: A named value.
  expression! string: CEL.
  name! string: Name.
admissionregistration/v1 AuditAnnotation: A note for the audit log.
  key! string: Key.
  valueExpression! string: CEL.
admissionregistration/v1 TypeChecking: Result of the type checks of expressions.
  expressionWarnings []ExpressionWarning atomic: One entry per finding.
admissionregistration/v1 ExpressionWarning: A finding about an expression.
  fieldRef! string: Path of the expression.
  warning! string: Text.
admissionregistration/v1 WebhookClientConfig: How a webhook is reached; url or service.
  caBundle bytes: Certificates (PEM, base64 encoded) that the server's certificate is checked against.
  service ServiceReference: The Service to call.
  url string: Address to call, https only.
admissionregistration/v1 MatchCondition: A CEL expression that must be true for the webhook to be called.
  expression! string:
  name! string: Name.
admissionregistration/v1 RuleWithOperations: Requests a webhook is called for.
  apiGroups []string atomic: API groups; * is all.
  apiVersions []string atomic: API versions; * is all.
  operations []string atomic: CREATE, UPDATE, DELETE, CONNECT or *.
  resources []string atomic: Resources such as pods or pods/status; * is all.
  scope string: Cluster, Namespaced or * (default).
admissionregistration/v1 ServiceReference: A Service that answers a webhook.
  name! string: Name.
  namespace! string: Namespace.
  path string: Path.
  port int32: Port number.
apiextensions/v1 CustomResourceDefinition: Adds a kind to the API.
  spec! CustomResourceDefinitionSpec: Desired state.
  status CustomResourceDefinitionStatus: Observed state.
apiextensions/v1 CustomResourceDefinitionSpec: The kind that is added.
  conversion CustomResourceConversion: How objects are converted between versions.
  group! string: API group; with the plural it forms the name of the definition.
  names! CustomResourceDefinitionNames: How the kind is called.
  preserveUnknownFields bool: Must be false; old definitions only.
  scope! string: Namespaced or Cluster.
  versions! []CustomResourceDefinitionVersion atomic: Versions of the kind; exactly one is stored.
apiextensions/v1 CustomResourceDefinitionStatus: State of a definition.
  acceptedNames CustomResourceDefinitionNames: Names in use for this kind.
  conditions []CustomResourceDefinitionCondition key=type: Aspects of the state, one entry per type.
  observedGeneration int64: Generation of the object this is about.
  storedVersions []string atomic: Versions in which objects may still be stored.
apiextensions/v1 CustomResourceConversion: How objects are converted between versions.
  strategy! string: None (only apiVersion changes) or Webhook.
  webhook WebhookConversion:
apiextensions/v1 CustomResourceDefinitionNames: How a kind is called.
  categories []string atomic: Groups for the command line, such as all.
  kind! string: Name in objects, CamelCase.
  listKind string: Kind of lists; default is kind and List.
  plural! string: Name in URLs, lower case.
  shortNames []string atomic: Abbreviations for the command line.
  singular string: Name on the command line; default is kind in lower case.
apiextensions/v1 CustomResourceDefinitionVersion: A version of a kind.
  additionalPrinterColumns []CustomResourceColumnDefinition atomic: Columns of kubectl get.
  deprecated bool: Warn clients that use this version.
  deprecationWarning string:
  name! string: Name.
  schema CustomResourceValidation: What objects look like.
  selectableFields []SelectableField atomic: Fields that field selectors may name.
  served! bool: Whether it can be read and written.
  storage! bool: Whether objects are stored in it; exactly one version is.
  subresources CustomResourceSubresources: Whether status and scale are written on their own.
apiextensions/v1 CustomResourceDefinitionCondition: An aspect of a definition: Established, NamesAccepted, Terminating.
  lastTransitionTime Time: When the status changed last.
  message string: Human-readable message.
  observedGeneration int64: Generation of the object this is about.
  reason string: Reason as one CamelCase word, for programs.
  status! string: True, False or Unknown.
  type! string: What aspect it is about.
apiextensions/v1 WebhookConversion: A webhook that converts objects.
  clientConfig WebhookClientConfig: How the webhook is reached.
  conversionReviewVersions! []string atomic: Versions of ConversionReview the webhook understands, best first.
apiextensions/v1 CustomResourceColumnDefinition: A column of kubectl get.
  description string: What the column shows.
  format string: Format of the value.
  jsonPath! string: JSON path of the field, e.g. .spec.replicas.
  name! string: Name.
  priority int32: 0 shows always, above 0 with -o wide only.
  type! string: string, integer, number, boolean or date.
apiextensions/v1 CustomResourceValidation: What objects look like.
  openAPIV3Schema Any: Structural OpenAPI v3 schema.
apiextensions/v1 SelectableField: A field that field selectors may name.
  jsonPath! string: JSON path of the field, e.g. .spec.replicas.
apiextensions/v1 CustomResourceSubresources: Parts that are written on their own.
  scale CustomResourceSubresourceScale:
  status CustomResourceSubresourceStatus: Observed state.
apiextensions/v1 WebhookClientConfig: How a webhook is reached; url or service.
  caBundle bytes: Certificates (PEM, base64 encoded) that the server's certificate is checked against.
  service ServiceReference: The Service to call.
  url string: Address to call, https only.
apiextensions/v1 CustomResourceSubresourceScale: The number of replicas, for kubectl scale.
  labelSelectorPath string:
  specReplicasPath! string:
  statusReplicasPath! string:
apiextensions/v1 CustomResourceSubresourceStatus: The status part.
apiextensions/v1 ServiceReference: A Service that answers a webhook.
  name! string: Name.
  namespace! string: Namespace.
  path string: Path.
  port int32: Port number.
coordination/v1 Lease: A lock that expires; used for leader election and node heartbeats.
  spec LeaseSpec: Desired state.
coordination/v1 LeaseSpec: Who holds a Lease and until when.
  acquireTime MicroTime: When the current holder took it.
  holderIdentity string: Current holder.
  leaseDurationSeconds int32: How long after renewTime others must wait before they take over.
  leaseTransitions int32: How often the holder changed.
  preferredHolder string:
  renewTime MicroTime: When the current holder renewed it last.
  strategy string:
discovery/v1 EndpointSlice: Part of the addresses a Service leads to.
  addressType! string: IPv4, IPv6 or FQDN. Cannot be changed.
  endpoints []Endpoint atomic: The addresses.
  ports []EndpointPort atomic: Ports offered at each address.
discovery/v1 Endpoint: One address with its state.
  addresses! []string set:
  conditions EndpointConditions: Aspects of the state, one entry per type.
  deprecatedTopology map string:
  hints Any:
  hostname string: Host name.
  nodeName string: Name of the node.
  targetRef core/v1.ObjectReference:
  zone string:
discovery/v1 EndpointPort atomic: A port of an EndpointSlice.
  appProtocol string:
  name string: Name.
  port int32: Port number.
  protocol string: Protocol.
discovery/v1 EndpointConditions: Whether an address takes traffic.
  ready bool:
  serving bool:
  terminating bool:
events/v1 Event: A note about something that happened to an object. It may be dropped; nothing should depend on it.
  action string: What was being done.
  deprecatedCount int32:
  deprecatedFirstTimestamp Time:
  deprecatedLastTimestamp Time:
  deprecatedSource core/v1.EventSource:
  eventTime! MicroTime: When it happened, with microseconds.
  note string: Human-readable description of what happened.
  reason string: Reason as one CamelCase word, for programs.
  regarding core/v1.ObjectReference: The object the event is about.
  related core/v1.ObjectReference: A second object that plays a part.
  reportingController string: Name of the controller that reported it.
  reportingInstance string: Which instance of the controller reported it.
  series EventSeries: Set when the same thing happened repeatedly.
  type string: Normal or Warning.
events/v1 EventSeries: Repetitions of one event.
  count! int32:
  lastObservedTime! MicroTime:
networking/v1 NetworkPolicy: Which traffic Pods may send and receive. Stored here, not enforced.
  spec NetworkPolicySpec: Desired state.
networking/v1 NetworkPolicySpec: Rules of a NetworkPolicy.
  egress []Any atomic:
  ingress []Any atomic:
  podSelector meta/v1.LabelSelector: Pods the rules apply to.
  policyTypes []string atomic: Ingress, Egress or both.
"""
