{{- /*
The definitions of manifests/crds, with the conversion and the other versions that manifests/conversion adds. Without
admission only the stored version is served. The conversion stays: API servers refuse to change it to None as long as it
has a caBundle, which belongs to the operator, so Helm cannot remove it. While one version is served, nothing is
converted.
*/ -}}
{{- if $.Values.crds.install }}
{{- range $path, $_ := $.Files.Glob "definitions/*.yaml" }}
{{- $definition := $.Files.Get $path | fromYaml }}
{{- $spec := $definition.spec }}
{{- range $.Files.Get (printf "conversion/%s" (base $path)) | fromYamlArray }}
{{- if eq .path "/spec/conversion" }}
{{- $_ := set $spec "conversion" .value }}
{{- else }}
{{- $_ := set .value "served" $.Values.webhooks.enabled }}
{{- $_ := set $spec "versions" (append $spec.versions .value) }}
{{- end }}
{{- end }}
{{- $annotations := dict }}
{{- if $.Values.crds.keep }}
{{- $_ := set $annotations "helm.sh/resource-policy" "keep" }}
{{- end }}
{{- with $spec.conversion.webhook }}
{{- if and $.Values.webhooks.enabled $.Values.certificates.certManager.enabled }}
{{- $certificate := printf "%s/%s-serving-cert" $.Release.Namespace (include "bobrapet.fullname" $) }}
{{- $_ := set $annotations "cert-manager.io/inject-ca-from" $certificate }}
{{- end }}
{{- $service := .clientConfig.service }}
{{- if $.Values.webhooks.url }}
{{- $url := printf "%s%s" (trimSuffix "/" $.Values.webhooks.url) $service.path }}
{{- $_ := set . "clientConfig" (dict "url" $url) }}
{{- else }}
{{- $_ := set $service "namespace" $.Release.Namespace }}
{{- $_ := set $service "name" (printf "%s-webhook-service" (include "bobrapet.fullname" $)) }}
{{- $_ := set $service "port" (index $.Values.webhookService.ports 0).port }}
{{- end }}
{{- end }}
{{- $_ := set $definition.metadata "labels" (include "bobrapet.labels" $ | fromYaml) }}
{{- with $annotations }}
{{- $_ := set $definition.metadata "annotations" . }}
{{- end }}
---
{{ toYaml $definition }}
{{- end }}
{{- end }}
