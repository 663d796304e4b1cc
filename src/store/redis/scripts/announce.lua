-- Announce: numbers an announcement and signals every node. The latest topics are stored, each
-- once, as many as fit. Nodes and sessions that may have missed some read them there.
local reply = earlier_reply()
if reply then
  return reply
end
local topics, bytes = P .. 'topics', P .. 'topic:bytes'
local count, size = number(2), number(3)
local newest = call('INCR', P .. 'announced')
local kept = tonumber(call('GET', bytes) or 0)
if call('ZADD', topics, int(newest), arg(1)) == 1 then
  kept = call('INCRBY', bytes, #arg(1))
end
while kept > size or call('ZCARD', topics) > count do
  local oldest = call('ZRANGE', topics, 0, 0, 'WITHSCORES')
  if not oldest[1] then
    break
  end
  call('ZREM', topics, oldest[1])
  call('SET', P .. 'topic:gone', oldest[2])
  kept = call('DECRBY', bytes, #oldest[1])
end
if kept == 0 then
  call('UNLINK', bytes)
end
signal_all('N' .. int(newest) .. ' ' .. arg(1))
return remember(done(newest))
