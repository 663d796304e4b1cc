-- Load: returns a session to its principal, and notes that it was used. A full server cannot note
-- the use. That alone is no failure, because the next operation may release memory (DELETE, a
-- cancellation).
if not open_as(arg(1), arg(2)) then
  return rejected(NOT_FOUND)
end
local noted, why = pcall(save, true)
local text = type(why) == 'table' and why.err or why
if not noted and not string.find(tostring(text), 'OOM', 1, true) then
  return redis.error_reply(tostring(text))
end
local facts = call('HMGET', P .. 's:' .. H, 'info', 'epoch')
return done(facts[1], facts[2], s.rev)
