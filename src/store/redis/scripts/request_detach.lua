-- Request detach: asks the current reader of a stream to detach.
if not open(arg(1)) then
  return rejected(NOT_FOUND)
end
local log = log_of(arg(2))
if log then
  request_detach(arg(2), log, arg(3))
end
return done()
