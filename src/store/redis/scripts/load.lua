-- Decides whether a principal may know a session; that is a use of it. A full server refuses to note the
-- use, and no more: the step that follows may release memory (DELETE, a cancellation).
if not open_as(arg(1), arg(2)) then
  return refused(NOT_FOUND)
end
local noted, why = pcall(save, true)
local text = type(why) == 'table' and why.err or why
if not noted and not string.find(tostring(text), 'OOM', 1, true) then
  return redis.error_reply(tostring(text))
end
local facts = call('HMGET', P .. 's:' .. H, 'info', 'epoch')
return done(facts[1], facts[2], s.rev)
