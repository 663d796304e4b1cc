-- Broadcast: signals a session update to every node but the sender. It is not stored, and contains
-- no secret.
signal_all('M' .. arg(1) .. arg(2) .. ' ' .. arg(3))
return done()
