-- What a flow takes, as a JSON schema: that of the edition that was called last.

ALTER TABLE flow ADD COLUMN parameter_schema TEXT;
