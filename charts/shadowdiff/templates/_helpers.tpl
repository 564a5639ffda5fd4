{{- define "shadowdiff.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "shadowdiff.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "shadowdiff.selectorLabels" -}}
app.kubernetes.io/name: {{ include "shadowdiff.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "shadowdiff.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{ include "shadowdiff.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: shadowdiff
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Labels of the service's pods; the trial Redis and `helm test` have another component. */}}
{{- define "shadowdiff.podSelector" -}}
{{ include "shadowdiff.selectorLabels" . }}
app.kubernetes.io/component: service
{{- end -}}

{{- define "shadowdiff.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "shadowdiff.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "shadowdiff.image" -}}
{{- $image := .Values.image -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $image.repository $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $image.repository (default .Chart.AppVersion $image.tag) -}}
{{- end -}}
{{- end -}}

{{/* The service's name in other namespaces. */}}
{{- define "shadowdiff.host" -}}
{{- printf "%s.%s.svc.%s" (include "shadowdiff.fullname" .) .Release.Namespace .Values.istio.clusterDomain -}}
{{- end -}}

{{/* "true" if each pod runs its own Redis. */}}
{{- define "shadowdiff.embedded" -}}
{{- if not (or .Values.store.url .Values.store.existingSecret.name .Values.redis.enabled) -}}true{{- end -}}
{{- end -}}

{{- define "shadowdiff.storeUrl" -}}
{{- if .Values.store.url -}}
{{- .Values.store.url -}}
{{- else if .Values.redis.enabled -}}
{{- printf "redis://%s-redis:6379/0" (include "shadowdiff.fullname" .) -}}
{{- end -}}
{{- end -}}

{{/* "true" if no value says who may use the web port; it then listens on the pod's loopback. */}}
{{- define "shadowdiff.webClosed" -}}
{{- $access := list .Values.access.tokens (dig "access" "proxy" dict .Values.config) (dig "tls" "web" "client_ca" "" .Values.config) -}}
{{- $anonymous := dig "access" "anonymous" "none" .Values.config -}}
{{- if not (or (index $access 0) (index $access 1) (index $access 2) (ne (toString $anonymous) "none")) -}}true{{- end -}}
{{- end -}}

{{/* http or https, of (list $ "mirror"): whether `config.tls` has a certificate for the port. */}}
{{- define "shadowdiff.scheme" -}}
{{- ternary "https" "http" (hasKey (dig "tls" dict (index . 0).Values.config) (index . 1)) -}}
{{- end -}}

{{/* The ports in `config.tls`, comma-separated: all of them, or those with `client_ca`: (list . "client_ca"). */}}
{{- define "shadowdiff.tlsPorts" -}}
{{- $setting := index . 1 -}}
{{- $found := list -}}
{{- $numbers := dict "mirror" "8080" "records" "8081" "web" "8082" "metrics" "9090" -}}
{{- range $port, $files := dig "tls" dict (index . 0).Values.config -}}
{{- if and $files (or (not $setting) (get $files $setting)) -}}{{- $found = append $found (get $numbers $port) -}}{{- end -}}
{{- end -}}
{{- join "," $found -}}
{{- end -}}

{{- define "shadowdiff.probeScheme" -}}
{{- if eq (include "shadowdiff.scheme" (list . "metrics")) "https" }}, scheme: HTTPS{{ end -}}
{{- end -}}

{{- define "shadowdiff.tokenVariable" -}}
SHADOWDIFF_TOKEN_{{ upper . | replace "-" "_" | replace "." "_" }}
{{- end -}}

{{/* The configuration file: `config`, `targets` without their `mesh`, and where the store is. */}}
{{- define "shadowdiff.config" -}}
{{- $config := deepCopy .Values.config -}}
{{- $host := dig "listen" "host" "0.0.0.0" $config -}}
{{- $_ := set $config "listen" (dict "host" $host "web_host" (ternary "127.0.0.1" $host (eq (include "shadowdiff.webClosed" .) "true")) "mirror" 8080 "records" 8081 "web" 8082 "metrics" 9090) -}}
{{- $access := default dict $config.access -}}
{{- $tokens := list -}}
{{- range .Values.access.tokens -}}
{{- $tokens = append $tokens (dict "name" .name "role" (default "read" .role) "targets" (default (list "*") .targets) "secret" (include "shadowdiff.tokenVariable" .name)) -}}
{{- end -}}
{{- if $tokens -}}{{- $_ := set $access "tokens" $tokens -}}{{- end -}}
{{- $records := list -}}
{{- range $number, $_ := .Values.access.records -}}{{- $records = append $records (printf "SHADOWDIFF_RECORDS_TOKEN_%d" $number) -}}{{- end -}}
{{- if $records -}}{{- $_ := set $access "records" $records -}}{{- end -}}
{{- if .Values.access.hooks.name -}}{{- $_ := set $access "hooks" "SHADOWDIFF_HOOKS_TOKEN" -}}{{- end -}}
{{- if $access -}}{{- $_ := set $config "access" $access -}}{{- end -}}
{{- $store := default dict $config.store -}}
{{- if include "shadowdiff.embedded" . -}}
{{- $_ := set $store "data_dir" "/var/lib/shadowdiff" -}}
{{- else if not .Values.store.existingSecret.name -}}
{{- $_ := set $store "url" (include "shadowdiff.storeUrl" .) -}}
{{- end -}}
{{- if .Values.store.passwordSecret.name -}}
{{- $_ := set $store "password" "SHADOWDIFF_STORE_PASSWORD" -}}
{{- end -}}
{{- if .Values.store.sentinelPasswordSecret.name -}}
{{- $_ := set $store "sentinel_password" "SHADOWDIFF_SENTINEL_PASSWORD" -}}
{{- end -}}
{{- if .Values.store.caSecret.name -}}
{{- $_ := set $store "ca" "/etc/shadowdiff-store/ca.crt" -}}
{{- end -}}
{{- if .Values.store.certSecret.name -}}
{{- $_ := set $store "cert" "/etc/shadowdiff-store-cert/tls.crt" -}}
{{- $_ := set $store "cert_key" "/etc/shadowdiff-store-cert/tls.key" -}}
{{- end -}}
{{- if .Values.store.encryptionKeySecret.name -}}
{{- $_ := set $store "key" "SHADOWDIFF_STORE_KEY" -}}
{{- end -}}
{{- $_ := set $config "store" $store -}}
{{- $targets := list -}}
{{- range .Values.targets -}}
{{- $targets = append $targets (omit . "mesh") -}}
{{- end -}}
{{- $_ := set $config "targets" $targets -}}
{{- toYaml $config -}}
{{- end -}}

{{/* Reject values that cannot work, with the fix. */}}
{{- define "shadowdiff.check" -}}
{{- if and .Values.store.url .Values.store.existingSecret.name -}}
{{- fail "store.url and store.existingSecret.name are both set: remove one of them" -}}
{{- end -}}
{{- if and .Values.redis.enabled (or .Values.store.url .Values.store.existingSecret.name) -}}
{{- fail "redis.enabled is only for trials, and store names another Redis: set redis.enabled=false" -}}
{{- end -}}
{{- if include "shadowdiff.embedded" . -}}
{{- if or .Values.autoscaling.enabled (gt (int .Values.replicaCount) 1) -}}
{{- fail "several pods need one Redis: set store.existingSecret (or store.url) to its URL, or set replicaCount=1 and autoscaling.enabled=false" -}}
{{- end -}}
{{- end -}}
{{- if and (include "shadowdiff.webClosed" .) (or .Values.ingress.enabled .Values.httpRoute.enabled .Values.openshift.route.enabled) -}}
{{- fail "the pages can be reached from outside, and no value says who may use them: set access.tokens, config.access.proxy, or config.access.anonymous (read or write)" -}}
{{- end -}}
{{- if dig "tls" "metrics" "client_ca" "" .Values.config -}}
{{- fail "config.tls.metrics.client_ca requires a client certificate, which the kubelet's probes do not have: remove it, and restrict access with networkPolicy.metrics.from" -}}
{{- end -}}
{{- range .Values.targets -}}
{{- $mesh := default dict .mesh -}}
{{- $recorder := default dict $mesh.recorder -}}
{{- $both := default dict $mesh.candidateRecorder -}}
{{- $uses := list -}}
{{- range $kind := list "recorder" "candidateRecorder" "virtualService" "candidateLimits" "authorizationPolicy" -}}
{{- if (default dict (get $mesh $kind)).enabled -}}{{- $uses = append $uses $kind -}}{{- end -}}
{{- end -}}
{{- if and $uses (not $.Values.istio.enabled) -}}
{{- fail (printf "target %s: mesh.%s renders Istio's kinds: set istio.enabled=true" .name (join ", mesh." $uses)) -}}
{{- end -}}
{{- if and $recorder.enabled (not $recorder.selector) -}}
{{- fail (printf "target %s: mesh.recorder.selector is empty, so every workload of the namespace would record: set v1's labels" .name) -}}
{{- end -}}
{{- if and $both.enabled (not $both.selector) -}}
{{- fail (printf "target %s: mesh.candidateRecorder.selector is empty: set v2's labels" .name) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "shadowdiff.containerSecurity" -}}
securityContext:
  {{- toYaml .Values.securityContext | nindent 2 }}
{{- end -}}

{{/* A name for a target's object: at most 63 characters, no dots or underscores. */}}
{{- define "shadowdiff.targetName" -}}
{{- printf "%s-%s" (include "shadowdiff.fullname" .root) (regexReplaceAll "[._]" .target.name "-") | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* Set one of the Lua filter's settings; fail if the filter has no such setting. */}}
{{- define "shadowdiff.luaSetting" -}}
{{- $pattern := printf "(?m)^local %s = .*$" .name -}}
{{- if .block -}}{{- $pattern = printf "(?ms)^local %s = \\{.*?^\\}$" .name -}}{{- end -}}
{{- if not (regexMatch $pattern .lua) -}}{{- fail (printf "files/record.lua has no setting %s" .name) -}}{{- end -}}
{{- regexReplaceAllLiteral $pattern .lua (printf "local %s = %s" .name .value) -}}
{{- end -}}

{{/* A list of texts as a Lua table. For headers and paths JSON's escapes are Lua's. */}}
{{- define "shadowdiff.luaList" -}}
{ {{ range $index, $text := . }}{{ if $index }}, {{ end }}{{ toRawJson $text }}{{ end }} }
{{- end -}}

{{/* A list or map as a Lua table. */}}
{{- define "shadowdiff.luaValue" -}}
{{- if kindIs "map" . -}}{ {{ range $name, $part := . }}[{{ toRawJson $name }}] = {{ include "shadowdiff.luaValue" $part }}, {{ end }}}
{{- else if kindIs "slice" . -}}{ {{ range . }}{{ include "shadowdiff.luaValue" . }}, {{ end }}}
{{- else -}}{{ toRawJson . }}
{{- end -}}
{{- end -}}

{{/* The recorder with this target's settings. In: root, target, side. */}}
{{- define "shadowdiff.lua" -}}
{{- $own := default dict .own -}}
{{- $all := .root.Values.recorder -}}
{{- $lua := .root.Files.Get "files/record.lua" -}}
{{- $cluster := printf "outbound|8081||%s" (include "shadowdiff.host" .root) -}}
{{- $lua = include "shadowdiff.luaSetting" (dict "lua" $lua "name" "CLUSTER" "value" (toRawJson $cluster)) -}}
{{- $lua = include "shadowdiff.luaSetting" (dict "lua" $lua "name" "SIDE" "value" (toRawJson .side)) -}}
{{- $share := 1.0 -}}
{{- if hasKey .target "sample" -}}{{- $share = .target.sample -}}{{- end -}}
{{- $lua = include "shadowdiff.luaSetting" (dict "lua" $lua "name" "SAMPLE" "value" (toRawJson $share)) -}}
{{- $lua = include "shadowdiff.luaSetting" (dict "lua" $lua "name" "MAX" "value" (printf "%d" (int64 (default $all.maxBodyBytes $own.maxBodyBytes)))) -}}
{{- $lua = include "shadowdiff.luaSetting" (dict "lua" $lua "name" "TIMEOUT_MS" "value" (printf "%d" (int64 (default $all.timeoutMs $own.timeoutMs)))) -}}
{{- with dig "pairing" "id_headers" list .root.Values.config -}}
{{- $lua = include "shadowdiff.luaSetting" (dict "lua" $lua "name" "ID_HEADERS" "value" (include "shadowdiff.luaList" .)) -}}
{{- end -}}
{{- $lua = include "shadowdiff.luaSetting" (dict "lua" $lua "name" "INCLUDE" "value" (include "shadowdiff.luaValue" (default list .target.include))) -}}
{{- $lua = include "shadowdiff.luaSetting" (dict "lua" $lua "name" "EXCLUDE" "value" (include "shadowdiff.luaValue" (default list .target.exclude))) -}}
{{- $agents := $all.skipAgents -}}
{{- if hasKey $own "skipAgents" -}}{{- $agents = $own.skipAgents -}}{{- end -}}
{{- $lua = include "shadowdiff.luaSetting" (dict "lua" $lua "name" "SKIP_AGENTS" "value" (include "shadowdiff.luaList" $agents)) -}}
{{- $paths := $all.skipPaths -}}
{{- if hasKey $own "skipPaths" -}}{{- $paths = $own.skipPaths -}}{{- end -}}
{{- $lines := list -}}
{{- range $paths -}}{{- $lines = append $lines (printf "  [%s] = true," (toRawJson .)) -}}{{- end -}}
{{- $lua = include "shadowdiff.luaSetting" (dict "lua" $lua "name" "SKIP_PATHS" "value" (printf "{\n%s\n}" (join "\n" $lines)) "block" true) -}}
{{- if eq (default "sidecar" $own.at) "gateway" -}}
{{- $lua = include "shadowdiff.luaSetting" (dict "lua" $lua "name" "HOSTS" "value" (include "shadowdiff.luaList" .target.hosts)) -}}
{{- end -}}
{{- $lua -}}
{{- end -}}
