-- Decides whether everything is given up that a node had which said it is gone.
give_room()
local process = string.sub(arg(1), 1, 12)
call('SADD', P .. 'left:' .. process, arg(1))
if not call('ZSCORE', P .. 'leases', process) then
  bury(process)
end
return done(give_up(arg(1), arg(2), arg(3), number(4)) and 1 or 0)
