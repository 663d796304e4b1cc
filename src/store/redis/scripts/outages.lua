-- Outages: for how long the server was unreachable. Time in which no process could send a heartbeat
-- counts against no lease, and is no idle time of a session. Included before the scripts that
-- measure time, after common.lua.
--
--   beat     string  the time of the last heartbeat; each live process sends three in a lease
--   outages  zset    the latest outages as 'end duration', by their end
local function silence()
  local last = tonumber(call('GET', P .. 'beat') or 0)
  return last > 0 and NOW - last > LEASE / 2 and NOW - last or 0
end

local function end_silence()
  local lasted = silence()
  if lasted > 0 then
    call('ZADD', P .. 'outages', int(NOW), int(NOW) .. ' ' .. int(lasted))
    call('ZREMRANGEBYRANK', P .. 'outages', 0, -65)
  end
  call('SET', P .. 'beat', int(NOW))
  return lasted > 0
end

-- Returns the time since which the server was reachable for `span`.
local quiet, outages
local function there_for(span)
  quiet, outages = quiet or silence(), outages or call('ZREVRANGE', P .. 'outages', 0, -1)
  local moment = NOW - quiet - span
  for _, outage in ipairs(outages) do
    local over, lasted = string.match(outage, '(%d+) (%d+)')
    if tonumber(over) <= moment then
      break
    end
    moment = moment - lasted
  end
  return moment
end
