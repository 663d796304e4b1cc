-- Decides who is told to let go of a stream: its present reader.
if not open(arg(1)) then
  return refused(NOT_FOUND)
end
local log = log_of(arg(2))
if log then
  send_away(arg(2), log, arg(3))
end
return done()
