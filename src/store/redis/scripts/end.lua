-- End: removes a session. Only the caller that still finds it gets it.
local told = told_before()
if told then
  return told
end
if not open(arg(1)) then
  return refused(NOT_FOUND)
end
give_room()
return remember(done(remove(arg(2))))
