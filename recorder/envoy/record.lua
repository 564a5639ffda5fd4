-- Send each response of v1 to shadowdiff from v1's own proxy: one asynchronous POST /record per response.
--
-- The response is streamed unchanged and never waits, and no error here reaches the user. The cluster's circuit
-- breaker must limit the number of posts in flight. Runs on Envoy's LuaJIT; needs only the settings below.

-- Settings -------------------------------------------------------------------------------------
local CLUSTER = "shadowdiff"          -- Envoy's cluster of the records port; in Istio outbound|8081||HOST
local TOKEN = ""                      -- one of access.records, if shadowdiff requires a token
local SIDE = "primary"                -- "candidate" if this filter runs in v2's proxy
local SAMPLE = 1.0                    -- share of requests recorded, sampled by id: the target's `sample`
local MAX = 1048576                   -- bytes of a body that are sent; its full size is always sent
local TIMEOUT_MS = 2000               -- deadline of one post; the user does not wait for it
local ID_HEADERS = { "x-diff-id", "x-request-id", "traceparent" }   -- the first one present is the id
local TRACE_HEADERS = {               -- of the request, to link the record to v1's part of the trace; {} sends none
  "traceparent", "b3", "x-b3-traceid", "x-b3-spanid", "x-b3-sampled", "x-b3-flags",
}
local HOSTS = {}                      -- record only requests for these hosts, such as "*.shop.example"; empty: all
local INCLUDE = {}                    -- record only requests that meet one of these conditions: the target's `include`
local EXCLUDE = {}                    -- do not record requests that meet one of these: the target's `exclude`
local SKIP_AGENTS = { "kube-probe/" } -- prefixes of user agents that are not users
local SKIP_PATHS = {                  -- paths (without query) that only probes request
  ["/healthz"] = true, ["/livez"] = true, ["/readyz"] = true,
}
-- ----------------------------------------------------------------------------------------------

local MAX_ID = 256                    -- bytes; a longer id is ignored, and a condition reads only the start of a value
local MAX_HOST = 262                  -- bytes; a longer host matches no wildcard
local SPACE = "shadowdiff"            -- the dynamic metadata that carries a request's facts to its response

-- FNV-1a, 32 bits, over the id with ASCII letters in lower case.
local function fnv1a32(id)
  local hash = 2166136261
  for i = 1, #id do
    local byte = string.byte(id, i)
    if byte >= 65 and byte <= 90 then byte = byte + 32 end
    hash = bit.bxor(hash, byte)
    -- hash * 16777619, split so that a double represents every product exactly
    hash = bit.tobit((hash % 4294967296) * 403 + bit.lshift(hash, 24))
  end
  return hash % 4294967296
end

local function kept(id)
  return SAMPLE >= 1 or fnv1a32(id) < SAMPLE * 4294967296
end

local NAMED = {}
for _, host in ipairs(HOSTS) do NAMED[string.lower(host)] = true end

-- Whether a host, or a wildcard such as *.shop.example above it, is one of HOSTS.
local function named(host)
  if NAMED[host] then return true end
  local above = #host <= MAX_HOST and string.match(host, "^[^.]+%.(.+)$")
  while above do
    if NAMED["*." .. above] then return true end
    above = string.match(above, "^[^.]*%.(.+)$")
  end
  return false
end

-- The service selects a target in the same way: by the whole host, then without its port.
local function of_another(host)
  if #HOSTS == 0 then return false end
  local name = string.lower(host)
  return not (named(name) or named(string.match(name, "^(.*):%d+$") or name))
end

-- Conditions, as in the target: "GET /products/{id}", "/api/*", or a table with route, path, header and users, such as
-- { path = "/beta/*", header = { ["x-tenant"] = "b*" } } or { users = { cookie = "session", share = 0.1 } }.
-- fixtures/conditions.json has test vectors; the service decides in the same way.

-- Return a normalized path: without query, unreserved characters plain, all other escapes in upper case.
local function normal(path)
  path = string.match(path, "^[^?#]*")
  path = string.gsub(path, "[\128-\255]", function(byte) return string.format("%%%02X", string.byte(byte)) end)
  path = string.gsub(path, "%%(%x%x)", function(hex)
    local char = string.char(tonumber(hex, 16))
    return string.find(char, "^[%w._~-]$") and char or "%" .. string.upper(hex)
  end)
  return path == "" and "/" or path
end

