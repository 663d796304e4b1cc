-- Announced: reads the announcements after a number, of the given topics or of all. Also returns
-- the number of the newest announcement, and whether the result is complete.
local after, found = number(1), {}
local newest, gone = tonumber(call('GET', P .. 'announced') or 0), tonumber(call('GET', P .. 'topic:gone') or 0)
if arg(2) then
  for at = 2, #ARGV - 4 do
    local score = tonumber(call('ZSCORE', P .. 'topics', arg(at)) or nil)
    if score and score > after then
      found[#found + 1] = int(score)
      found[#found + 1] = arg(at)
    end
  end
else
  local rows = call('ZRANGEBYSCORE', P .. 'topics', '(' .. int(after), '+inf', 'WITHSCORES')
  for at = 1, #rows, 2 do
    found[#found + 1] = rows[at + 1]
    found[#found + 1] = rows[at]
  end
end
return done(newest, after >= gone and 1 or 0, found)
