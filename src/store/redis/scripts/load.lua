-- Decides whether a principal may know a session; that is a use of it. A full server refuses to note the
-- use, and no more: the step that follows may release memory (DELETE, a cancellation).
if not open_as(arg(1), arg(2)) then
  return refused(NOT_FOUND)
end
if s.calls == 0 and s.readers == 0 then
  redis.pcall('ZADD', P .. 'rest', int(NOW), H)
end
local facts = call('HMGET', P .. 's:' .. H, 'info', 'epoch')
return done(facts[1], facts[2])
