-- Decides whether a principal may know a session; that is a use of it.
if not open_as(arg(1), arg(2)) then
  return refused(NOT_FOUND)
end
save(true)
local facts = call('HMGET', P .. 's:' .. H, 'info', 'epoch')
return done(facts[1], facts[2])
