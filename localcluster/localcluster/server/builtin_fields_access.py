"""Fields of access control: roles, bindings and access reviews. Notation: builtin_schemas.py."""

DEFINITIONS = r"""
authentication/v1 SelfSubjectReview: Reports who you are.
  status SelfSubjectReviewStatus: Observed state.
authentication/v1 TokenReview: Reports the user of a token.
  spec! TokenReviewSpec: Desired state.
  status TokenReviewStatus: Observed state.
authentication/v1 SelfSubjectReviewStatus: Who you are.
  userInfo UserInfo:
authentication/v1 TokenReviewSpec: The token in question.
  audiences []string atomic: Audiences one of which the token must be for.
  token! string:
authentication/v1 TokenReviewStatus: The user of the token.
  audiences []string atomic:
  authenticated bool:
  error string:
  user UserInfo:
authentication/v1 UserInfo: A user as the server knows it.
  extra map []string:
  groups []string atomic: Groups of the user.
  uid string: Identity.
  username string:
authorization/v1 SelfSubjectAccessReview: Reports whether you may do something.
  spec! SelfSubjectAccessReviewSpec: Desired state.
  status SubjectAccessReviewStatus: Observed state.
authorization/v1 SelfSubjectRulesReview: Reports what you may do in a namespace.
  spec! SelfSubjectRulesReviewSpec: Desired state.
  status SubjectRulesReviewStatus: Observed state.
authorization/v1 SubjectAccessReview: Reports whether a user may do something.
  spec! SubjectAccessReviewSpec: Desired state.
  status SubjectAccessReviewStatus: Observed state.
authorization/v1 SubjectAccessReviewSpec: The user and the requested action.
  extra map []string:
  groups []string atomic: Groups of the user.
  nonResourceAttributes NonResourceAttributes:
  resourceAttributes ResourceAttributes:
  uid string: Identity.
  user string:
authorization/v1 SubjectAccessReviewStatus: The answer.
  allowed! bool: Whether it is allowed.
  denied bool:
  evaluationError string:
  reason string: Reason as one CamelCase word, for programs.
authorization/v1 SelfSubjectAccessReviewSpec: The requested action.
  nonResourceAttributes NonResourceAttributes:
  resourceAttributes ResourceAttributes:
authorization/v1 SelfSubjectRulesReviewSpec: The namespace in question.
  namespace string: Namespace.
authorization/v1 SubjectRulesReviewStatus: What you may do.
  evaluationError string:
  incomplete! bool:
  nonResourceRules! []NonResourceRule atomic:
  resourceRules! []ResourceRule atomic:
authorization/v1 NonResourceAttributes: An action on a URL.
  path string: Path.
  verb string:
authorization/v1 ResourceAttributes: An action on a resource.
  fieldSelector Any:
  group string:
  labelSelector Any:
  name string: Name.
  namespace string: Namespace.
  resource string:
  subresource string:
  verb string:
  version string:
authorization/v1 NonResourceRule: Actions on URLs that are allowed.
  nonResourceURLs []string atomic:
  verbs! []string atomic: Verbs.
authorization/v1 ResourceRule: Actions on resources that are allowed.
  apiGroups []string atomic: API groups; * is all.
  resourceNames []string atomic: Only these objects; empty is all.
  resources []string atomic: Resources; * is all.
  verbs! []string atomic: Verbs.
rbac/v1 ClusterRoleBinding: Gives a ClusterRole to subjects, in the whole cluster.
  roleRef! RoleRef: The ClusterRole that is given. Cannot be changed.
  subjects []Subject atomic: Who gets it.
rbac/v1 ClusterRole: What may be done in the whole cluster, or in any namespace a RoleBinding names.
  aggregationRule AggregationRule: Take the rules of other ClusterRoles.
  rules []PolicyRule atomic: Everything that is allowed.
rbac/v1 RoleBinding: Gives a role to subjects, in one namespace.
  roleRef! RoleRef: The Role or ClusterRole that is given. Cannot be changed.
  subjects []Subject atomic: Who gets it.
rbac/v1 Role: What may be done in one namespace.
  rules []PolicyRule atomic: Everything that is allowed.
rbac/v1 RoleRef atomic: Names a role.
  apiGroup string: API group of the object referred to.
  kind! string: Kind of the object referred to.
  name! string: Name.
rbac/v1 Subject atomic: A user, a group or a ServiceAccount.
  apiGroup string: API group of the object referred to.
  kind! string: User, Group or ServiceAccount.
  name! string: Name.
  namespace string: Namespace.
rbac/v1 AggregationRule: Selects ClusterRoles whose rules are taken.
  clusterRoleSelectors []meta/v1.LabelSelector atomic:
rbac/v1 PolicyRule: Verbs that are allowed on resources or URLs.
  apiGroups []string atomic: Groups of the resources; "" is the core group, * is all.
  nonResourceURLs []string atomic: Paths such as /healthz; only in ClusterRoles.
  resourceNames []string atomic: Only these objects; empty is all.
  resources []string atomic: Resources such as pods or pods/log; * is all.
  verbs! []string atomic: get, list, watch, create, update, patch, delete, deletecollection, or *.
"""
