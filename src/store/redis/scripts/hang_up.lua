-- Hang up: asks the current reader of a stream to detach.
if not open(arg(1)) then
  return refused(NOT_FOUND)
end
local log = log_of(arg(2))
if log then
  send_away(arg(2), log, arg(3))
end
return done()
