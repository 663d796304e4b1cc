-- Decides what every node is told, and what is kept of it for one that may have missed it: the newest
-- topics of the last hour, each once.
local topics = P .. 'topics'
call('ZADD', topics, int(NOW), arg(1))
call('ZREMRANGEBYSCORE', topics, '-inf', int(NOW - 3600000000))
call('ZREMRANGEBYRANK', topics, 0, -1025)
ring_all('N' .. arg(1))
return done()
