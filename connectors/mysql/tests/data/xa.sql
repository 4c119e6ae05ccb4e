-- One prepared transaction commits after another transaction, one rolls back.
CREATE TABLE accounts (id INT PRIMARY KEY, v INT);
INSERT INTO accounts VALUES (1, 1);
XA START 'one', 'b1'; INSERT INTO accounts VALUES (2, 20), (3, 30); XA END 'one', 'b1'; XA PREPARE 'one', 'b1';
