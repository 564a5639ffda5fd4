{{/* A target's `mesh`, with the namespace in which v1 runs. */}}
{{- define "shadowdiff.meshNamespace" -}}
{{- default .root.Release.Namespace (default dict .target.mesh).namespace -}}
{{- end -}}

{{- define "shadowdiff.connectionPool" -}}
connectionPool:
  tcp: {maxConnections: {{ int .maxConnections }}, connectTimeout: {{ .connectTimeout }}}
  http: {http1MaxPendingRequests: {{ int .maxPending }}, http2MaxRequests: {{ int .maxRequests }}}
{{- end -}}

{{/* An EnvoyFilter that records. In: root, target, own (mesh.recorder or mesh.candidateRecorder), side, name. */}}
{{- define "shadowdiff.recorder" -}}
{{- $at := default "sidecar" .own.at -}}
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata:
  name: {{ .name }}
  namespace: {{ default (include "shadowdiff.meshNamespace" .) .own.namespace }}
  labels:
    {{- include "shadowdiff.labels" .root | nindent 4 }}
spec:
  workloadSelector:
    labels:
      {{- toYaml .own.selector | nindent 6 }}
  configPatches:
    {{- if eq $at "gateway" }}
    # A route adds headers after all filters, too late for the recorder, so this filter sets the id first.
    - applyTo: HTTP_FILTER
      match:
        {{- include "shadowdiff.recorderMatch" (dict "context" "GATEWAY" "port" .own.port) | nindent 8 }}
      patch:
        operation: INSERT_BEFORE
        value:
          name: envoy.filters.http.header_mutation
          typed_config:
            "@type": type.googleapis.com/envoy.extensions.filters.http.header_mutation.v3.HeaderMutation
            mutations:
              request_mutations:
                - append:
                    header: {key: x-diff-id, value: "%UNIQUE_ID%"}
                    append_action: OVERWRITE_IF_EXISTS_OR_ADD
    {{- end }}
    - applyTo: HTTP_FILTER
      match:
        {{- include "shadowdiff.recorderMatch" (dict "context" (eq $at "gateway" | ternary "GATEWAY" "SIDECAR_INBOUND") "port" .own.port) | nindent 8 }}
      patch:
        operation: INSERT_BEFORE
        value:
          name: shadowdiff
          typed_config:
            "@type": type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua
            default_source_code:
              inline_string: |
                {{- include "shadowdiff.lua" . | nindent 16 }}
{{- end -}}

{{- define "shadowdiff.recorderMatch" -}}
context: {{ .context }}
listener:
  {{- with .port }}
  portNumber: {{ . }}
  {{- end }}
  filterChain:
    filter:
      name: envoy.filters.network.http_connection_manager
      subFilter: {name: envoy.filters.http.router}
{{- end -}}
