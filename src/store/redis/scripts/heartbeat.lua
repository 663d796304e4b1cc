-- Heartbeat: renews the lease of a process. A process counts as dead when its lease has expired by
-- the server's clock.
--
-- The caller cleans up after one dead process; scripts run one at a time, so each part is cleaned
-- up once. The caller also receives a signal over the wire. It shows that signals arrive, and how
-- many should have arrived. The reply also identifies the data of the server.
allow_writes()
if end_silence() then
  for _, process in ipairs(call('ZRANGE', P .. 'leases', 0, -1)) do
    call('ZADD', P .. 'leases', int(NOW + LEASE), process)
  end
end
if call('ZADD', P .. 'leases', int(NOW + LEASE), PROCESS) == 1 then
  register()
end
local away = call('HGET', P .. 'away', PROCESS)
if away and away == arg(4) then
  call('HDEL', P .. 'away', PROCESS)
  away = false
end
local own = 'bell:' .. PROCESS
local rung = COUNTS and call('HMGET', P .. 'rung', own, 'bells')
call('PUBLISH', P .. own, 'P' .. int(NOW) .. (rung and ' ' .. (rung[1] or 0) .. ' ' .. (rung[2] or 0) or ''))

-- A process that comes back meanwhile keeps what it still has.
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
    call('HDEL', P .. 'away', dead)
    call('HDEL', P .. 'rung', 'bell:' .. dead)
    expire_departures(dead)
  end
end
return done(away or '', dead and 1 or 0, call('HGET', P .. 'about', 'born') or '')
