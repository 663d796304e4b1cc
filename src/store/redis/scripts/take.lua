-- Decides whether a question is over: with its answer handed out, or because nobody waits any more.
local told = told_before()
if told then
  return told
end
if not open(arg(1)) then
  return refused(NOT_FOUND)
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
call('HDEL', P .. 'q:' .. H, arg(2))
settle(row[1], row[2])
if withdrawn then
  return done()
end
return remember(done(row[4], row[5]))
