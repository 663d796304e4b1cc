-- Take answer: removes a client request, with its answer or because it was withdrawn.
if not open(arg(1)) then
  return rejected(NOT_FOUND)
end
-- A caller whose reply was lost takes the answer again. The latest answers of a session are
-- remembered for that, as token, kind, answer, token..: the last one, and up to two before it if
-- they fit.
local place, fits = P .. 'k:' .. H, 16384
local handed_out = TOKEN ~= '' and call('GET', place)
handed_out = handed_out and cmsgpack.unpack(handed_out) or {}
for at = 1, #handed_out, 3 do
  if handed_out[at] == TOKEN then
    return done(handed_out[at + 1], handed_out[at + 2])
  end
end
local withdrawn = arg(3) == 'withdraw'
local row = call('HGET', P .. 'q:' .. H, arg(2))
if not row then
  return withdrawn and done() or rejected(NOT_FOUND)
end
row = cmsgpack.unpack(row)
if not row[4] and not withdrawn then
  return done()
end
forget_request(arg(2), row)
settle(row[1], row[2])
if withdrawn then
  return done()
end
local remembered, bytes = { TOKEN, row[4], row[5] }, #row[5]
for at = 1, math.min(#handed_out, 6), 3 do
  bytes = bytes + #handed_out[at + 2]
  if bytes > fits then
    break
  end
  for part = at, at + 2 do
    remembered[#remembered + 1] = handed_out[part]
  end
end
call('SET', place, cmsgpack.pack(remembered), 'EX', 60)
return done(row[4], row[5])
