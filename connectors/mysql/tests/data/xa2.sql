XA START 'two'; INSERT INTO accounts VALUES (4, 40); XA END 'two'; XA PREPARE 'two';
