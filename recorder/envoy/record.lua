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
local SKIP_AGENTS = { "kube-probe/" } -- prefixes of user agents that are not users
local SKIP_PATHS = {                  -- paths (without query) that only probes request
  ["/healthz"] = true, ["/livez"] = true, ["/readyz"] = true,
}
-- ----------------------------------------------------------------------------------------------

local MAX_ID = 256                    -- bytes; a longer id is ignored
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
  if skipped(headers, path) then return end
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
