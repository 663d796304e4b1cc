-- Decides what every node but one is told of a session. It is not kept, and says nothing that is secret.
ring_all('M' .. arg(1) .. arg(2) .. ' ' .. arg(3))
return done()
