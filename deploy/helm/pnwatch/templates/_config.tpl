{{- /* The prober's file. NODE_NAME is put in by the prober itself. */ -}}
{{- define "pnwatch.probe" -}}
cluster: {{ .Values.cluster | quote }}
log:
  level: {{ .Values.log.level }}
  format: {{ .Values.log.format }}
probe:
  vantage: node/${NODE_NAME}
  interface: {{ .Values.pn.interface | quote }}
  pn_cidr: {{ .Values.pn.cidr }}
  exporters:
    {{- if .Values.prober.exporters }}
    {{- range .Values.prober.exporters }}
    - url: {{ .url | quote }}
      {{- if $.Values.prober.tokenSecret }}
      token_file: /var/run/secrets/pnwatch/token
      {{- end }}
    {{- end }}
    {{- else }}
    {{- range $replica := until (int .Values.exporter.replicas) }}
    - url: http://{{ include "pnwatch.name" $ }}-{{ $replica }}.{{ $.Release.Namespace }}.svc:9760
      token_file: /var/run/secrets/pnwatch/token
    {{- end }}
    {{- end }}
  state_dir: /var/lib/pnwatch
  control:
    {{- toYaml .Values.prober.control | nindent 4 }}
  listen: 127.0.0.1:{{ .Values.prober.port }}
{{- end }}

{{- /* The exporter's file. */ -}}
{{- define "pnwatch.serve" -}}
cluster: {{ .Values.cluster | quote }}
log:
  level: {{ .Values.log.level }}
  format: {{ .Values.log.format }}
serve:
  listen:
    ingest: 0.0.0.0:9760
    page: {{ if .Values.exporter.page.open }}0.0.0.0{{ else }}127.0.0.1{{ end }}:9761
    metrics: 0.0.0.0:9762
  inventory:
    kubernetes:
      pn_cidr: {{ .Values.pn.cidr }}
      audience: pnwatch
      prober_account: {{ .Release.Namespace }}/{{ include "pnwatch.name" . }}-prober
      condition_namespace: {{ .Release.Namespace }}
      {{- toYaml .Values.exporter.kubernetes | nindent 6 }}
      names:
        pn_address_label: {{ .Values.pn.addressLabel | quote }}
        cache_taint: {{ .Values.pn.cacheTaint | quote }}
        definition: {{ .Values.exporter.kubernetes.instance_plural }}.{{ .Values.exporter.kubernetes.instance_group }}
        {{- with .Values.exporter.names }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
  {{- with .Values.exporter.tokens.vantages }}
  tokens:
    {{- range . }}
    - vantage: {{ .vantage | quote }}
      file: /etc/pnwatch-tokens/{{ .key }}
    {{- end }}
  {{- end }}
  {{- with .Values.exporter.alertmanager }}
  {{- if .urls }}
  alertmanager:
    urls:
      {{- toYaml .urls | nindent 6 }}
    resend: {{ .resend }}
    timeout: {{ .timeout }}
    {{- if .token }}
    token_file: /etc/pnwatch-alertmanager/token
    {{- end }}
    {{- if .ca }}
    ca_file: /etc/pnwatch-alertmanager/ca.pem
    {{- end }}
    {{- with .headers }}
    headers:
      {{- toYaml . | nindent 6 }}
    {{- end }}
  {{- end }}
  {{- end }}
  state_dir: /var/lib/pnwatch
  {{- with .Values.exporter.pace }}
  pace:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.exporter.extra }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
