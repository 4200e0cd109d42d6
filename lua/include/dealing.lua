-- dealing: one leader at a time deals the returned seats of an exam. The field `leader` of `offers` has the
-- epoch of the last one that began; all other fields are offers.

-- The epoch of the last leader that has begun to deal; 0 before the first.
local function last_leader(offers_key)
  return tonumber(redis.call('HGET', offers_key, 'leader') or 0)
end
