-- Decides what a node missed that heard its last bell at some moment.
return done(call('ZRANGEBYSCORE', P .. 'topics', '(' .. arg(1), '+inf'))
