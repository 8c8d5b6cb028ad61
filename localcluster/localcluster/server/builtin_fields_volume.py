"""Fields of volumes and of their sources. Notation: builtin_schemas.py."""

DEFINITIONS = r"""
core/v1 Volume: A volume of a Pod; exactly one source is set.
  awsElasticBlockStore Any:
  azureDisk Any:
  azureFile Any:
  cephfs Any:
  cinder Any:
  configMap ConfigMapVolumeSource: Entries of a ConfigMap as files.
  csi Any: A volume of a CSI driver.
  downwardAPI DownwardAPIVolumeSource: Fields of the Pod as files.
  emptyDir EmptyDirVolumeSource: A directory that lives as long as the Pod.
  ephemeral Any:
  fc Any:
  flexVolume Any:
  flocker Any:
  gcePersistentDisk Any:
  gitRepo Any:
  glusterfs Any:
  hostPath HostPathVolumeSource: A path of the node.
  image Any: Image.
  iscsi Any:
  name! string: Name of the volume, unique in its Pod (DNS label).
  nfs Any: A directory of an NFS server.
  persistentVolumeClaim PersistentVolumeClaimVolumeSource: A claimed volume.
  photonPersistentDisk Any:
  portworxVolume Any:
  projected ProjectedVolumeSource: Several sources in one directory.
  quobyte Any:
  rbd Any:
  scaleIO Any:
  secret SecretVolumeSource: Entries of a Secret as files.
  storageos Any:
  vsphereVolume Any:
core/v1 ConfigMapVolumeSource: Entries of a ConfigMap as files.
  defaultMode int32: Permission bits of files that state none. Default 0644.
  defaultUser int64:
  items []KeyToPath atomic: Entries that become files; all when empty.
  name string: Name.
  optional bool: True when it need not exist.
core/v1 DownwardAPIVolumeSource: Fields of the Pod as files.
  defaultMode int32: Permission bits of files that state none. Default 0644.
  defaultUser int64:
  items []DownwardAPIVolumeFile atomic: Entries that become files; all when empty.
core/v1 EmptyDirVolumeSource: A directory that lives as long as the Pod.
  medium string: Empty for disk, Memory for a RAM disk.
  mode int32: Permission bits of the file.
  sizeLimit Quantity: The most it may hold.
core/v1 HostPathVolumeSource: A path of the node.
  path! string: Path.
  type string: Type.
core/v1 PersistentVolumeClaimVolumeSource: A claimed volume.
  claimName! string:
  readOnly bool: Read-only. Default false.
core/v1 ProjectedVolumeSource: Several sources in one directory.
  defaultMode int32: Permission bits of files that state none. Default 0644.
  defaultUser int64:
  sources []VolumeProjection atomic: What is put into the directory.
core/v1 SecretVolumeSource: Entries of a Secret as files.
  defaultMode int32: Permission bits of files that state none. Default 0644.
  defaultUser int64:
  items []KeyToPath atomic: Entries that become files; all when empty.
  optional bool: True when it need not exist.
  secretName string: Name of the Secret.
core/v1 KeyToPath: One entry as one file.
  key! string: Key.
  mode int32: Permission bits of the file.
  path! string: Path.
  user int64:
core/v1 DownwardAPIVolumeFile: One file with a field of the Pod.
  fieldRef ObjectFieldSelector:
  mode int32: Permission bits of the file.
  path! string: Path.
  resourceFieldRef ResourceFieldSelector:
  user int64:
core/v1 VolumeProjection: One source of a projected volume.
  clusterTrustBundle Any:
  configMap ConfigMapProjection: Entries of a ConfigMap.
  downwardAPI DownwardAPIProjection: Fields of the Pod.
  podCertificate Any:
  secret SecretProjection: Entries of a Secret.
  serviceAccountToken ServiceAccountTokenProjection: A token of the Pod's ServiceAccount, renewed before it expires.
core/v1 ObjectFieldSelector atomic: A field of the Pod.
  apiVersion string: API version of the object referred to.
  fieldPath! string: Path of the field, e.g. metadata.labels['app'].
core/v1 ResourceFieldSelector atomic: A resource of a container.
  containerName string:
  divisor Quantity: Unit of the output. Default 1.
  resource! string: Which one, e.g. limits.memory.
core/v1 ConfigMapProjection: Entries of a ConfigMap in a projected volume.
  items []KeyToPath atomic: Entries that become files; all when empty.
  name string: Name.
  optional bool: True when it need not exist.
core/v1 DownwardAPIProjection: Fields of the Pod in a projected volume.
  items []DownwardAPIVolumeFile atomic: Entries that become files; all when empty.
core/v1 SecretProjection: Entries of a Secret in a projected volume.
  items []KeyToPath atomic: Entries that become files; all when empty.
  name string: Name.
  optional bool: True when it need not exist.
core/v1 ServiceAccountTokenProjection: A service-account token in a projected volume.
  audience string: Who the token is for; default is the API server.
  expirationSeconds int64: Lifetime of the token. Default 3600, at least 600.
  path! string: File the token is written to.
  user int64:
"""
