-- Decides whether a question is over: with its answer handed out, or because nobody waits any more.
if not open(arg(1)) then
  return refused(NOT_FOUND)
end
-- Whoever did not hear an answer asks for it again. The newest of a session are remembered for that, and no
-- more of them than a client may say at once.
local handed_out, enough = P .. 'k:' .. H, 65536
local told = TOKEN ~= '' and call('HGET', handed_out, TOKEN)
if told then
  told = cmsgpack.unpack(told)
  return done(told[1], told[2])
end
local withdrawn = arg(3) == 'withdraw'
local row = call('HGET', P .. 'q:' .. H, arg(2))
if not row then
  return withdrawn and done() or refused(NOT_FOUND)
end
row = cmsgpack.unpack(row)
if not row[4] and not withdrawn then
  return done()
end
forget_question(arg(2), row)
settle(row[1], row[2])
if withdrawn then
  return done()
end
if call('HINCRBY', handed_out, 'bytes', #row[5]) > enough then
  call('UNLINK', handed_out)
  call('HSET', handed_out, 'bytes', #row[5])
end
call('HSET', handed_out, TOKEN, cmsgpack.pack({ row[4], row[5] }))
call('EXPIRE', handed_out, 60)
return done(row[4], row[5])
