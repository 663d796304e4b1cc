-- Read: returns the next events to the current reader of a stream.
if not open(arg(1)) then
  return rejected(NOT_FOUND)
end
local stream, generation, after, most = arg(2), number(3), number(4), number(5)
local log = log_of(stream)
if not log then
  return rejected(NOT_FOUND)
end
if log[READER] == '' or log[GENERATION] ~= generation then
  return rejected(FENCED)
end
local events, bytes, full = {}, 0, after >= log[NEXT] - 1
local given = log[GIVEN]
while not full do
  local page = call('XRANGE', events_of(stream), '(0-' .. int(after), '+', 'COUNT', 64)
  for _, event in ipairs(page) do
    local payload = event[2][2]
    local size = size_of(payload)
    if #events > 0 and bytes + size > most then
      full = true
      break
    end
    after = tonumber(string.sub(event[1], 3))
    bytes = bytes + size
    if after > given then
      given = after
      log[UNREAD] = log[UNREAD] - size
      if not is_firm(log, after) then
        log[OLD] = log[OLD] + size
      end
    end
    events[#events + 1] = after
    events[#events + 1] = payload
  end
  full = full or #page < 64
end
if given > log[GIVEN] then
  log[GIVEN] = given
  save_log(stream, log)
end
if #events > 0 then
  wake_owner(stream, log)
end
return done(log[NEXT] - 1, log[CLOSED] and 1 or 0, events)
