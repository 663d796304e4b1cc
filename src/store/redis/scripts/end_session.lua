-- End session: removes a session. Only the caller that still finds it gets it.
local reply = earlier_reply()
if reply then
  return reply
end
if not open(arg(1)) then
  return rejected(NOT_FOUND)
end
allow_writes()
return remember(done(remove(arg(2))))
