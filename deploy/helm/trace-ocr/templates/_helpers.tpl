{{- define "trace-ocr.fullname" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" }}{{ end }}
{{- end }}

{{/* Labels that selectors use: (list $ component). */}}
{{- define "trace-ocr.selector" -}}
{{- $ := index . 0 -}}
app.kubernetes.io/name: {{ $.Chart.Name }}
app.kubernetes.io/instance: {{ $.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{/* All labels of an object: (list $ component). */}}
{{- define "trace-ocr.labels" -}}
{{- $ := index . 0 -}}
{{ include "trace-ocr.selector" . }}
app.kubernetes.io/part-of: trace-ocr
app.kubernetes.io/version: {{ $.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $.Chart.Name $.Chart.Version }}
{{- end }}

{{/* An object's name and labels: (list $ component). */}}
{{- define "trace-ocr.metadata" -}}
{{- $ := index . 0 -}}
name: {{ include "trace-ocr.fullname" $ }}-{{ index . 1 }}
namespace: {{ $.Release.Namespace }}
labels: {{- include "trace-ocr.labels" . | nindent 2 }}
{{- end }}

{{/* An image of ours: (list $ name). */}}
{{- define "trace-ocr.image" -}}
{{- $ := index . 0 -}}
{{- $tag := $.Values.image.tag | default $.Chart.AppVersion -}}
image: {{ printf "%strace-ocr-%s:%s" $.Values.image.registry (index . 1) $tag | quote }}
imagePullPolicy: {{ $.Values.image.pullPolicy }}
{{- end }}

{{/* What every pod has, restricted as Kubernetes' standard of that name: (list $ user group). */}}
{{- define "trace-ocr.pod" -}}
{{- $ := index . 0 -}}
serviceAccountName: {{ include "trace-ocr.fullname" $ }}
automountServiceAccountToken: false
# Otherwise Kubernetes sets variables for its Services, some of which look like our settings.
enableServiceLinks: false
{{- with $.Values.image.pullSecrets }}
imagePullSecrets: {{- range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: {{ index . 1 }}
  runAsGroup: {{ index . 2 }}
  fsGroup: {{ index . 2 }}
  seccompProfile: {type: RuntimeDefault}
{{- end }}

{{/* The file system cannot be written, and nothing is privileged. */}}
{{- define "trace-ocr.confined" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}

{{/* The ConfigMap and Secrets of a component: (list $ names of further Secrets, each with "?" behind it if optional). */}}
{{- define "trace-ocr.envFrom" -}}
{{- $ := index . 0 -}}
envFrom:
  - configMapRef: {name: {{ include "trace-ocr.fullname" $ }}}
{{- range rest . }}
  - secretRef: {name: {{ trimSuffix "?" . }}{{ if hasSuffix "?" . }}, optional: true{{ end }}}
{{- end }}
{{- end }}

{{/* The broker's URL, whose password comes from a Secret. */}}
{{- define "trace-ocr.broker" -}}
{{- if .Values.redis.enabled -}}
- name: REDIS_PASSWORD
  valueFrom: {secretKeyRef: {name: {{ .Values.secrets.redis }}, key: REDIS_PASSWORD}}
- {name: TRACE_OCR_REDIS_URL, value: "redis://:$(REDIS_PASSWORD)@{{ include "trace-ocr.fullname" . }}-redis:6379/0"}
{{- else -}}
- name: TRACE_OCR_REDIS_URL
  valueFrom: {secretKeyRef: {name: {{ .Values.secrets.redis }}, key: TRACE_OCR_REDIS_URL}}
{{- end }}
{{- end }}

{{/* Pods of a component on several nodes: (list $ component). */}}
{{- define "trace-ocr.spread" -}}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{- include "trace-ocr.selector" . | nindent 8 }}
{{- end }}

{{/* Pods restart when their settings change. */}}
{{- define "trace-ocr.checksum" -}}
checksum/settings: {{ list .Values.settings .Values.environment | toJson | sha256sum }}
{{- end }}

{{/* The labels of every pod of this release. */}}
{{- define "trace-ocr.ours" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* TCP ports of a network policy: a list of numbers. */}}
{{- define "trace-ocr.ports" -}}
{{- range . }}
- {protocol: TCP, port: {{ . }}}
{{- end }}
{{- end }}
