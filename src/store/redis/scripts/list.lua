-- List: returns a page of sessions, those after a name and its age.
local after = arg(1)
local from = after ~= '' and call('ZRANK', P .. 'age', after)
if from then
  from = from + 1
else
  -- The last session of the page before is gone; the others are in their places.
  from = call('ZCOUNT', P .. 'age', '-inf', '(' .. arg(2))
end
local page, rows = call('ZRANGE', P .. 'age', from, from + 255, 'WITHSCORES'), {}
for at = 1, #page, 2 do
  local session = page[at]
  if open(session) then
    local since = call('ZSCORE', P .. 'rest', session)
    local idle = since and math.max(0, NOW - tonumber(since)) or 0
    rows[#rows + 1] = { session, call('HGET', P .. 's:' .. session, 'info'), idle, s.calls, s.readers, s.bytes }
  end
end
if #page == 0 then
  return done(rows)
end
return done(rows, page[#page - 1], page[#page])
