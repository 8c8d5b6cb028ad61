{{- /* Beginning of the names of a release; cut so that the longest name of a Service has at most 63 characters. */ -}}
{{- define "bobrapet.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- default $full .Values.fullnameOverride | trunc LONGEST_NAME | trimSuffix "-" -}}
{{- end }}

{{- /* The operator's ServiceAccount, which conditions and policies name. */ -}}
{{- define "bobrapet.serviceAccountName" -}}
{{- $default := ternary (include "bobrapet.fullname" .) "default" .Values.serviceAccount.create -}}
{{- default $default .Values.serviceAccount.name -}}
{{- end }}

{{- /* Labels of every object; those of the chart win over commonLabels. */ -}}
{{- define "bobrapet.labels" -}}
{{- $own := list "app.kubernetes.io/name" "app.kubernetes.io/component" "control-plane" -}}
{{- $own = concat $own (list "app.kubernetes.io/instance" "app.kubernetes.io/managed-by") -}}
{{- $own = concat $own (list "app.kubernetes.io/version" "helm.sh/chart") -}}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service | quote }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | quote }}
{{- range $key, $text := .Values.commonLabels }}
{{- if not (has $key $own) }}
{{ $key | quote }}: {{ $text | quote }}
{{- end }}
{{- end }}
{{- end }}

{{- define "bobrapet.image" -}}
{{- $image := .Values.controllerManager.manager.image -}}
{{- $tag := ternary .Chart.AppVersion $image.tag (or (empty $image.tag) (eq $image.tag "latest")) -}}
{{- if $image.digest }}
{{- printf "%s@%s" $image.repository $image.digest | quote }}
{{- else }}
{{- printf "%s:%s" $image.repository $tag | quote }}
{{- end }}
{{- end }}

{{- define "bobrapet.environment" -}}
{{- if not .Values.webhooks.enabled }}
- name: ENABLE_WEBHOOKS
  value: "false"
{{- end }}
{{- with .Values.controllerManager.manager.env }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "bobrapet.issuer" -}}
{{- with .Values.certificates.certManager.issuerRef }}
issuerRef:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- /* The port of a flag with an address, as "default" if "args" do not have it; the last one counts. */ -}}
{{- define "bobrapet.port" -}}
{{- $found := regexFindAll (printf "(?m)^-+%s[=\n].*:[0-9]+$" .flag) (join "\n" .args) -1 -}}
{{- if $found }}{{ regexFind "[0-9]+$" (last $found) }}{{ else }}{{ .default }}{{ end }}
{{- end }}
