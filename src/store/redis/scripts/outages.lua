-- Decides for how long the server was away. Where nobody could say that it lives, nobody is dead, and where
-- nobody could use anything, nothing was idle. Stands before the scripts that count time, after common.lua.
--
--   beat     string  when somebody last said so; whoever lives says so three times in a lease
--   outages  zset    the last times nobody did: 'over lasted', by when they were over
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

-- The moment since which the server was there for so long.
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
