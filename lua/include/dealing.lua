-- dealing: one leader at a time deals the returned seats of an exam. The field `leader` of `offers` has the
-- epoch of the last one that began; all other fields are offers.

-- True when another leader has begun to deal since the caller became one.
local function is_overtaken(offers_key, leader)
  return tonumber(redis.call('HGET', offers_key, 'leader') or 0) > leader
end
