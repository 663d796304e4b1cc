-- Left: releases what a node holds that said it is gone. Returns whether that was everything.
allow_writes()
local process = string.sub(arg(1), 1, 12)
call('SADD', P .. 'left:' .. process, arg(1))
if not call('ZSCORE', P .. 'leases', process) then
  expire_departures(process)
end
return done(give_up(arg(1), arg(2), arg(3), number(4)) and 1 or 0)