-- Split at a plain separator, or at a pattern. Empty parts are kept.
local function split(text, separator, plain)
  local parts, at = {}, 1
  while true do
    local from, to = string.find(text, separator, at, plain)
    if not from then break end
    parts[#parts + 1] = string.sub(text, at, from - 1)
    at = to + 1
  end
  parts[#parts + 1] = string.sub(text, at)
  return parts
end

-- Whether the literals occur in this order, with a nonempty value for each parameter between them.
local function fits(literals, segment)
  local first, last = literals[1], literals[#literals]
  if #literals == 1 then return segment == first end
  local at = #first
  for i = 2, #literals - 1 do
    local from, to = string.find(segment, literals[i], at + 2, true)
    if not from then return false end
    at = to
  end
  return string.sub(segment, 1, #first) == first and (last == "" or string.sub(segment, -#last) == last)
    and #segment - #last > at
end

local function starts(text, start)
  return string.sub(text, 1, #start) == start
end

-- Compile a route or a path to a function of method, normalized path and its segments.
local function place(text, is_route)
  local method, path = string.match(text, "^(%S+) (.*)$")
  path = path or text
  local is_start = not is_route and string.sub(path, -1) == "*"
  path = normal(is_start and string.sub(path, 1, -2) or path)
  local segments = {}
  for i, segment in ipairs(split(path, "/", true)) do segments[i] = split(segment, "{[^{}]*}") end
  return function(request)
    if method and method ~= request.method then return false end
    if is_start then return starts(request.path, path) end
    if not is_route then return request.path == path end
    if #request.segments ~= #segments then return false end
    for i, literals in ipairs(segments) do
      if not fits(literals, request.segments[i]) then return false end
    end
    return true
  end
end

local READ_HEADERS, READ_COOKIES = {}, {}   -- the headers and cookies that the conditions read

local function start_of(value)
  return string.match(string.sub(value or "", 1, MAX_ID), "^[ \t]*(.-)[ \t]*$")
end

local function cookie(headers, name)
  for _, part in ipairs(split(headers:get("cookie") or "", "[;,]")) do
    local from = string.find(part, "[^ \t]")
    local equals = from and string.find(part, "=", from, true)
    if equals and string.sub(part, from, equals - 1) == name then return start_of(string.sub(part, equals + 1)) end
  end
  return ""
end

local function has_value(value, expected)
  if string.sub(expected, -1) ~= "*" then return value == expected end
  return value ~= "" and starts(value, string.sub(expected, 1, -2))
end

local function compiled(condition)
  if type(condition) == "string" then
    condition = { [string.sub(condition, -1) == "*" and "path" or "route"] = condition }
  end
  local places, users = {}, condition.users
  if condition.route then places[#places + 1] = place(condition.route, true) end
  if condition.path then places[#places + 1] = place(condition.path, false) end
  for name in pairs(condition.header or {}) do READ_HEADERS[string.lower(name)] = true end
  if users and users.header then READ_HEADERS[string.lower(users.header)] = true end
  if users and users.cookie then READ_COOKIES[users.cookie] = true end
  return function(request)
    for _, holds in ipairs(places) do
      if not holds(request) then return false end
    end
    for name, expected in pairs(condition.header or {}) do
      if not has_value(start_of(request.headers:get(string.lower(name))), expected) then return false end
    end
    if not users then return true end
    local value = users.cookie and cookie(request.headers, users.cookie)
      or start_of(request.headers:get(string.lower(users.header or "")))
    return value ~= "" and (users.share >= 1 or fnv1a32(value) < users.share * 4294967296)
  end
end

local function any(conditions)
  local all = {}
  for i, condition in ipairs(conditions) do all[i] = compiled(condition) end
  return function(request)
    for _, holds in ipairs(all) do
      if holds(request) then return true end
    end
    return false
  end
end

local in_include, in_exclude = any(INCLUDE), any(EXCLUDE)

local function excluded(headers, path)
  if #INCLUDE == 0 and #EXCLUDE == 0 then return false end
  path = normal(path)
  local request = { headers = headers, method = headers:get(":method") or "", path = path, segments = split(path, "/", true) }
  return in_exclude(request) or (#INCLUDE > 0 and not in_include(request))
end

-- Note the values that the conditions read, so that the service can decide too. An empty value is a missing one.
local function note_conditions(facts, headers)
  for name in pairs(READ_HEADERS) do facts:set(SPACE, "q-" .. name, start_of(headers:get(name))) end
  if not next(READ_COOKIES) then return end
  local found = {}
  for name in pairs(READ_COOKIES) do found[#found + 1] = name .. "=" .. cookie(headers, name) end
  facts:set(SPACE, "q-cookie", table.concat(found, "; "))
end

local function skipped(headers, path)
  if headers:get("x-shadowdiff") then return true end
  if of_another(headers:get(":authority") or "") then return true end
  if SKIP_PATHS[string.match(path, "^[^?#]*")] then return true end
  local agent = headers:get("user-agent") or ""
  for _, start in ipairs(SKIP_AGENTS) do
    if string.sub(agent, 1, #start) == start then return true end
  end
  return headers:get(":method") == "CONNECT"
end

-- Only the trace id of a traceparent is the same on both sides.
local function trace_id(traceparent)
  local trace = string.match(traceparent, "^[^-]*%-([^-]*)%-") or ""
  return #trace == 32 and string.find(trace, "[^0]") and string.lower(trace) or ""
end

-- Return the id and the name of its header, by the same rule as the mirror port.
local function identify(headers)
  for _, name in ipairs(ID_HEADERS) do
    local value = headers:get(name) or ""
    if name == "traceparent" then value = trace_id(value) end
    if value ~= "" and #value <= MAX_ID then return value, name end
  end
end

-- With microseconds if this Envoy supports them, else whole milliseconds.
local function now_ms(handle)
  if handle.timestampString and EnvoyTimestampResolution and EnvoyTimestampResolution.MICROSECOND then
    return tonumber(handle:timestampString(EnvoyTimestampResolution.MICROSECOND)) / 1000
  end
  return handle:timestamp()
end

local function note_request(handle)
  local headers = handle:headers()
  local path = headers:get(":path") or ""
  if skipped(headers, path) or excluded(headers, path) then return end
  local id, source = identify(headers)
  if not id or not kept(id) then return end
  local facts = handle:streamInfo():dynamicMetadata()
  facts:set(SPACE, "id", id)
  facts:set(SPACE, "id-source", source)
  facts:set(SPACE, "method", headers:get(":method") or "")
  facts:set(SPACE, "path", path)
  facts:set(SPACE, "host", headers:get(":authority") or "")
  facts:set(SPACE, "attempt", headers:get("x-envoy-attempt-count") or "0")
  facts:set(SPACE, "started", now_ms(handle))
  for _, name in ipairs(TRACE_HEADERS) do
    local value = headers:get(name)
    if value and #value <= MAX_ID then facts:set(SPACE, "q-" .. name, value) end
  end
  note_conditions(facts, headers)
end

-- Copy fields under a prefix. A repeated name keeps all values, in their order.
local function copy(fields, prefix, into)
  for name, value in pairs(fields) do
    if string.sub(name, 1, 1) ~= ":" then
      local key = prefix .. name
      local held = into[key]
      if held == nil then
        into[key] = value
      elseif type(held) == "table" then
        held[#held + 1] = value
      else
        into[key] = { held, value }
      end
    end
  end
end

-- Read the body while it streams: each chunk goes to the user before the next one arrives.
local function read_body(handle)
  local parts, count, size = {}, 0, 0
  for chunk in handle:bodyChunks() do
    local length = chunk:length()
    if length > 0 then
      if size < MAX then
        count = count + 1
        parts[count] = chunk:getBytes(0, math.min(length, MAX - size))
      end
      size = size + length
    end
  end
  return table.concat(parts), size
end

local function record_response(handle)
  local facts = handle:streamInfo():dynamicMetadata():get(SPACE)
  if facts == nil or facts["id"] == nil then return end
  local headers = handle:headers()
  local status = headers:get(":status") or "0"
  if status == "101" then return end   -- an upgraded connection does not end
  local record = {
    [":method"] = "POST", [":path"] = "/record", [":authority"] = "shadowdiff",
    ["content-type"] = "application/octet-stream",
    ["x-shadowdiff-id"] = facts["id"], ["x-shadowdiff-id-source"] = facts["id-source"],
    ["x-shadowdiff-method"] = facts["method"], ["x-shadowdiff-path"] = facts["path"],
    ["x-shadowdiff-host"] = facts["host"], ["x-shadowdiff-attempt"] = facts["attempt"],
    ["x-shadowdiff-status"] = status, ["x-shadowdiff-side"] = SIDE,
  }
  if TOKEN ~= "" then record["authorization"] = "Bearer " .. TOKEN end
  for _, name in ipairs(TRACE_HEADERS) do
    record["x-shadowdiff-q-" .. name] = facts["q-" .. name]
  end
  for name in pairs(READ_HEADERS) do record["x-shadowdiff-q-" .. name] = facts["q-" .. name] end
  record["x-shadowdiff-q-cookie"] = facts["q-cookie"]
  copy(headers, "x-shadowdiff-h-", record)
  local body, size = read_body(handle)
  local trailers = handle:trailers()
  if trailers then copy(trailers, "x-shadowdiff-trailer-", record) end
  record["x-shadowdiff-size"] = tostring(size)
  record["x-shadowdiff-duration-ms"] = string.format("%.3f", math.max(0, now_ms(handle) - facts["started"]))
  handle:httpCall(CLUSTER, record, body, {
    ["timeout_ms"] = TIMEOUT_MS, ["asynchronous"] = true, ["trace_sampled"] = false, ["send_xff"] = false,
  })
end

-- An error here (a missing cluster, an old Envoy) loses the record and logs one line. It has no other effect.
local function safely(step, handle)
  local fine, problem = pcall(step, handle)
  if not fine then handle:logWarn("shadowdiff: not recorded: " .. tostring(problem)) end
end

function envoy_on_request(handle)
  safely(note_request, handle)
end

function envoy_on_response(handle)
  safely(record_response, handle)
end
