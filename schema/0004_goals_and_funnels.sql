-- What a visit has reached of what its site declares. It goes with the visit: of closed days there are counts.

ALTER TABLE sessions ADD COLUMN IF NOT EXISTS goals Array(String) DEFAULT [];
ALTER TABLE sessions ADD COLUMN IF NOT EXISTS steps Array(String) DEFAULT [];
ALTER TABLE sessions ADD COLUMN IF NOT EXISTS goal_amounts Array(Tuple(String, String, Decimal(38, 4))) DEFAULT [];
ALTER TABLE sessions_staging ADD COLUMN IF NOT EXISTS goals Array(String) DEFAULT [];
ALTER TABLE sessions_staging ADD COLUMN IF NOT EXISTS steps Array(String) DEFAULT [];
ALTER TABLE sessions_staging ADD COLUMN IF NOT EXISTS goal_amounts Array(Tuple(String, String, Decimal(38, 4))) DEFAULT [];
