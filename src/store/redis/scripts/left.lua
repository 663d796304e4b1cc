-- Decides whether everything is given up that a node had which said it is gone.
give_room()
call('SADD', P .. 'left:' .. string.sub(arg(1), 1, 12), arg(1))
return done(give_up(arg(1), arg(2), arg(3), number(4)) and 1 or 0)
