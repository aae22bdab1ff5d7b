{{- /* The name of the release's objects. */ -}}
{{- define "pnwatch.name" -}}
{{- if .Values.nameOverride }}{{ .Values.nameOverride }}{{ else }}{{ .Release.Name }}{{ end }}
{{- end }}

{{- define "pnwatch.selector" -}}
app.kubernetes.io/name: pnwatch
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "pnwatch.labels" -}}
{{ include "pnwatch.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "pnwatch.image" -}}
{{ .Values.image.repository }}
{{- if .Values.image.digest }}@{{ .Values.image.digest }}
{{- else if .Values.image.tag }}:{{ .Values.image.tag }}
{{- else }}:{{ .Chart.AppVersion }}{{ end }}
{{- end }}

{{- /* Of every container but a root prober: no rights, nothing to write. */ -}}
{{- define "pnwatch.restricted" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}
