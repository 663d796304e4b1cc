-- Decides what people see of the sessions, a page of them at a time.
local from = number(1)
local rows = {}
for _, session in ipairs(call('ZRANGE', P .. 'age', int(from), int(from + 255))) do
  if open(session) then
    local since = call('ZSCORE', P .. 'rest', session)
    local idle = since and math.max(0, NOW - tonumber(since)) or 0
    rows[#rows + 1] = { session, call('HGET', P .. 's:' .. session, 'info'), idle, s.calls, s.readers, s.bytes }
  end
end
return done(call('ZCARD', P .. 'age'), rows)
