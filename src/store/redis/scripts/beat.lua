-- Decides who is alive: whoever said so a lease ago at most, by the clock of the server. Whoever asks
-- gives up what one dead process had; that each step comes once is the server's doing. Rings the
-- asker over the wire, so that it knows its bells arrive. Says, too, since when the server remembers.
give_room()
local last = tonumber(call('GET', P .. 'beat') or 0)
call('SET', P .. 'beat', int(NOW))
-- Where nobody could say so, nobody is dead, and no session was idle.
-- Whoever lives says so three times in a lease.
if last > 0 and NOW - last > LEASE / 2 then
  for _, process in ipairs(call('ZRANGE', P .. 'leases', 0, -1)) do
    call('ZADD', P .. 'leases', int(NOW + LEASE), process)
  end
  call('HSET', P .. 'outage', 'over', int(NOW), 'lasted', int(NOW - last))
end
local known = call('ZSCORE', P .. 'leases', PROCESS)
call('ZADD', P .. 'leases', int(NOW + LEASE), PROCESS)
call('SREM', P .. 'dying', PROCESS)
call(PUBLISH, P .. 'bell:' .. PROCESS, 'P' .. int(NOW))

-- Who comes back meanwhile keeps what it still has.
for _, process in ipairs(call('ZRANGEBYSCORE', P .. 'leases', '-inf', int(NOW))) do
  call('ZREM', P .. 'leases', process)
  call('SADD', P .. 'dying', process)
end
local dead = call('SRANDMEMBER', P .. 'dying')
if dead then
  local node = call('SRANDMEMBER', P .. 'nodes:' .. dead)
  if node then
    give_up(node, arg(1), arg(2), number(3))
  else
    call('SREM', P .. 'dying', dead)
    -- A day is long enough for anybody who comes back.
    call('EXPIRE', P .. 'left:' .. dead, 86400)
  end
end
return done(known and 1 or 0, dead and 1 or 0, call('HGET', P .. 'about', 'born') or '')
