"""What the relay on another machine runs: a HAProxy whose Lua reads orders from its standard input.

Used by `elsewhere`. HAProxy's image has no shell and no other program that could be counted on, and HAProxy can do it:
one thread does nothing but wait for its standard input and pass each order on to the other thread, which carries all
of them out side by side and writes the answers to the standard output.

An order is the line `NUMBER UNTIL TIMEOUT_S PLACE PORT SIZE` and SIZE bytes to send; an answer is `NUMBER WORD SIZE`
and SIZE bytes. PORT 0: PLACE is a socket's own address. UNTIL: `connected`, the `head` of an HTTP answer, or the `end`.
"""

from __future__ import annotations

WAY_TIMEOUT_S = 10.0
"""Less than the near end waits for a greeting, so that the relay's own words come first."""

_LUA = r"""
-- Written by Fairlead. Reads orders from standard input, connects, and writes the answers to standard output.
local WAY = "unix@{socket}"
-- Of one attempt; HAProxy makes several, with a pause as long between them. What we connect to is on this machine.
local CONNECT_S = 0.1
local WAY_S = {way_s}
local PART_BYTES = 65536
local MOST_HEAD_BYTES = 65536

local function answer(number, word, data)
  io.stdout:write(string.format("%s %s %d\n", number, word, #data), data)
  io.stdout:flush()
end

local function now_s()
  local now = core.now()
  return now.sec + now.usec / 1000000
end

local function is_interim(head)
  local status = tonumber(head:match("^HTTP/%d%.%d (%d%d%d)"))
  return status and status >= 100 and status < 200 and status ~= 101
end

local function read_head(socket)
  local lines, size, first = {}, 0, 1
  while size < MOST_HEAD_BYTES do
    local line, _, rest = socket:receive("*l")
    if not line then
      lines[#lines + 1] = rest
      return table.concat(lines, "\r\n"), true
    end
    lines[#lines + 1] = line
    size = size + #line
    if line == "" and #lines > first then
      if not is_interim(lines[first]) then break end
      first = #lines + 1
    elseif #lines == first and line:sub(1, 5) ~= "HTTP/" then
      break
    end
  end
  return table.concat(lines, "\r\n") .. "\r\n", false
end

local function read_all(socket)
  local parts = {}
  while true do
    local data, _, rest = socket:receive(PART_BYTES)
    parts[#parts + 1] = data or rest
    if not data then return table.concat(parts), true end
  end
end

local function carried_out(kind, timeout_s, place, port, request)
  local socket = core.tcp()
  socket:settimeout(math.min(CONNECT_S, timeout_s))
  local connected
  if port == 0 then connected = socket:connect(place) else connected = socket:connect(place, port) end
  if not connected then return "unconnected", "" end
  socket:settimeout(timeout_s)
  local data, began_s = "", now_s()
  if #request > 0 then socket:send(request) end
  local broke_off = false
  if kind == "head" then data, broke_off = read_head(socket) end
  if kind == "end" then data, broke_off = read_all(socket) end
  socket:close()
  -- HAProxy has the same words for a connection that was closed and for one that kept silent for too long.
  return broke_off and now_s() - began_s > timeout_s - 0.01 and "late" or "ok", data
end

core.register_service("fairlead_relay", "tcp", function(applet)
  while true do
    local line = applet:getline()
    if not line or line == "" then return end
    local number, kind, timeout_s, place, port, size = line:match("^(%d+) (%a+) (%S+) (%S+) (%d+) (%d+)")
    local request = tonumber(size) > 0 and applet:receive(tonumber(size)) or ""
    -- Until this has arrived the other thread must not wait for its input: what it sent would stay with it.
    applet:send("+\n")
    core.register_task(function()
      local done, word, data = pcall(carried_out, kind, tonumber(timeout_s), place, tonumber(port), request)
      answer(number, done and word or "failed", done and data or tostring(word))
    end)
  end
end)

local function speaks_ipv6()
  local addresses = io.open("/proc/net/if_inet6")
  return addresses and addresses:read("l") and "6" or ""
end

-- Without its other thread a relay is of no use. It ends then, and says why: whoever asks next starts another one.
local function connected_way()
  local deadline_s = now_s() + WAY_S
  while now_s() < deadline_s do
    -- One that was refused once connects to nothing any more.
    local way = core.tcp()
    way:settimeout(CONNECT_S)
    if way:connect(WAY) then return way end
    way:close()
    core.msleep(10)
  end
  io.stderr:write(string.format("nothing accepts connections at %s in %g s\n", WAY, WAY_S))
  os.exit(1)
end

local function read_orders()
  local way = connected_way()
  way:settimeout(86400)
  answer("0", "ready", speaks_ipv6())
  while true do
    local line = io.stdin:read("L")
    local size = line and tonumber(line:match("(%d+)\n$"))
    if not size then os.exit(0) end
    way:send(line .. (size > 0 and io.stdin:read(size) or ""))
    if not way:receive("*l") then os.exit(1) end
  end
end

if core.thread == 1 then core.register_task(read_orders) end
"""


def lua(socket: str, way_timeout_s: float = WAY_TIMEOUT_S) -> str:
    """``socket``: where one thread passes orders on to the other, in a folder that nobody else may enter.

    ``way_timeout_s``: how long the other one may take to listen there; after that the relay ends.
    """
    return _LUA.replace("{socket}", socket).replace("{way_s}", f"{way_timeout_s:g}")


def config(socket: str, lua_path: str) -> str:
    """``lua_path``: where :func:`lua` is, as the relay sees it."""
    return f"""\
# Written by Fairlead.
global
    nbthread 2
    maxconn 2000
    # Of an answer that is larger than a buffer 3.0 hands the next part to Lua a tenth of a second later.
    tune.bufsize 1048576
    lua-load-per-thread "{lua_path}"

defaults
    mode tcp
    timeout connect 10s
    timeout client 20d
    timeout server 20d

listen relay
    bind "unix@{socket}" mode 600 thread 2
    tcp-request content use-service lua.fairlead_relay
"""
