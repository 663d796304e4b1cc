-- Decides what every node is told, and what is kept of it for one that may have missed it: the newest
-- topics of the last hour, each once, as many as fit.
local topics, bytes = P .. 'topics', P .. 'topic:bytes'
local count, size = 1024, 1048576
local kept = tonumber(call('GET', bytes) or 0)
if call('ZADD', topics, int(NOW), arg(1)) == 1 then
  kept = call('INCRBY', bytes, #arg(1))
end
while true do
  local oldest = call('ZRANGE', topics, 0, 0, 'WITHSCORES')
  if not oldest[1] then
    call('UNLINK', bytes)
    break
  end
  if tonumber(oldest[2]) > NOW - 3600000000 and kept <= size and call('ZCARD', topics) <= count then
    break
  end
  call('ZREM', topics, oldest[1])
  kept = call('DECRBY', bytes, #oldest[1])
end
ring_all('N' .. arg(1))
return done()
