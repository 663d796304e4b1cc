-- State: reads or writes a value of a session's state. A write succeeds only with the current
-- version.
local reply = earlier_reply()
if reply then
  return reply
end
if not open(arg(1)) then
  return rejected(NOT_FOUND)
end
local row = call('HGET', P .. 'v:' .. H, arg(2))
local version, value = 0, false
if row then
  local at = string.find(row, ' ', 1, true)
  version, value = tonumber(string.sub(row, 1, at - 1)), string.sub(row, at + 1)
end
if not arg(3) then
  return done(version, value)
end
if number(3) ~= version then
  return done(0)
end
call('HSET', P .. 'v:' .. H, arg(2), int(version + 1) .. ' ' .. arg(4))
if string.sub(arg(2), 1, 4) == 'mcp.' then
  call('HINCRBY', P .. 's:' .. H, 'rev', 1)
end
return remember(done(1))
