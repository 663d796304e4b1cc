-- Finish: removes the calls of a stream. A stream that was closed by its answer is kept; any other
-- is forgotten.
if not open(arg(1)) then
  return rejected(NOT_FOUND)
end
local stream = arg(2)
if stream == '' then
  -- The caller never received the stream's number, so the calls are found by their node and token.
  mark_undone(arg(4))
  local rows = call('HGETALL', P .. 'c:' .. H)
  for at = 1, #rows, 2 do
    local row = cmsgpack.unpack(rows[at + 1])
    if row[1] == arg(3) and row[2] == arg(4) then
      stream = rows[at]
    end
  end
  if stream == '' then
    return done()
  end
end
if stream ~= '0' then
  if not release(stream) then
    allow_writes()
  end
  local log = log_of(stream)
  if log and not log[CLOSED] then
    request_detach(stream, log, '')
    forget(stream, log)
  end
end
save(true)
return done()
