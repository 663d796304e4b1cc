-- Answer request: stores the first answer to a client request, if the answers that wait to be fetched fit.
local reply = earlier_reply()
if reply then
  return reply
end
if not open(arg(1)) then
  return rejected(NOT_FOUND)
end
save(true)
local row = call('HGET', P .. 'q:' .. H, arg(2))
if not row then
  return rejected(NOT_FOUND)
end
row = cmsgpack.unpack(row)
if row[4] then
  -- The answer is not fetched yet, so its signal may have been lost.
  signal(row[3], 'A' .. H .. ' ' .. arg(2))
  return done(0)
end
local size = size_of(arg(4))
if call('HINCRBY', P .. 's:' .. H, 'answers', size) > math.max(number(5), size) then
  call('HINCRBY', P .. 's:' .. H, 'answers', -size)
  return rejected(FULL)
end
row[4], row[5] = arg(3), arg(4)
call('HSET', P .. 'q:' .. H, arg(2), cmsgpack.pack(row))
signal(row[3], 'A' .. H .. ' ' .. arg(2))
return remember(done(1))
