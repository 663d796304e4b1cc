-- Returns `true` if the newest event of a log is equal and still unread. Included before the
-- scripts that merge such events, after log.lua.
local function is_repeated(stream, log, payload)
  local newest = log[NEXT] - 1
  if newest <= log[GIVEN] or log[NEWEST] ~= size_of(payload) or is_firm(log, newest) then
    return false
  end
  local id = '0-' .. int(newest)
  local event = call('XRANGE', events_of(stream), id, id)[1]
  return event and event[2][2] == payload
end
