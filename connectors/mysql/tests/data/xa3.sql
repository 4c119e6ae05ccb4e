INSERT INTO accounts VALUES (5, 50);
XA COMMIT 'one', 'b1';
XA ROLLBACK 'two';
XA START 'three'; INSERT INTO accounts VALUES (6, 60); XA END 'three'; XA COMMIT 'three' ONE PHASE;
UPDATE accounts SET v = v + 1;
