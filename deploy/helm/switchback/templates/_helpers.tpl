{{- define "switchback.name" -}}{{ printf "%s" .Release.Name | trunc 40 | trimSuffix "-" }}{{- end }}

{{- define "switchback.labels" -}}
app.kubernetes.io/name: switchback
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "switchback.selector" -}}
app.kubernetes.io/name: switchback
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .service }}
{{- end }}

{{- define "switchback.image" -}}
{{ .root.Values.image.repository }}{{ with .service }}-{{ . }}{{ end }}:{{ default .root.Chart.AppVersion .root.Values.image.tag }}
{{- end }}

{{- define "switchback.configMap" -}}{{ default (printf "%s-config" (include "switchback.name" .)) .Values.existingConfigMap }}{{- end }}

{{- define "switchback.secret" -}}{{ default "switchback-nats" .Values.auth.existingSecret }}{{- end }}

{{- define "switchback.natsURL" -}}
{{- if .Values.nats.url }}{{ .Values.nats.url }}{{ else }}nats://{{ .Release.Name }}-nats:4222{{ end }}
{{- end }}

{{- /* Who a pod is to NATS. */ -}}
{{- define "switchback.natsEnv" -}}
- {name: SWITCHBACK_NATS_URL, value: {{ include "switchback.natsURL" .root | quote }}}
- {name: SWITCHBACK_NATS_USER, value: {{ .user }}}
- name: SWITCHBACK_NATS_PASSWORD
  valueFrom: {secretKeyRef: {name: {{ include "switchback.secret" .root }}, key: {{ .user }}}}
{{- if .root.Values.auth.tlsSecret }}
- {name: SWITCHBACK_NATS_CA_FILE, value: /etc/nats-tls/ca.crt}
- {name: SWITCHBACK_NATS_CERT_FILE, value: /etc/nats-tls/tls.crt}
- {name: SWITCHBACK_NATS_KEY_FILE, value: /etc/nats-tls/tls.key}
{{- end }}
{{- end }}

{{- define "switchback.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "switchback.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- /* A service's Deployment and PodDisruptionBudget. */ -}}
{{- define "switchback.workload" -}}
{{- $root := .root }}{{ $service := .service }}{{ $v := index $root.Values $service }}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ include "switchback.name" $root }}-{{ $service }}
  labels:
    {{- include "switchback.labels" $root | nindent 4 }}
    app.kubernetes.io/component: {{ $service }}
spec:
  {{- if not .scaled }}
  replicas: {{ $v.replicas }}
  {{- end }}
  selector:
    matchLabels: {{- include "switchback.selector" . | nindent 6 }}
  strategy:
    rollingUpdate: {maxUnavailable: 0, maxSurge: 1}
  template:
    metadata:
      labels:
        {{- include "switchback.labels" $root | nindent 8 }}
        app.kubernetes.io/component: {{ $service }}
      annotations:
        checksum/config: {{ $root.Values.config | sha256sum }}
    spec:
      automountServiceAccountToken: false
      serviceAccountName: {{ include "switchback.name" $root }}
      {{- with $root.Values.image.pullSecrets }}
      imagePullSecrets: {{- range . }}
        - name: {{ . }}
        {{- end }}
      {{- end }}
      securityContext: {{- include "switchback.podSecurity" $root | nindent 8 }}
      # It says that it is not ready any more and still serves; then it finishes what is in flight; then there is some time to spare.
      terminationGracePeriodSeconds: {{ add $root.Values.drainDelay $root.Values.shutdownTimeout 10 }}
      topologySpreadConstraints:
        - maxSkew: 1
          topologyKey: kubernetes.io/hostname
          whenUnsatisfiable: ScheduleAnyway
          labelSelector:
            matchLabels: {{- include "switchback.selector" . | nindent 14 }}
      containers:
        - name: {{ $service }}
          image: {{ include "switchback.image" . | quote }}
          imagePullPolicy: {{ $root.Values.image.pullPolicy }}
          args: [-f, /etc/switchback/switchback.yaml]
          env:
            {{- include "switchback.natsEnv" (dict "root" $root "user" $service) | nindent 12 }}
            - {name: SWITCHBACK_STREAMS_PROVISION, value: check}
            {{- range $name, $value := $root.Values.streams.env }}
            - {name: {{ $name }}, value: {{ $value | quote }}}
            {{- end }}
            - {name: SWITCHBACK_ADMIN_ADDR, value: "0.0.0.0:{{ .admin }}"}
            - {name: SWITCHBACK_DRAIN_DELAY, value: {{ $root.Values.drainDelay }}s}
            {{- with .shutdownSetting }}
            - {name: {{ . }}, value: {{ $root.Values.shutdownTimeout }}s}
            {{- end }}
            - {name: SWITCHBACK_LOG_FORMAT, value: json}
            {{- with $v.env }}{{ toYaml . | nindent 12 }}{{ end }}
          {{- with $root.Values.envFrom }}
          envFrom: {{- toYaml . | nindent 12 }}
          {{- end }}
          ports:
            {{- if .port }}
            - {name: http, containerPort: {{ .port }}}
            {{- end }}
            - {name: admin, containerPort: {{ .admin }}}
          # It waits for NATS and the streams for half a minute before it gives up and is started again.
          startupProbe:
            httpGet: {path: /healthz, port: admin}
            periodSeconds: 2
            failureThreshold: 30
          livenessProbe:
            httpGet: {path: /healthz, port: admin}
            periodSeconds: 10
          readinessProbe:
            httpGet: {path: /readyz, port: admin}
            periodSeconds: 5
            timeoutSeconds: 6
            failureThreshold: 1
          resources: {{- toYaml $v.resources | nindent 12 }}
          securityContext: {{- include "switchback.containerSecurity" $root | nindent 12 }}
          volumeMounts:
            - {name: config, mountPath: /etc/switchback, readOnly: true}
            - {name: tmp, mountPath: /tmp}
            {{- if $root.Values.auth.tlsSecret }}
            - {name: nats-tls, mountPath: /etc/nats-tls, readOnly: true}
            {{- end }}
      volumes:
        - name: config
          configMap: {name: {{ include "switchback.configMap" $root }}}
        - name: tmp
          emptyDir: {sizeLimit: 64Mi}
        {{- if $root.Values.auth.tlsSecret }}
        - name: nats-tls
          secret: {secretName: {{ $root.Values.auth.tlsSecret }}}
        {{- end }}
      {{- with $v.nodeSelector }}
      nodeSelector: {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $v.tolerations }}
      tolerations: {{- toYaml . | nindent 8 }}
      {{- end }}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ include "switchback.name" $root }}-{{ $service }}
  labels: {{- include "switchback.labels" $root | nindent 4 }}
spec:
  {{- toYaml $v.podDisruptionBudget | nindent 2 }}
  selector:
    matchLabels: {{- include "switchback.selector" . | nindent 6 }}
{{- end }}
